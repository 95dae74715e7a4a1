"""Web servers: encodings, redirects, addresses, cut and changed bodies; and files that are not what they seem."""

import asyncio
import bz2
import gzip
import lzma
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field as default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import pytest
from pydantic import ValidationError

from penstock.connectors.files.spec import FilesSource
from penstock.connectors.files.stores import addresses, globs
from penstock.connectors.files.stores.resolver import Resolver
from penstock.language.auth import ApiKey
from worker.pods import APod, a_pod, field, secret

ID, NAME = field("id", "long"), field("name", "string")
PLAIN = b"id,name\n1,ann\n2,bob\n"
BIG = b"id,name\n" + b"".join(b"%d,row number %d\n" % (n, n) for n in range(2000))


@dataclass
class Answer:
    """What one path answers. `length` is the Content-Length that is told, None for none."""

    body: bytes = PLAIN
    status: int = 200
    headers: dict[str, str] = default(default_factory=dict)
    length: int | None = -1
    head: dict[str, str] | None = None


@dataclass
class Server:
    """A web server on 127.0.0.1."""

    port: int
    answers: dict[str, Answer] = default(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = default(default_factory=list)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


@contextmanager
def serving() -> Iterator[Server]:
    """A server on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            answer = self._answer()
            self._send(answer, answer.headers if answer.head is None else answer.head)

        def do_GET(self) -> None:
            answer = self._answer()
            self._send(answer, answer.headers)
            self.wfile.write(answer.body)

        def _answer(self) -> Answer:
            found.asked.append((self.path, dict(self.headers)))
            return found.answers[self.path.partition("?")[0]]

        def _send(self, answer: Answer, headers: dict[str, str]) -> None:
            self.send_response(answer.status)
            for name, value in headers.items():
                self.send_header(name, value)
            if answer.length is not None:
                self.send_header("Content-Length", str(len(answer.body) if answer.length < 0 else answer.length))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Server(listening.server_address[1])
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    yield found
    listening.shutdown()
    listening.server_close()
    thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def _pod(root: Path, url: str, **more: object) -> APod:
    return a_pod(root, ID, NAME, connector={"url": url, **more})


@pytest.mark.parametrize(
    ("path", "body", "headers", "rows"),
    [
        ("/plain.csv", PLAIN, {}, 2),
        ("/small.csv", gzip.compress(PLAIN, mtime=0), {"Content-Encoding": "gzip"}, 2),
        ("/big.csv", gzip.compress(BIG, mtime=0), {"Content-Encoding": "gzip", "ETag": '"1"'}, 2000),
        ("/old.csv", gzip.compress(BIG, mtime=0), {"Content-Encoding": "x-gzip"}, 2000),
        ("/same.csv", PLAIN, {"Content-Encoding": "identity"}, 2),
        ("/data.csv.gz", gzip.compress(BIG, mtime=0), {"Content-Encoding": "gzip"}, 2000),
        ("/twice.csv.gz", gzip.compress(gzip.compress(BIG, mtime=0), mtime=0), {"Content-Encoding": "gzip"}, 2000),
        ("/plain.csv.gz", gzip.compress(BIG, mtime=0), {}, 2000),
        ("/members.csv", gzip.compress(BIG[:9000]) + gzip.compress(BIG[9000:]), {"Content-Encoding": "gzip"}, 2000),
        ("/padded.csv", gzip.compress(PLAIN) + bytes(70_000), {"Content-Encoding": "gzip"}, 2),
        ("/latin.csv", PLAIN, {"ETag": '"\xe9"'}, 2),
        ("/export", gzip.compress(BIG, mtime=0), {"ETag": 'W/"weak"'}, 2000),
    ],
)
def test_every_row_is_read_however_it_is_encoded(
    path: str, body: bytes, headers: dict[str, str], rows: int, tmp_path: Path, server: Server
) -> None:
    server.answers[path] = Answer(body, headers=headers)
    report = _pod(tmp_path, server.url(path)).work()
    assert report.message is None
    assert (report.datasets[0].counts.loaded, report.datasets[0].counts.quarantined) == (rows, 0)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(gzip.compress(BIG, mtime=0)[:-9], headers={"Content-Encoding": "gzip"}), "WrongSpecification"),
        (Answer(PLAIN, headers={"Content-Encoding": "gzip"}), "WrongSpecification"),
        (Answer(PLAIN, headers={"Content-Encoding": "br"}), "WrongSpecification"),
        (Answer(PLAIN, headers={"Content-Encoding": "gzip, gzip"}), "WrongSpecification"),
        (Answer(PLAIN, length=len(PLAIN) + 9), "Unreachable"),
        (Answer(PLAIN, status=206), "WrongSpecification"),
        (Answer(b"", status=204), "WrongSpecification"),
    ],
)
def test_a_body_that_is_cut_or_no_file_loads_nothing(
    answer: Answer, reason: str, tmp_path: Path, server: Server
) -> None:
    server.answers["/a.csv"] = answer
    pod = _pod(tmp_path, server.url("/a.csv"))
    assert (pod.work().reason, pod.rows()) == (reason, [])


@pytest.mark.parametrize("head", [{"ETag": 'W/"1"'}, {"ETag": '"1"', "X-Other": "y"}])
def test_an_answer_to_head_may_say_less_than_the_one_to_get(
    head: dict[str, str], tmp_path: Path, server: Server
) -> None:
    server.answers["/a.csv"] = Answer(PLAIN, headers={"ETag": '"1"'}, head=head, length=None)
    assert _pod(tmp_path, server.url("/a.csv")).work().datasets[0].counts.loaded == 2


def test_a_file_without_any_mark_is_read_by_every_run(tmp_path: Path, server: Server) -> None:
    server.answers["/a.csv"] = Answer(PLAIN)
    pod = _pod(tmp_path, server.url("/a.csv"))
    pod.work("r1")
    server.answers["/a.csv"] = Answer(PLAIN.replace(b"ann", b"eve"), headers={})
    time.sleep(1.1)  # the server's clock is all that tells two answers apart
    pod.work("r2")
    assert sorted(row["name"] for row in pod.rows()) == ["bob", "eve"]


def test_redirects_on_the_same_host_are_followed(tmp_path: Path, server: Server) -> None:
    server.answers["/a.csv"] = Answer(b"", 302, {"Location": "/b.csv?sig=secret"})
    server.answers["/b.csv"] = Answer(b"", 308, {"Location": server.url("/c.csv")})
    server.answers["/c.csv"] = Answer(headers={"ETag": '"1"'})
    report = _pod(tmp_path, server.url("/a.csv")).work()
    assert report.datasets[0].counts.loaded == 2
    assert "secret" not in str(report)


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("http://other.example/x?sig=canary", "redirects to another host, other.example. If that is right, add it to"),
        ("http://localhost:{port}/ok", "redirects to another host, localhost"),
        ("http://169.254.169.254/latest", "redirects to another host, 169.254.169.254"),
        ("http://listed.localhost:{port}/ok", "redirects to listed.localhost, an address of this node"),
        ("http://user:canary@127.0.0.1:{port}/ok", "redirects to what is no http(s) URL"),
        ("file:///etc/passwd", "redirects to what is no http(s) URL"),
        ("ftp://127.0.0.1/x", "redirects to what is no http(s) URL"),
        ("", "redirects to what is no http(s) URL"),
        ("/a.csv", "redirects more than 5 times"),
    ],
)
def test_other_redirects_are_refused_before_anything_is_asked_there(
    location: str, said: str, tmp_path: Path, server: Server
) -> None:
    server.answers["/a.csv"] = Answer(b"", 302, {"Location": location.format(port=server.port)})
    server.answers["/ok"] = Answer()
    pod = _pod(tmp_path, server.url("/a.csv"), redirects={"hosts": ["listed.localhost"]})
    report = pod.work()
    assert report.reason == "WrongSpecification"
    assert said in (report.message or "")
    assert "canary" not in str(report)
    assert {path for path, _ in server.asked} == {"/a.csv"}


@pytest.mark.parametrize(
    ("host", "local"),
    [
        *((host, True) for host in ("localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::", "::1", "[::1]")),
        *((host, True) for host in ("169.254.169.254", "fe80::1%eth0", "::ffff:127.0.0.1", "100.100.100.200")),
        *((host, True) for host in ("fd00:ec2::254", "168.63.129.16", "224.0.0.1", "2002:7f00:1::")),
        *((host, False) for host in ("10.0.0.7", "192.168.1.9", "example.org", "2001:db8::1", "localhost.org")),
    ],
)
def test_which_addresses_are_local(host: str, local: bool) -> None:
    assert addresses.is_local(host) == local


async def _resolved(own: str, host: str) -> list[str]:
    resolver = Resolver(own)
    try:
        return [entry["host"] for entry in await resolver.resolve(host, 80)]
    finally:
        await resolver.close()


def test_a_name_that_leads_to_a_local_address_is_refused_unless_the_url_has_it() -> None:
    with pytest.raises(addresses.LocalAddress):
        asyncio.run(_resolved("example.org", "localhost"))
    assert asyncio.run(_resolved("localhost", "localhost"))


def _zip(content: bytes) -> bytes:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.csv"), content)  # without the time, which is in the test's name
    return packed.getvalue()


@pytest.mark.parametrize("name", ["a.csv", "a", "a.gz", "a.csv.bak"])
def test_gzip_is_read_whatever_its_name(name: str, tmp_path: Path) -> None:
    pod = a_pod(tmp_path, ID, NAME)
    (pod.data / name).write_bytes(gzip.compress(PLAIN, mtime=0))
    assert pod.work().datasets[0].counts.loaded == 2
    (pod.data / "b.csv.gz").write_bytes(PLAIN.replace(b"1", b"3"))
    assert pod.work("r2").datasets[0].counts.loaded == 2, "text is read as text, too"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (_zip(PLAIN)[:50], "ends in the middle of its zip archive"),
        (bz2.compress(PLAIN)[:-4], "ends in the middle of its bzip2 stream"),
        (lzma.compress(PLAIN)[:-4], "ends in the middle of its xz stream"),
        (b"\x28\xb5\x2f\xfd" + b"\0" * 20, "ends in the middle of its zstd stream"),
        (bz2.compress(lzma.compress(PLAIN)), "compressed by xz, perhaps twice"),
        (b"PAR1" + b"\0" * 20, "Parquet"),
        (gzip.compress(_zip(PLAIN), mtime=0), "compressed by zip, perhaps twice"),
        (gzip.compress(gzip.compress(PLAIN, mtime=0), mtime=0), "compressed by gzip, perhaps twice"),
        (b"%PDF-1.7\n", "a PDF document"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_packed_otherwise_is_named_with_what_to_do(content: bytes, said: str, tmp_path: Path) -> None:
    pod = a_pod(tmp_path, ID, NAME, connector={"url": "file:///volumes/data/a.csv"})
    (pod.data / "a.csv").write_bytes(content)
    report = pod.work()
    assert said in (report.message or "")
    assert report.reason == "WrongSpecification"


@pytest.mark.parametrize("name", ["PAR1", "ORCHARD", "Obj"])
def test_a_text_that_only_begins_alike_is_a_text(name: str, tmp_path: Path) -> None:
    pod = a_pod(tmp_path, field(name, "string"))
    (pod.data / "a.csv").write_text(f"{name}\nx\n")
    assert pod.work().datasets[0].counts.loaded == 1


def test_names_that_begin_with_an_underscore_or_a_dot_are_left_out(tmp_path: Path) -> None:
    pod = a_pod(tmp_path, ID, NAME)
    for name in ("_SUCCESS", ".a.csv.crc", "_temporary/0/a.csv", ".hidden/a.csv"):
        (pod.data / name).parent.mkdir(parents=True, exist_ok=True)
        (pod.data / name).write_text("not,csv\n")
    (pod.data / "a.csv").write_bytes(PLAIN)
    assert pod.work("r1").datasets[0].counts.files == 1
    pod.connector["ignore"] = []
    assert pod.work("r2", kind="inspect-source").streams[0].files == 5


def test_what_a_glob_names_is_not_left_out() -> None:
    fits = globs.matcher("_exports/*.csv", ["_*", ".*"])
    assert fits("_exports/a.csv")
    assert not fits("_exports/_a.csv")
    assert not globs.matcher(None, ["_*"])("_exports/a.csv")


def test_redirects_go_with_a_web_server_only() -> None:
    with pytest.raises(ValueError, match="redirects go with an http"):
        FilesSource.model_validate({"url": "s3://a/b/", "format": {"csv": {}}, "redirects": {"hosts": []}})


def test_credentials_go_to_no_other_origin(tmp_path: Path, server: Server) -> None:
    """A redirect to another port is followed without them, one on the same origin with them."""
    with serving() as other:
        server.answers["/here.csv"] = Answer(status=302, headers={"Location": "/there.csv"})
        server.answers["/there.csv"] = Answer(status=302, headers={"Location": other.url("/plain.csv")})
        other.answers["/plain.csv"] = Answer()
        pod = _pod(tmp_path, server.url("/here.csv"))
        pod.auth = {"bearer": {"secretRef": {"name": "login"}}}
        secret(pod, "login", token="canary-secret-5d1f")
        assert pod.work().message is None
        assert {headers.get("Authorization") for _, headers in server.asked} == {"Bearer canary-secret-5d1f"}
        assert [*{path for path, _ in other.asked}] == ["/plain.csv"]
        assert {headers.get("Authorization") for _, headers in other.asked} == {None}


@pytest.mark.parametrize("header", ["Host", "content-length", "Range", "X Key", "", "X-Key\r\nX"])
def test_headers_that_are_not_free_are_refused(header: str) -> None:
    with pytest.raises(ValidationError):
        ApiKey.model_validate({"header": header, "secretRef": {"name": "login"}})
