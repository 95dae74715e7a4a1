"""Google Cloud Storage. Every read names the generation of the object: it reads exactly the version that was listed."""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import aiohttp
import requests
from google.auth import exceptions as google
from google.auth.transport.requests import Request
from google.oauth2 import service_account

from penstock.connectors.files.stores import addresses, requestsession
from penstock.connectors.files.stores.credentials import SecretKeys
from penstock.connectors.files.stores.globs import matcher
from penstock.connectors.files.stores.port import StoredFile, Upload, gone, status, trouble, unreachable
from penstock.connectors.files.stores.ranges import RangeStream
from penstock.connectors.files.stores.resolver import Resolver, without_redirects
from penstock.language.errors import InvalidSpec, NotYet
from penstock.worker import certificates
from penstock.worker.certificates import Authorities

os.environ.setdefault(
    "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false"
)  # it asks by gRPC, which takes long where there is none
from gcsfs import core
from gcsfs.retry import HttpError, retry_request

_SCOPES = ("https://www.googleapis.com/auth/devstorage.read_write",)
_LOGIN_SECONDS = 15
_PUBLIC = "https://storage.googleapis.com"
KEY = "key.json"
"""The key of the Secret; Google's own instructions name the file so."""
logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it logs with a traceback what it raises as well


class _Files(core.GCSFileSystem):  # type: ignore[misc]  # gcsfs ships no types
    """gcsfs with three tries instead of six: the run itself is tried again later. It follows no redirect."""

    session_kwargs: dict[str, Any]
    _request = retry_request(retries=3)(core.GCSFileSystem._request.__wrapped__)

    def __init__(self, trust: Authorities | None, **settings: Any) -> None:
        self._trust = trust
        super().__init__(**settings)

    async def _set_session(self) -> Any:
        if self._session is None:  # a connector wants a running loop
            connector = aiohttp.TCPConnector(resolver=Resolver(None), ssl=certificates.context(self._trust))
            self.session_kwargs = {
                **self.session_kwargs,
                "connector": connector,
                "trace_configs": [without_redirects()],
            }
        return await super()._set_session()


class _Credentials(service_account.Credentials):
    """Credentials that get their token from an address that was checked, whoever asks for it; gcsfs does so, too."""

    subject = ""
    trust: Authorities | None = None
    look_up: addresses.LookUp = staticmethod(addresses.system)

    def refresh(self, request: Any) -> None:
        del request  # gcsfs brings one that follows redirects
        with requestsession.checking(self.subject, self.look_up, self.trust) as session:
            session.max_redirects = 0
            super().refresh(partial(Request(session), timeout=_LOGIN_SECONDS))  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class ServiceAccount:
    """The key of a service account, never shown, and the name of the Secret that it comes from."""

    source: str
    credentials: Any = field(repr=False)


def service_account_of(keys: SecretKeys) -> ServiceAccount:
    """The service account whose key is in the Secret. Raises InvalidSpec (SecretMissing, WrongCredentials)."""
    text = keys.required(KEY)
    try:
        described = json.loads(text)
        credentials: Any = _Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
            described, scopes=_SCOPES
        )
    except (ValueError, TypeError, AttributeError):  # its text is never part of the message
        message = f"{keys.subject}: {KEY} in Secret {keys.name} is no key of a Google service account. Create one with "
        message += f"gcloud iam service-accounts keys create {KEY}, and put the file into the Secret."
        raise InvalidSpec(message, "WrongCredentials") from None
    return ServiceAccount(keys.name, credentials)


class GoogleBucket:
    """A prefix of a bucket, or one object in it."""

    def __init__(
        self,
        url: str,
        endpoint: str | None,
        account: ServiceAccount | None,
        subject: str,
        ignore: Sequence[str] = (),
        trust: Authorities | None = None,
    ) -> None:
        self.url, self._subject, self._ignore = url, subject, ignore
        self._endpoint, self._account = endpoint or _PUBLIC, account
        if endpoint is not None:
            addresses.check_url(endpoint, subject)
        if account is not None:
            account.credentials.subject, account.credentials.trust = subject, trust
        self._remedy = (
            "It was asked without any: name a Secret in auth.googleServiceAccount."
            if account is None
            else f"Check {KEY} in Secret {account.source}, and what its service account may do there."
        )
        self._bucket, _, self._prefix = url.removeprefix("gs://").partition("/")
        self.files: Any = _Files(
            trust,
            token="anon" if account is None else account.credentials,
            endpoint_url=endpoint.rstrip("/") if endpoint else None,
            requests_timeout=aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=60),
            skip_instance_cache=True,
            use_listings_cache=False,
        )

    def translate(self, error: Exception) -> InvalidSpec | NotYet | None:
        """What gcsfs and Google's login mean. gcsfs says a refusal, and a bad request, in words only."""
        if isinstance(error, google.TransportError):
            return unreachable(self._subject, self.url, self._token_server(), error)
        if isinstance(error, aiohttp.ClientError) and not isinstance(error, TimeoutError):
            return unreachable(self._subject, self.url, self._endpoint, error)
        code = _status(error)
        return None if code is None else status(self._subject, self.url, code, self._remedy)

    def _token_server(self) -> str:
        return cast(str, self._account.credentials._token_uri) if self._account is not None else self._endpoint

    def log_in(self) -> None:
        """Get a token where none is valid. gcsfs would try a refused key again and again."""
        if self._account is not None and not self._account.credentials.valid:
            self._account.credentials.refresh(None)

    def list_files(self, pattern: str | None) -> list[StoredFile]:
        """The objects beneath the prefix that fit, sorted by URL; or the one object."""
        fits = matcher(pattern, self._ignore)
        with trouble(self._subject, self.url, self.translate):
            self.log_in()
            if not self.url.endswith("/"):
                return [_stored_file(self.url, self._metadata(self._prefix))]
            objects = {entry["name"]: entry for entry in self._listed() if not entry["name"].endswith("/")}
            names = [(name, name.removeprefix(self._prefix)) for name in sorted(objects)]
            return [_stored_file(f"gs://{self._bucket}/{key}", objects[key]) for key, name in names if fits(name)]

    def _listed(self) -> Iterator[dict[str, Any]]:
        """What the bucket has beneath the prefix, page by page. A key that ends in / marks a folder."""
        token = None
        while True:
            page = self.files.call(
                "GET",
                "b/{}/o",
                self._bucket,
                prefix=self._prefix,
                pageToken=token,
                fields="nextPageToken,items(name,size,generation)",
                json_out=True,
            )
            yield from page.get("items", [])
            token = page.get("nextPageToken")
            if not token:
                return

    def _metadata(self, key: str) -> dict[str, Any]:
        return cast(dict[str, Any], self.files.call("GET", "b/{}/o/{}", self._bucket, key, json_out=True))

    def open(self, stored: StoredFile) -> BinaryIO:
        """Ranged reads of the generation that was listed; one that was replaced meanwhile raises InvalidSpec."""
        path = stored.url.removeprefix("gs://")

        def fetch(start: int, end: int) -> bytes:
            with trouble(self._subject, stored.url, self.translate):
                self.log_in()
                try:
                    return cast(bytes, self.files.cat_file(path, start=start, end=end, generation=stored.etag))
                except FileNotFoundError:
                    raise gone(self._subject, stored.url) from None

        return cast(BinaryIO, RangeStream(self._subject, stored.url, stored.size, fetch))

    def put(self, name: str, source: Path, *, exclusive: bool = False) -> str:
        """Objects appear whole; `exclusive` is a put on condition that there is none (ifGenerationMatch=0)."""
        url = self.url + name
        with trouble(self._subject, url, self.translate):
            self.log_in()
            self.files.put_file(str(source), url.removeprefix("gs://"), mode="create" if exclusive else "overwrite")
        return url

    def read(self, name: str) -> bytes | None:
        """A small object, None where there is none."""
        with trouble(self._subject, self.url + name, self.translate):
            self.log_in()
            try:
                return cast(bytes, self.files.cat_file((self.url + name).removeprefix("gs://")))
            except FileNotFoundError:
                return None

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""
        with trouble(self._subject, self.url + name, self.translate):
            self.log_in()
            try:
                self.files.call("DELETE", "b/{}/o/{}", self._bucket, self._prefix + name)
            except FileNotFoundError:
                return

    def unfinished(self, prefix: str) -> list[Upload]:
        """None: the store ends resumable uploads by itself, after a week."""
        del prefix
        return []

    def abort(self, url: str, upload: str) -> None:
        """Nothing: see `unfinished`."""

    def remove_all(self, paths: Sequence[str]) -> None:
        """Remove objects, one with each request."""
        self.log_in()
        for path in paths:
            bucket, _, key = path.partition("/")
            with suppress(FileNotFoundError):
                self.files.call("DELETE", "b/{}/o/{}", bucket, key)


def _stored_file(url: str, metadata: dict[str, Any]) -> StoredFile:
    return StoredFile(url, str(metadata["generation"]), int(metadata["size"]))


def _status(error: Exception) -> int | None:
    """The HTTP status that gcsfs made an exception of, None where it is another kind of exception."""
    match error:
        case HttpError() if str(error.code).isdigit():
            return int(error.code)
        case requests.exceptions.ProxyError():
            return 502
        case google.GoogleAuthError():
            return 401
        case OSError() if str(error).startswith("Forbidden"):
            return 403
        case ValueError() if str(error).startswith("Bad Request"):
            return 400
    return None
