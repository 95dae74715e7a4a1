"""Azure Blob Storage. Every read is on condition that the blob still has the ETag that was listed."""

import base64
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import requests
from azure.core import MatchConditions
from azure.core import exceptions as errors
from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import BlobProperties, ContainerClient

from penstock.connectors.files.stores import requestsession
from penstock.connectors.files.stores.credentials import SecretKeys
from penstock.connectors.files.stores.globs import matcher
from penstock.connectors.files.stores.port import StoredFile, gone, status, trouble, unreachable
from penstock.connectors.files.stores.ranges import RangeStream
from penstock.language.errors import InvalidSpec, NotYet

_SETTINGS: Any = {
    "retry_total": 2,
    "initial_backoff": 1,
    "increment_base": 2,
    "permit_redirects": False,
}
logging.getLogger("azure").setLevel(logging.CRITICAL)  # it logs what it raises as well


@dataclass(frozen=True)
class Account:
    """A storage account and how to log in to it, never shown, and the name of the Secret that it comes from."""

    source: str
    name: str
    url: str
    credential: Any = field(repr=False)


def account_of(keys: SecretKeys, endpoint: str | None) -> Account:
    """The account that the Secret describes. Raises InvalidSpec (SecretMissing, WrongCredentials)."""
    parts = _connection(keys)
    name = parts.get("accountname") or keys.optional("account_name") or ""
    key = parts.get("accountkey") or keys.optional("account_key")
    sas = parts.get("sharedaccesssignature") or keys.optional("sas_token")
    if not name and (key is not None or endpoint is None) and "blobendpoint" not in parts:
        keys.required("account_name")
    if key is None and sas is None:
        message = (
            f"{keys.subject}: Secret {keys.name} has none of the keys connection_string, account_key and sas_token. "
        )
        raise InvalidSpec(f"{message}Add one of them.", "SecretMissing")
    suffix = parts.get("endpointsuffix", "core.windows.net")
    protocol = parts.get("defaultendpointsprotocol", "https")
    url = endpoint or parts.get("blobendpoint") or f"{protocol}://{name}.blob.{suffix}"
    credential: Any = AzureSasCredential((sas or "").lstrip("?")) if key is None else _named(keys, name, key)
    return Account(keys.name, name, url.rstrip("/"), credential)


def _connection(keys: SecretKeys) -> dict[str, str]:
    """The parts of `connection_string` by their names in lower case; none where there is no such key."""
    text = keys.optional("connection_string")
    if text is None:
        return {}
    parts = [part.partition("=") for part in text.split(";") if part.strip()]
    if any(not equals or not value for _, equals, value in parts):
        message = (
            f"{keys.subject}: connection_string in Secret {keys.name} is no connection string of a storage account."
        )
        raise InvalidSpec(f"{message} Copy it from the account's access keys.", "WrongCredentials")
    return {name.strip().lower(): value.strip() for name, _, value in parts}


def _named(keys: SecretKeys, name: str, key: str) -> AzureNamedKeyCredential:
    try:
        base64.b64decode(key, validate=True)
    except ValueError:
        message = f"{keys.subject}: the account key in Secret {keys.name} is not base64, as keys of accounts are."
        raise InvalidSpec(f"{message} Copy it from the account's access keys.", "WrongCredentials") from None
    return AzureNamedKeyCredential(name, key)


class BlobContainer:
    """A prefix of a container, or one blob in it. Without an account, `endpoint` is asked anonymously."""

    def __init__(
        self,
        url: str,
        endpoint: str | None,
        account: Account | None,
        subject: str,
        ignore: Sequence[str] = (),
        session: requests.Session | None = None,
    ) -> None:
        self.url, self._subject, self._ignore = url, subject, ignore
        self._server = account.url if account is not None else endpoint or ""
        session = session or requestsession.checking(subject)
        transport = RequestsTransport(session=session, connection_timeout=15, read_timeout=60)
        self._remedy = (
            "It was asked without any: name a Secret in auth.azure."
            if account is None
            else f"Check the account key or SAS token in Secret {account.source}, and what it permits."
        )
        container, _, self._prefix = url.removeprefix("az://").partition("/")
        credential = account.credential if account is not None else None
        self._container = ContainerClient(
            self._server, container, credential=credential, transport=transport, **_SETTINGS
        )
        self._root = f"az://{container}/"

    def _translate(self, error: Exception) -> InvalidSpec | NotYet | None:
        match error:
            case errors.ServiceRequestTimeoutError() | errors.ServiceResponseTimeoutError():
                return NotYet(f"{self._subject}: {self.url} did not answer in time.", "Timeout")
            case errors.HttpResponseError() if error.status_code is not None and error.status_code >= 300:
                return status(self._subject, self.url, error.status_code, self._remedy)
            case errors.AzureError():
                cause = error.inner_exception or error  # it is no cause in the sense of Python
                return unreachable(self._subject, self.url, self._server, cause)
        return None

    def list_files(self, pattern: str | None) -> list[StoredFile]:
        """The blobs beneath the prefix that fit, sorted by URL; or the one blob."""
        fits = matcher(pattern, self._ignore)
        with trouble(self._subject, self.url, self._translate):
            if not self.url.endswith("/"):
                return [_stored_file(self.url, self._container.get_blob_client(self._prefix).get_blob_properties())]
            listing = self._container.list_blobs(name_starts_with=self._prefix or None, include=["metadata"])
            blobs = sorted(((blob.name, blob) for blob in listing if not _is_folder(blob)), key=lambda pair: pair[0])
            fitting = [(name, blob) for name, blob in blobs if fits(name.removeprefix(self._prefix))]
            return [_stored_file(self._root + name, blob) for name, blob in fitting]

    def open(self, stored: StoredFile) -> BinaryIO:
        """Ranged reads, each on condition that the blob is still the one that was listed (If-Match)."""
        blob = self._container.get_blob_client(stored.url.removeprefix(self._root))

        def fetch(start: int, end: int) -> bytes:
            with trouble(self._subject, stored.url, self._translate):
                try:
                    download = partial(
                        blob.download_blob, etag=stored.etag, match_condition=MatchConditions.IfNotModified
                    )
                    return cast(bytes, download(offset=start, length=end - start).readall())
                except (errors.ResourceModifiedError, errors.ResourceNotFoundError):
                    raise gone(self._subject, stored.url) from None

        return cast(BinaryIO, RangeStream(self._subject, stored.url, stored.size, fetch))

    def put(self, name: str, source: Path, *, exclusive: bool = False) -> str:
        """Blobs appear whole; `exclusive` is a put on condition that there is none (If-None-Match)."""
        url = self.url + name
        with trouble(self._subject, url, self._translate), source.open("rb") as content:
            try:
                self._container.upload_blob(self._prefix + name, content, overwrite=not exclusive)
            except (errors.ResourceExistsError, errors.ResourceModifiedError) as error:
                if not exclusive or getattr(error, "error_code", None) not in ("BlobAlreadyExists", "ConditionNotMet"):
                    raise
                raise FileExistsError(url) from None
        return url

    def read(self, name: str) -> bytes | None:
        """A small blob, None where there is none."""
        with trouble(self._subject, self.url + name, self._translate):
            try:
                return self._container.download_blob(self._prefix + name).readall()
            except errors.ResourceNotFoundError as error:
                if getattr(error, "error_code", None) == "ContainerNotFound":
                    raise
                return None

    def remove(self, name: str) -> None:
        """Remove a blob, if it is there."""
        with trouble(self._subject, self.url + name, self._translate):
            try:
                self._container.delete_blob(self._prefix + name)
            except errors.ResourceNotFoundError:
                return


def _is_folder(blob: BlobProperties) -> bool:
    """Whether it only marks a folder: by its name, or by the mark of accounts with a hierarchical namespace."""
    return blob.name.endswith("/") or (blob.metadata or {}).get("hdi_isfolder") == "true"


def _stored_file(url: str, blob: BlobProperties) -> StoredFile:
    return StoredFile(url, f'"{str(blob.etag).strip(chr(34))}"', int(blob.size))
