"""A Google Cloud Storage for tests: fake-gcs-server, built once by the Go toolchain; skipped without one.

It accepts whoever asks. The gate in front of it wants a token, and gives one for the key of a service account.
"""

import base64
import http.client
import json
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from support import controlplane, gobuild
from support.controlplane import LOOPBACK, Place, free_port

MODULE = Path(__file__).parent.parent / "gcs"
PACKAGE = "github.com/fsouza/fake-gcs-server"
TOKEN = "token-of-the-tests-8d2e"


@dataclass(frozen=True)
class Server:
    """A running server."""

    endpoint: str
    port: int

    def bucket(self, name: str) -> None:
        """Create a bucket."""
        self._post("/storage/v1/b", json.dumps({"name": name}).encode(), "application/json")

    def put(self, bucket: str, key: str, content: bytes) -> None:
        """Create an object, or its next generation."""
        query = urllib.parse.urlencode({"uploadType": "media", "name": key})
        self._post(f"/upload/storage/v1/b/{bucket}/o?{query}", content, "application/octet-stream")

    def remove(self, bucket: str, key: str) -> None:
        """Remove an object."""
        url = f"{self.endpoint}/storage/v1/b/{bucket}/o/{urllib.parse.quote(key, safe='')}"
        with urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=10):  # noqa: S310
            pass

    def names(self, bucket: str) -> list[str]:
        """The keys of all objects of a bucket."""
        with urllib.request.urlopen(f"{self.endpoint}/storage/v1/b/{bucket}/o", timeout=10) as answer:  # noqa: S310
            return [item["name"] for item in json.load(answer).get("items", [])]

    def _post(self, path: str, body: bytes, kind: str) -> None:
        request = urllib.request.Request(self.endpoint + path, body, {"Content-Type": kind})  # noqa: S310
        with urllib.request.urlopen(request, timeout=10):  # noqa: S310 - our own server on loopback
            pass


@contextmanager
def serve(folder: Path, place: Place = LOOPBACK) -> Iterator[Server]:
    """An empty server on a free port; `folder` is for its log."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    endpoint = f"http://{place.address}:{port}"
    options = ["-scheme", "http", "-backend", "memory", "-host", place.address, "-port", str(port)]
    command = [*place.enter, str(_program()), *options, "-external-url", endpoint, "-log-level", "error"]
    with controlplane.process(folder, "gcs", *command) as process:
        _await((place.address, port), process)
        yield Server(endpoint, port)


def _await(address: tuple[str, int], process: "subprocess.Popen[bytes]") -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(address) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError("the Google Cloud Storage server does not start")


def program() -> Path:
    """The server, built when it is not there yet (some two minutes). Raises `gobuild.Missing`."""
    return gobuild.binary(MODULE, PACKAGE, "fake-gcs-server")


def _program() -> Path:
    """The server; skips the test where it cannot be had."""
    try:
        return program()
    except gobuild.Missing as missing:
        pytest.skip(f"no Google Cloud Storage server: {missing}")


@cache
def _private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


@dataclass
class Gate:
    """A server before the server: it gives tokens, and refuses who has none."""

    port: int = 0
    login: int = 200
    """The status with which keys are answered."""
    refuses: int = 403
    """The status for requests without the token."""
    denied: tuple[str, ...] = ()
    """Methods that are refused with the token, too: an account that may only read."""
    logins: int = 0
    key_id: str | None = None
    """The only key that is accepted, by its id; None: every key is."""

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def key(self, **changed: Any) -> str:
        """The key of a service account, as gcloud writes it."""
        return json.dumps(
            {
                "type": "service_account",
                "project_id": "tests",
                "private_key_id": "1",
                "private_key": _private_key(),
                "client_email": "reader@tests.iam.gserviceaccount.com",
                "client_id": "1",
                "token_uri": f"{self.endpoint}/token",
                **changed,
            }
        )


def _key_id(body: bytes) -> str:
    """The id of the key that a request for a token is signed with (RFC 7523)."""
    [assertion] = urllib.parse.parse_qs(body.decode())["assertion"]
    header = assertion.partition(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"])


@contextmanager
def gate(server: Server) -> Iterator[Gate]:
    """A gate before the server."""
    state = Gate()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path == "/token":
                state.logins += 1
                accepted = state.key_id in (None, _key_id(body))
                answer = {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}
                refusal = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
                status = state.login if accepted else 400
                return self._answer(status, json.dumps(answer if status == 200 else refusal).encode())
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self._answer(state.refuses, b'{"error": {"message": "no access"}}')
            if self.command in state.denied:
                return self._answer(403, b'{"error": {"message": "no permission"}}')
            with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
                headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                connection.request(self.command, self.path, body, headers)
                response = connection.getresponse()
                kept = {name: response.headers[name] for name in ("Location", "Range") if name in response.headers}
                return self._answer(response.status, response.read(), kept)  # those of an upload in parts

        do_GET = do_POST = do_PUT = do_DELETE = _any

        def _answer(self, status: int, body: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        state.port = web.server_port
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield state
        web.shutdown()
