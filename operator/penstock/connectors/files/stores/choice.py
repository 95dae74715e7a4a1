"""Which store a URL names."""

from typing import TYPE_CHECKING

from penstock.connectors.files.spec import FilesSource, Located
from penstock.connectors.files.stores.folder import Folder
from penstock.connectors.files.stores.port import Store
from penstock.language.auth import Auth
from penstock.language.errors import InvalidSpec
from penstock.worker.pod import Pod

if TYPE_CHECKING:
    from penstock.connectors.files.stores.bucket import Keys


def at(place: Located, auth: Auth | None, pod: Pod, subject: str) -> Store:
    """The store that `place.url` names. `subject` is who asks, for messages: "Source flights".

    Raises InvalidSpec with SecretMissing when the Secret, or a key in it, is not there.
    """
    ignore = place.ignore if isinstance(place, FilesSource) else []
    if place.volume is not None:
        mount = pod.path(place.volume.mount_path)
        if not mount.is_dir():
            message = f"{subject}: claim {place.volume.claim_name} is not mounted. Create it."
            raise InvalidSpec(message, "ResourceNotFound")
        inside = place.url.removeprefix("file://").removeprefix(place.volume.mount_path)
        return Folder(place.url, mount, inside, subject, ignore)
    # Imported only where they are needed: s3fs and aiohttp take a third of a second, which most runs do not need.
    if place.scheme == "s3":
        from penstock.connectors.files.stores.bucket import Bucket

        return Bucket(place.url, place.endpoint_url, _keys(auth, pod, subject), subject, ignore)
    from penstock.connectors.files.stores.web import Web

    hosts = place.redirects.hosts if isinstance(place, FilesSource) and place.redirects is not None else []
    return Web(place.url, subject, hosts)


def _keys(auth: Auth | None, pod: Pod, subject: str) -> "Keys | None":
    from penstock.connectors.files.stores.bucket import Keys

    if auth is None or auth.aws is None:
        return None
    secret = auth.aws.secret_ref.name

    def needed(key: str) -> str:
        value = pod.secret(secret, key)
        if not value:
            raise InvalidSpec(f'{subject}: Secret {secret} has no key "{key}". Add it.', "SecretMissing")
        return value

    return Keys(
        secret,
        needed("access_key_id"),
        needed("secret_access_key"),
        pod.secret(secret, "session_token"),
        pod.secret(secret, "region"),
    )
