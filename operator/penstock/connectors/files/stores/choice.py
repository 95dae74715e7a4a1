"""Which store a URL names."""

from typing import TYPE_CHECKING

from penstock.connectors.files.spec import FilesSource, Located
from penstock.connectors.files.stores.credentials import SecretKeys
from penstock.connectors.files.stores.folder import Folder
from penstock.connectors.files.stores.port import ObjectStore, Store
from penstock.language.auth import Auth
from penstock.language.certificates import CaBundle
from penstock.language.errors import InvalidSpec
from penstock.worker import certificates
from penstock.worker.certificates import Authorities
from penstock.worker.pod import Pod

if TYPE_CHECKING:
    from collections.abc import Sequence


def at(place: Located, auth: Auth | None, pod: Pod, subject: str) -> Store:
    """The store that `place.url` names. `subject` is who asks, for messages: "Source flights".

    Raises InvalidSpec with SecretMissing when the Secret, or a key in it, is not there.
    """
    ignore = place.ignore if isinstance(place, FilesSource) else []
    secret = auth.secret if auth is not None else None
    keys = SecretKeys(pod, secret, subject) if secret is not None else None
    trust = certificates.trusted(place.ca_bundle, pod, subject)
    match place.scheme:
        case "file":
            return _folder(place, pod, subject, ignore)
        case "http" | "https":
            from penstock.connectors.files.stores import webcredentials
            from penstock.connectors.files.stores.web import Web

            hosts = place.redirects.hosts if isinstance(place, FilesSource) and place.redirects is not None else []
            login = webcredentials.credentials_of(auth, keys) if auth is not None and keys is not None else None
            return Web(place.url, subject, hosts, login, trust)
    return _remote(place, (auth, keys), subject, ignore, trust)


def objects(
    url: str, endpoint: str | None, auth: Auth | None, pod: Pod, subject: str, bundle: CaBundle | None = None
) -> ObjectStore:
    """The prefix of a bucket on S3 or Google Cloud Storage. Raises InvalidSpec as `at` does."""
    secret = auth.secret if auth is not None else None
    keys = SecretKeys(pod, secret, subject) if secret is not None else None
    trust = certificates.trusted(bundle, pod, subject)
    return _bucket(url, endpoint, (auth, keys), subject, trust=trust)


def _bucket(
    url: str,
    endpoint: str | None,
    credentials: tuple[Auth | None, SecretKeys | None],
    subject: str,
    ignore: "Sequence[str]" = (),
    trust: Authorities | None = None,
) -> ObjectStore:
    auth, keys = credentials
    if url.startswith("gs://"):
        from penstock.connectors.files.stores import gcs

        account = gcs.service_account_of(keys) if keys is not None else None
        return gcs.GoogleBucket(url, endpoint, account, subject, ignore, trust)
    from penstock.connectors.files.stores import bucket

    identity = bucket.keys_of(keys) if keys is not None else None if auth is None else bucket.PodIdentity()
    return bucket.Bucket(url, endpoint, identity, subject, ignore, trust)


def _folder(place: Located, pod: Pod, subject: str, ignore: "Sequence[str]") -> Store:
    assert place.volume is not None  # noqa: S101 - the spec wants one with every file:// URL
    mount = pod.path(place.volume.mount_path)
    if not mount.is_dir():
        message = f"{subject}: claim {place.volume.claim_name} is not mounted. Create it."
        raise InvalidSpec(message, "ResourceNotFound")
    inside = place.url.removeprefix("file://").removeprefix(place.volume.mount_path)
    return Folder(place.url, mount, inside, subject, ignore)


def _remote(
    place: Located,
    credentials: tuple[Auth | None, SecretKeys | None],
    subject: str,
    ignore: "Sequence[str]",
    trust: Authorities | None,
) -> Store:
    """A store of objects, or a server of files. Its libraries take up to a second, so only its own are imported."""
    auth, keys = credentials
    if place.scheme == "az":
        from penstock.connectors.files.stores import azure, requestsession

        named = azure.account_of(keys, place.endpoint_url) if keys is not None else None
        session = requestsession.checking(subject, trust=trust)
        return azure.BlobContainer(place.url, place.endpoint_url, named, subject, ignore, session)
    if place.scheme == "sftp":
        from penstock.connectors.files.stores import sftp

        assert keys is not None and auth is not None and auth.ssh is not None  # noqa: S101, PT018 - the spec wants it
        return sftp.SftpServer(place.url, sftp.login_of(keys, auth.ssh.known_hosts), subject, ignore)
    return _bucket(place.url, place.endpoint_url, credentials, subject, ignore, trust)
