"""Google Cloud Storage: fake-gcs-server. Listed, read by generation, refused, cut, slow; deliveries put once."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.auth.transport.requests import Request

from penstock.connectors.files.stores.credentials import SecretKeys
from penstock.connectors.files.stores.gcs import GoogleBucket, service_account_of
from penstock.language.errors import InvalidSpec
from penstock.worker.pod import Pod
from support import gcs, lookup, relay
from worker.pods import APod, a_pod, field, secret

CANARY = "canary-secret-9b1f"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[gcs.Server]:
    with gcs.serve(tmp_path_factory.mktemp("gcs")) as serving:
        yield serving


def bucket_pod(root: Path, endpoint: str, bucket: str) -> APod:
    files = {"url": f"gs://{bucket}/in/", "endpointUrl": endpoint}
    return a_pod(root, field("a", "long"), field("b", "string"), connector=files)


def test_objects_are_loaded_once_and_again_when_changed(server: gcs.Server, tmp_path: Path) -> None:
    server.bucket("exports")
    pod = bucket_pod(tmp_path, server.endpoint, "exports")
    pod.connector["glob"] = "**/*.csv"
    server.put("exports", "in/1.csv", b"a,b\n1,x\n")
    server.put("exports", "in/deep/2.csv", b"a,b\n2,x\n")
    server.put("exports", "in/3.txt", b"no")
    server.put("exports", "inner/4.csv", b"a,b\n4,x\n")
    report = pod.work("r1")
    assert (report.message, report.datasets[0].counts.files) == (None, 2)
    assert pod.work("r2").datasets[0].state == "Unchanged"
    server.put("exports", "in/1.csv", b"a,b\n7,y\n8,y\n")
    counts = pod.work("r3").datasets[0].counts
    assert (counts.loaded, counts.replaced) == (2, 1)
    assert sorted(row["a"] for row in pod.rows()) == [2, 7, 8]


def test_more_objects_than_one_page(server: gcs.Server, tmp_path: Path) -> None:
    server.bucket("pages")
    for number in range(1_050):
        server.put("pages", f"in/{number:04}.csv", b"a,b\n%d,x\n" % number)
    pod = bucket_pod(tmp_path, server.endpoint, "pages")
    report = pod.work()
    assert (report.message, report.datasets[0].counts.files) == (None, 1_050)
    assert len(pod.rows()) == 1_050


def test_one_object_folder_markers_and_odd_keys(server: gcs.Server, tmp_path: Path) -> None:
    server.bucket("markers")
    names = ["1.csv", "a b.csv", "ü.csv", "100%.csv", "q?x=1.csv", "h#1.csv", "p+q=r&s.csv", "[x].csv", "{0}.csv"]
    for number, name in enumerate(names):
        server.put("markers", f"in/{name}", f"a,b\n{number},x\n".encode())
    for marker in ("in/", "in/empty/", "in/deep/folder/"):
        server.put("markers", marker, b"")
    pod = bucket_pod(tmp_path, server.endpoint, "markers")
    report = pod.work()
    assert report.message is None
    assert sorted(row["a"] for row in pod.rows()) == [*range(len(names))]
    one = bucket_pod(tmp_path / "one", server.endpoint, "markers")
    one.connector["url"] = "gs://markers/in/a b.csv"
    assert (one.work().message, one.rows()) == (None, [{"a": 1, "b": "x"}])
    one.connector["url"] = "gs://markers/in/no.csv"
    assert (one.work("r2").reason, one.code) == ("ResourceNotFound", 2)


def test_a_large_object_is_read_in_ranges(server: gcs.Server, tmp_path: Path) -> None:
    server.bucket("large")
    rows = 700_000
    server.put("large", "in/1.csv", b"a,b\n" + b"".join(b"%d,0123456789\n" % number for number in range(rows)))
    pod = bucket_pod(tmp_path, server.endpoint, "large")
    report = pod.work()
    assert (report.message, report.datasets[0].counts.loaded) == (None, rows)


def test_what_is_wrong_with_the_key_of_a_service_account(
    server: gcs.Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.bucket("guarded")
    server.put("guarded", "in/1.csv", b"a,b\n1,x\n")
    with gcs.gate(server) as gate:
        pod = bucket_pod(tmp_path, gate.endpoint, "guarded")
        pod.kind = "inspect-source"
        report = pod.work("anonymous")
        assert (report.reason, pod.code) == ("WrongCredentials", 2)
        assert "name a Secret in auth.googleServiceAccount" in (report.message or "")
        gate.refuses = 401
        assert pod.work("anonymous2").reason == "WrongCredentials"
        pod.auth = {"googleServiceAccount": {"secretRef": {"name": "reader"}}}
        report = pod.work("missing")
        assert (report.reason, pod.code) == ("SecretMissing", 2)
        for number, wrong in enumerate(
            (CANARY, "[]", "{}", f'{{"private_key": "{CANARY}"}}', gate.key(private_key=CANARY))
        ):
            secret(pod, "reader", **{"key.json": wrong})
            report = pod.work(f"wrong{number}")
            assert (report.reason, pod.code) == ("WrongCredentials", 2), wrong
            assert "key.json in Secret reader is no key" in (report.message or "")
            assert CANARY not in report.model_dump_json()
        secret(pod, "reader", **{"key.json": gate.key()})
        report = pod.work("right")
        assert (report.message, report.streams[0].fields) == (None, 2)
        gate.login = 400  # the key was deleted
        started = time.monotonic()
        report = pod.work("rotated")
        assert (report.reason, pod.code) == ("WrongCredentials", 2)
        assert "Check key.json in Secret reader" in (report.message or "")
        assert time.monotonic() - started < 10
        gate.login = 200
        assert pod.work("heals").message is None
        secret(pod, "reader", **{"key.json": gate.key(token_uri="http://127.0.0.1:9/token")})
        report = pod.work("no-login-server")
        assert (report.reason, pod.code) == ("Unreachable", 3)
    output = capfd.readouterr()
    assert CANARY not in output.out + output.err
    assert gcs.TOKEN not in output.out + output.err
    assert "PRIVATE KEY" not in output.out + output.err


def test_nobody_at_the_endpoint_and_no_bucket(server: gcs.Server, tmp_path: Path) -> None:
    pod = bucket_pod(tmp_path, "http://127.0.0.1:9", "exports")
    report = pod.work()
    assert (report.reason, pod.code) == ("Unreachable", 3)
    assert "connection refused by http://127.0.0.1:9" in (report.message or "")
    pod.connector["endpointUrl"] = "http://no-such-host.invalid"
    report = pod.work("r2")
    assert (report.reason, pod.code) == ("Unreachable", 3)
    assert "no-such-host.invalid" in (report.message or "")
    pod.connector["endpointUrl"] = server.endpoint.replace("http://", "https://")
    report = pod.work("r3")
    assert (report.reason, pod.code) == ("TlsFailed", 3)
    assert "TLS" in (report.message or "")
    other = bucket_pod(tmp_path / "other", server.endpoint, "no-such-bucket")
    assert (other.work("r4").reason, other.code) == ("ResourceNotFound", 2)


def test_a_slow_server_and_connections_that_are_cut(server: gcs.Server, tmp_path: Path) -> None:
    server.bucket("slow")
    for number in range(8):
        server.put("slow", f"in/{number}.csv", b"a,b\n" + b"1,x\n" * 1_000)
    with relay.relay(server.port) as between:
        pod = bucket_pod(tmp_path, f"http://127.0.0.1:{between.port}", "slow")
        between.cut(6_000)
        report = pod.work("cut")
        assert (report.reason, pod.code) == ("Unreachable", 3)
        assert "closed the connection" in (report.message or "")
        between.cut(None)
        between.delay = 0.1
        report = pod.work("slow")
        assert (report.message, report.datasets[0].counts.loaded) == (None, 8_000)


def test_an_object_that_changes_after_it_was_listed(server: gcs.Server) -> None:
    """The generation that was planned exists no longer: the run says so and loads nothing of another version."""
    server.bucket("changing")
    server.put("changing", "in/1.csv", b"a,b\n1,x\n")
    bucket = GoogleBucket("gs://changing/in/", server.endpoint, None, "Source things")
    [listed] = bucket.list_files(None)
    server.put("changing", "in/1.csv", b"a,b\n2,y\n")
    with bucket.open(listed) as stream, pytest.raises(InvalidSpec, match="has changed since this run was planned"):
        stream.read()


def test_a_delivery_is_put_once(server: gcs.Server, tmp_path: Path) -> None:
    server.bucket("sales")
    server.bucket("partner")
    server.put("sales", "in/1.csv", b"a,b\n1,x\n")
    with gcs.gate(server) as gate:
        pod = bucket_pod(tmp_path, server.endpoint, "sales")
        secret(pod, "writer", **{"key.json": gate.key()})
        pod.work("r1")
        place = {"url": "gs://partner/drop/", "endpointUrl": gate.endpoint}
        auth = {"googleServiceAccount": {"secretRef": {"name": "writer"}}}
        there = {"name": "partner", "connector": {"files": place}, "auth": auth}
        pod.more = {"delivery": {"destination": there, "format": {"csv": {}}}, "identity": "demo/daily"}
        gate.denied = ("POST", "PUT")
        report = pod.work("d0", kind="deliver")
        assert (report.reason, pod.code) == ("WrongCredentials", 2)
        assert server.names("partner") == []
        gate.denied = ()
        report = pod.work("d1")
        assert report.delivery is not None, report.message
        assert str(report.delivery.manifest).startswith("gs://partner/drop/manifest-")
        assert sorted(Path(name).suffix for name in server.names("partner")) == [".csv", ".json", ".json"]
        again = pod.work("d1")
        assert again.delivery is not None
        assert again.delivery.earlier
        pod.more = {"destination": there}
        assert pod.work("i1", kind="inspect-destination").state == "Succeeded"
        assert len(server.names("partner")) == 3


def test_a_manifest_that_is_there_is_not_replaced(server: gcs.Server, tmp_path: Path) -> None:
    server.bucket("once")
    bucket = GoogleBucket("gs://once/", server.endpoint, None, "Destination partner")
    for number in range(2):
        (tmp_path / str(number)).write_text(json.dumps({"n": number}))
    assert bucket.put("m.json", tmp_path / "0", exclusive=True) == "gs://once/m.json"
    with pytest.raises(FileExistsError):
        bucket.put("m.json", tmp_path / "1", exclusive=True)
    assert bucket.read("m.json") == b'{"n": 0}'
    bucket.put("m.json", tmp_path / "1")
    assert bucket.read("m.json") == b'{"n": 1}'
    bucket.remove("m.json")
    bucket.remove("m.json")
    assert bucket.read("m.json") is None


def test_a_token_is_asked_for_at_the_address_that_was_checked(server: gcs.Server, tmp_path: Path) -> None:
    """Whoever asks for it: gcsfs renews a token that ends soon by itself, with a session that follows redirects."""
    with gcs.gate(server) as gate:
        pod = bucket_pod(tmp_path, gate.endpoint, "tokens")
        secret(pod, "reader", **{"key.json": gate.key(token_uri=f"http://{lookup.NAME}:{gate.port}/token")})
        account = service_account_of(SecretKeys(Pod(pod.root, "run", "pod", None, 2), "reader", "Source x"))
        names = lookup.Changing()
        account.credentials.look_up = names
        account.credentials.refresh(Request())
        assert (account.credentials.token, names.asked) == (gcs.TOKEN, [lookup.NAME])
        with pytest.raises(InvalidSpec, match="Nothing is read from there"):
            account.credentials.refresh(Request())
