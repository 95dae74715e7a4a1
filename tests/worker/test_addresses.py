"""Where connections lead: never to metadata services or the node's link, and by no redirect away from https."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field as default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp.abc import AbstractResolver, ResolveResult

from penstock.connectors.files.stores import addresses
from penstock.connectors.files.stores.resolver import Resolver
from penstock.connectors.mysql.source import MysqlSource
from penstock.connectors.postgres.source import PostgresSource
from penstock.language.errors import InvalidSpec
from penstock.runs.order import SourceOrder
from penstock.worker.pod import Pod
from worker.pods import APod, a_pod, field, secret

CANARY = "canary-2e90"
METADATA = (
    "169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "[fd00:ec2::254]",
    "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]", "[::a9fe:a9fe]", "[fe80::1]",
    "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518",
)  # fmt: skip
"""Addresses of metadata services, also as names that the system's look-up makes into one."""


@dataclass
class Server:
    """A server of HTTP or HTTPS: what it answers to each path, and what it was asked."""

    url: str
    answers: dict[str, tuple[int, dict[str, str], bytes]] = default(default_factory=dict)
    otherwise: tuple[int, dict[str, str], bytes] = (404, {}, b"")
    asked: list[str] = default(default_factory=list)


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A server on a free port of 127.0.0.1, with TLS where a context is given."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append(self.path)
            status, headers, body = server.answers.get(self.path.partition("?")[0], server.otherwise)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_POST = do_PUT = do_GET

        def log_message(self, *_: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
    scheme = "http" if context is None else "https"
    server = Server(f"{scheme}://127.0.0.1:{listening.server_address[1]}")
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


@dataclass
class Tls:
    """A certificate authority of our own: its file, and a context for servers on 127.0.0.1 and localhost."""

    authority: Path
    context: ssl.SSLContext


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return Tls(tmp_path / "ca.pem", context)


def worked(pod: APod, authority: Path) -> Any:
    """The report of the worker as a process of its own, which trusts the certificate authority."""
    process = pod.start("r1", SSL_CERT_FILE=str(authority))
    process.communicate(timeout=120)
    return pod.report("r1")


def web(root: Path, url: str, **more: Any) -> APod:
    return a_pod(root, field("a", "string"), connector={"url": url, **more})


def test_https_is_read_and_redirected_within_its_host(tls: Tls, tmp_path: Path) -> None:
    with serving(tls.context) as server:
        server.answers["/a.csv"] = (302, {"Location": "/b.csv"}, b"")
        server.answers["/b.csv"] = (307, {"Location": f"{server.url}/c.csv"}, b"")
        server.answers["/c.csv"] = (200, {"ETag": '"1"'}, b"a\nx\n")
        report = worked(web(tmp_path, f"{server.url}/a.csv"), tls.authority)
        assert (report.message, report.datasets[0].counts.loaded) == (None, 1)


def test_https_of_another_authority_is_refused(tls: Tls, tmp_path: Path) -> None:
    with serving(tls.context) as server:
        server.answers["/a.csv"] = (200, {}, b"a\nx\n")
        trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
        report = worked(web(tmp_path, f"{server.url}/a.csv"), tmp_path / "other.pem")
        assert report.state != "Succeeded"
        assert server.asked == []


@pytest.mark.parametrize("listed", [False, True])
def test_a_redirect_from_https_to_http_is_never_followed(listed: bool, tls: Tls, tmp_path: Path) -> None:
    with serving(tls.context) as server, serving() as plain:
        plain.answers["/a.csv"] = (200, {}, f"a\n{CANARY}\n".encode())
        server.answers["/a.csv"] = (302, {"Location": f"{plain.url}/a.csv"}, b"")
        more = {"redirects": {"hosts": ["127.0.0.1"]}} if listed else {}
        pod = web(tmp_path, f"{server.url}/a.csv", **more)
        assert worked(pod, tls.authority).reason == "WrongSpecification"
        assert plain.asked == []


@pytest.mark.parametrize("target", ["localhost", "127.0.0.2", "[::1]", "169.254.169.254", "example.invalid"])
def test_a_redirect_of_https_to_another_host_is_not_followed(target: str, tls: Tls, tmp_path: Path) -> None:
    with serving(tls.context) as server:
        server.answers["/a.csv"] = (302, {"Location": f"https://{target}/a.csv?key={CANARY}"}, b"")
        pod = web(tmp_path, f"{server.url}/a.csv")
        report = worked(pod, tls.authority)
        assert (report.reason, CANARY in str(report)) == ("WrongSpecification", False)


@pytest.mark.parametrize("host", METADATA)
def test_a_url_of_a_metadata_service_is_refused(host: str, tmp_path: Path) -> None:
    report = web(tmp_path, f"http://{host}/latest/meta-data").work()
    assert report.reason == "WrongSpecification"
    assert "Nothing is read from there" in (report.message or "")


@pytest.mark.parametrize("listed", METADATA[:4])
def test_a_redirect_to_a_metadata_service_is_refused_though_its_host_is_listed(listed: str, tmp_path: Path) -> None:
    with serving() as server:
        server.answers["/a.csv"] = (302, {"Location": f"http://{listed}/latest"}, b"")
        report = web(tmp_path, f"{server.url}/a.csv", redirects={"hosts": [listed]}).work()
        assert (report.reason, "never followed" in (report.message or "")) == ("WrongSpecification", True)


def bucket(root: Path, scheme: str, endpoint: str) -> APod:
    name = "storage" if scheme == "az" else "bucket"
    return a_pod(root, field("a", "string"), connector={"url": f"{scheme}://{name}/", "endpointUrl": endpoint})


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
@pytest.mark.parametrize("host", METADATA)
def test_an_endpoint_at_a_metadata_service_is_refused(scheme: str, host: str, tmp_path: Path) -> None:
    report = bucket(tmp_path, scheme, f"http://{host}").work()
    assert report.reason == "WrongSpecification"
    assert "Nothing is read from there" in (report.message or "")


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_an_endpoint_that_redirects_is_not_followed(scheme: str, code: int, tmp_path: Path) -> None:
    with serving() as server, serving() as other:
        server.otherwise = (code, {"Location": f"{other.url}/{CANARY}"}, b"")
        report = bucket(tmp_path, scheme, server.url).work()
        assert (report.reason, CANARY in str(report)) == ("WrongSpecification", False), report.message
        assert (bool(server.asked), other.asked) == (True, [])


def test_an_account_of_azure_that_names_a_metadata_service_is_refused(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field("a", "string"), connector={"url": "az://storage/"})
    pod.auth = {"azure": {"secretRef": {"name": "login"}}}
    parts = "AccountName=a;AccountKey=c2VjcmV0;BlobEndpoint=http://169.254.169.254/a"
    secret(pod, "login", connection_string=parts)
    assert "Nothing is read from there" in (pod.work().message or "")


@pytest.mark.parametrize("host", METADATA)
def test_an_sftp_server_at_a_metadata_service_is_refused(host: str, tmp_path: Path) -> None:
    if host.startswith("["):
        pytest.skip("an sftp:// url names a host, or an IPv4 address")
    pod = a_pod(tmp_path, field("a", "string"), connector={"url": f"sftp://{host}/files/"})
    known = "h ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIDbUcUMeJ4l3i2kWnMgO0rPT4V9Y1VnFRkXjK7xkT2r"
    pod.auth = {"ssh": {"secretRef": {"name": "login"}, "knownHosts": known}}
    secret(pod, "login", username="u", password="p")
    assert "Nothing is read from there" in (pod.work().message or "")


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
@pytest.mark.parametrize("host", METADATA)
def test_a_database_at_a_metadata_service_is_refused(kind: str, host: str, tmp_path: Path) -> None:
    if host.startswith("[::"):
        pytest.skip("a database's host does not begin with a colon")
    keys = tmp_path / "etc/penstock/secrets/shop"
    keys.mkdir(parents=True)
    for key in ("username", "password"):
        (keys / key).write_text("x")
    connector = {kind: {"host": host.strip("[]"), "database": "shop"}}
    order = {"name": "shop", "connector": connector, "auth": {"basic": {"secretRef": {"name": "shop"}}}}
    pod, made = Pod(tmp_path, "run", "pod", None, 2), SourceOrder.model_validate(order)
    source = PostgresSource(made, pod) if kind == "postgres" else MysqlSource(made, pod)
    with pytest.raises(InvalidSpec, match="Nothing is read from there"):
        source.check()


class Names(AbstractResolver):
    """Names that have the addresses that are given here."""

    def __init__(self, **names: str) -> None:
        self._names = {name.replace("_", "."): address for name, address in names.items()}

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        address = self._names[host]
        return [ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        return


@pytest.mark.parametrize(
    ("own", "host", "address", "refused"),
    [
        ("a.example", "a.example", "10.1.2.3", False),
        ("a.example", "a.example", "127.0.0.1", True),
        ("a.example", "a.example", "::1", True),
        ("a.example", "a.example", "0.0.0.0", True),  # noqa: S104 - it is looked up, and nothing is bound to it
        ("a.example", "a.example", "169.254.169.254", True),
        ("localhost", "localhost", "127.0.0.1", False),
        ("localhost", "localhost", "169.254.169.254", True),
        ("a.example", "localhost", "127.0.0.1", True),
        (None, "a.example", "127.0.0.1", False),
        (None, "a.example", "169.254.169.254", True),
        (None, "a.example", "fe80::1", True),
        (None, "a.example", "64:ff9b::a9fe:a9fe", True),
    ],
)
def test_what_a_name_leads_to_is_checked_where_it_is_looked_up(
    own: str | None, host: str, address: str, refused: bool
) -> None:
    resolver = Resolver(own, Names(**{host.replace(".", "_"): address}))
    if refused:
        with pytest.raises(addresses.LocalAddress):
            asyncio.run(resolver.resolve(host))
    else:
        assert [entry["host"] for entry in asyncio.run(resolver.resolve(host))] == [address]
