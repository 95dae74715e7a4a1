"""S3, and whatever speaks its protocol."""

import io
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import aiohttp
import s3fs
from aiobotocore.httpsession import AIOHTTPSession
from botocore import exceptions as errors  # type: ignore[import-untyped]  # botocore ships no types
from s3fs.utils import FileExpired

from penstock.connectors.files.stores import addresses
from penstock.connectors.files.stores.credentials import SecretKeys
from penstock.connectors.files.stores.globs import matcher
from penstock.connectors.files.stores.port import BLOCK, StoredFile, Upload, gone, status, trouble, unreachable
from penstock.connectors.files.stores.resolver import Resolver, without_redirects
from penstock.language.errors import InvalidSpec, NotYet
from penstock.worker.certificates import Authorities

_PUBLIC = "https://s3.amazonaws.com"
_PRECONDITION_FAILED = (409, 412)
"""What a conditional put answers when the name is taken, or is being taken."""

_AT_ONCE = 1000
"""Objects that one request may remove."""


@dataclass(frozen=True)
class Keys:
    """Access keys, never shown, and the name of the Secret that they come from."""

    source: str
    access: str = field(repr=False)
    secret: str = field(repr=False)
    token: str | None = field(repr=False)
    region: str | None


@dataclass(frozen=True)
class PodIdentity:
    """What AWS gives the Pod itself: a role of its service account, of its container, or of its node."""


def keys_of(secret: SecretKeys) -> Keys:
    """The access keys in the Secret. Raises InvalidSpec (SecretMissing)."""
    return Keys(
        secret.name,
        secret.required("access_key_id"),
        secret.required("secret_access_key"),
        secret.optional("session_token"),
        secret.optional("region"),
    )


def _remedy(identity: Keys | PodIdentity | None) -> str:
    match identity:
        case Keys():
            return f"Check access_key_id and secret_access_key in Secret {identity.source}, and what they may do there."
        case PodIdentity():
            return "Check the role of the Pod's service account, or name a Secret in auth.aws.secretRef."
    return "It was asked without any: name a Secret in auth.aws."


class _Session(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore ships no types
    """aiobotocore's session, which would follow redirects to any host. It follows none."""

    async def _get_session(self, proxy_url: str | None) -> Any:
        session = await super()._get_session(proxy_url)
        if not session.trace_configs:
            session.trace_configs.append(without_redirects())
        return session


class Bucket:
    """A prefix of a bucket, or one object in it."""

    def __init__(
        self,
        url: str,
        endpoint: str | None,
        identity: Keys | PodIdentity | None,
        subject: str,
        ignore: Sequence[str] = (),
        trust: Authorities | None = None,
    ) -> None:
        self._ignore = ignore
        self.url, self._endpoint, self._subject = url, endpoint, subject
        if endpoint is not None:
            addresses.check_url(endpoint, subject)
        self._remedy = _remedy(identity)
        keys = identity if isinstance(identity, Keys) else None
        region = keys.region if keys is not None else os.environ.get("AWS_REGION")
        self.files: Any = s3fs.S3FileSystem(
            anon=identity is None,
            key=keys and keys.access,
            secret=keys and keys.secret,
            token=keys and keys.token,
            endpoint_url=endpoint,
            client_kwargs={"region_name": region or "us-east-1", "verify": str(trust.file) if trust else None},
            config_kwargs={
                "connect_timeout": 15,
                "read_timeout": 60,
                "retries": {"max_attempts": 3},
                "connector_args": {"resolver": Resolver(None)},
                "http_session_cls": _Session,
            },
            skip_instance_cache=True,
            use_listings_cache=False,
            default_block_size=BLOCK,
        )

    def translate(self, error: Exception) -> InvalidSpec | NotYet | None:
        """What botocore and s3fs mean; s3fs hides the server's answer in the cause of an OSError."""
        cause = (
            (error.__cause__ or error) if isinstance(error, OSError) else error
        )  # botocore's SSLError is an OSError too
        if isinstance(error, FileExpired):
            return gone(self._subject, self.url)
        if isinstance(error, PermissionError) or isinstance(
            cause, errors.NoCredentialsError | errors.CredentialRetrievalError
        ):
            return status(self._subject, self.url, 403, self._remedy)
        if isinstance(cause, errors.ReadTimeoutError | errors.ConnectTimeoutError):
            return NotYet(f"{self._subject}: {self.url} did not answer in time.", "Timeout")
        if isinstance(cause, errors.HTTPClientError | errors.ConnectionError | aiohttp.ClientError):
            asked = getattr(cause, "kwargs", {}).get("endpoint_url")  # botocore's; a cut body is aiohttp's matter
            return unreachable(self._subject, self.url, self._endpoint or asked or _PUBLIC, cause)
        if isinstance(cause, errors.ClientError):
            return status(self._subject, self.url, _http_status(cause), self._remedy)
        return None

    def list_files(self, pattern: str | None) -> list[StoredFile]:
        """The objects beneath the prefix that fit, sorted by URL; or the one object."""
        fits = matcher(pattern, self._ignore)
        with trouble(self._subject, self.url, self.translate):
            if not self.url.endswith("/"):
                return [_stored_file(self.url, self.files.info(self.url))]
            bucket = self.url.removeprefix("s3://").partition("/")[0]
            self.files.call_s3("head_bucket", Bucket=bucket)  # an empty listing does not tell that there is no bucket
            listing = self.files.find(self.url, detail=True)
            objects = sorted((f"s3://{path}", seen) for path, seen in listing.items() if _is_object(seen))
            names = [(url, url.removeprefix(self.url), seen) for url, seen in objects if url.startswith(self.url)]
            return [_stored_file(url, seen) for url, name, seen in names if name and fits(name)]

    def open(self, stored: StoredFile) -> BinaryIO:
        """Ranged reads, each on condition that the object is still the one that was listed (If-Match)."""
        with trouble(self._subject, stored.url, self.translate):
            try:
                if _stored_file(stored.url, self.files.info(stored.url, refresh=True)) != stored:
                    raise gone(self._subject, stored.url)
            except FileNotFoundError:
                raise gone(self._subject, stored.url) from None
            ranges = self.files.open(stored.url, "rb", block_size=BLOCK, cache_type="readahead")
        return cast(BinaryIO, _Reading(ranges, lambda: trouble(self._subject, stored.url, self.translate)))

    def put(self, name: str, source: Path, *, exclusive: bool = False) -> str:
        """Objects appear whole; `exclusive` is a conditional put (If-None-Match)."""
        url = self.url + name
        with trouble(self._subject, url, self.translate):
            if exclusive:
                self._put_new(url, source.read_bytes())
            else:
                self.files.put_file(str(source), url)
        return url

    def _put_new(self, url: str, content: bytes) -> None:
        bucket, _, key = url.removeprefix("s3://").partition("/")
        try:
            self.files.call_s3("put_object", Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
        except OSError as error:
            cause = error.__cause__
            if isinstance(cause, errors.ClientError) and _http_status(cause) in _PRECONDITION_FAILED:
                raise FileExistsError(url) from None
            raise

    def read(self, name: str) -> bytes | None:
        """A small object, None where there is none."""
        with trouble(self._subject, self.url + name, self.translate):
            try:
                return cast(bytes, self.files.cat_file(self.url + name))
            except FileNotFoundError:
                return None

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""
        with trouble(self._subject, self.url + name, self.translate):
            self.files.rm_file(self.url + name)

    def log_in(self) -> None:
        """Nothing: every request is signed by itself."""

    def unfinished(self, prefix: str) -> list[Upload]:
        """Multipart uploads beneath the prefix; at most the first thousand."""
        bucket, _, key = prefix.removeprefix("s3://").partition("/")
        listed = self.files.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=key)
        return [
            Upload(f"s3://{bucket}/{each['Key']}", each["UploadId"], each["Initiated"])
            for each in listed.get("Uploads", [])
        ]

    def abort(self, url: str, upload: str) -> None:
        """End a multipart upload, if it is still there."""
        bucket, _, key = url.removeprefix("s3://").partition("/")
        with suppress(FileNotFoundError):
            self.files.call_s3("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload)

    def remove_all(self, paths: Sequence[str]) -> None:
        """Remove objects, a thousand with each request."""
        for first in range(0, len(paths), _AT_ONCE):
            by_bucket: dict[str, list[dict[str, str]]] = {}
            for path in paths[first : first + _AT_ONCE]:
                bucket, _, key = path.partition("/")
                by_bucket.setdefault(bucket, []).append({"Key": key})
            for bucket, keys in by_bucket.items():
                answer = self.files.call_s3("delete_objects", Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
                kept = [each for each in answer.get("Errors", []) if each.get("Code") != "NoSuchKey"]
                if kept:
                    raise PermissionError(f"{len(kept)} objects cannot be removed")


class _Reading(io.RawIOBase):
    """The content of an object, whose troubles are translated as those of opening it are."""

    def __init__(self, ranges: Any, translated: Callable[[], AbstractContextManager[None]]) -> None:
        self._ranges, self._translated = ranges, translated

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        with self._translated():
            return cast(bytes, self._ranges.read(size))

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        block = self.read(len(view))
        view[: len(block)] = block
        return len(block)

    def close(self) -> None:
        self._ranges.close()
        super().close()


def _http_status(error: errors.ClientError) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])


def _is_object(seen: dict[str, Any]) -> bool:
    """Whether it is an object with content: a key that ends in / marks a folder, and has none."""
    return seen["type"] == "file" and "ETag" in seen and not str(seen.get("Key", seen["name"])).endswith("/")


def _stored_file(url: str, seen: dict[str, Any]) -> StoredFile:
    return StoredFile(url, str(seen["ETag"]), int(seen["size"]))
