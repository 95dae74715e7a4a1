"""S3: a real server. Read with its prefix and glob, refused credentials, a changed object, deliveries put once."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import s3fs

from support import s3
from worker.pods import APod, a_pod, field, secret

CANARY = "canary-secret-51c7"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3.Server]:
    with s3.serve(tmp_path_factory.mktemp("s3") / "buckets") as serving:
        yield serving


def of_bucket(root: Path, server: s3.Server, bucket: str) -> APod:
    files = {"url": f"s3://{bucket}/in/", "glob": "**/*.csv", "endpointUrl": server.endpoint}
    pod = a_pod(root, field("a", "long"), field("b", "string"), connector=files)
    pod.auth = {"aws": {"secretRef": {"name": "reader"}}}
    secret(pod, "reader", access_key_id=s3.ACCESS, secret_access_key=s3.SECRET)
    return pod


def put(server: s3.Server, bucket: str, path: str, content: str) -> None:
    """An object, put into the bucket's folder behind the server's back."""
    target = server.bucket(bucket) / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(content)


def test_objects_are_loaded_once_and_again_when_changed(server: s3.Server, tmp_path: Path) -> None:
    pod = of_bucket(tmp_path, server, "exports")
    put(server, "exports", "in/1.csv", "a,b\n1,x\n")
    put(server, "exports", "in/deep/2.csv", "a,b\n2,x\n")
    put(server, "exports", "in/3.txt", "no")
    report = pod.work("r1")
    assert (report.message, report.datasets[0].counts.files) == (None, 2)
    assert pod.work("r2").datasets[0].state == "Unchanged"
    put(server, "exports", "in/1.csv", "a,b\n7,y\n8,y\n")
    counts = pod.work("r3").datasets[0].counts
    assert (counts.loaded, counts.replaced) == (2, 1)
    assert sorted(row["a"] for row in pod.rows()) == [2, 7, 8]


def test_wrong_keys_a_missing_secret_and_a_missing_bucket(
    server: s3.Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    put(server, "exports2", "in/1.csv", "a,b\n1,x\n")
    pod = of_bucket(tmp_path, server, "exports2")
    pod.kind = "inspect-source"
    assert pod.work("r1").streams[0].fields == 2
    secret(pod, "reader", secret_access_key=CANARY)
    report = pod.work("r2")
    assert (report.reason, pod.code) == ("WrongCredentials", 2)
    assert CANARY not in report.model_dump_json() + capfd.readouterr().out
    (pod.root / "etc/penstock/secrets/reader/secret_access_key").unlink()
    report = pod.work("r3")
    assert (report.reason, pod.code) == ("SecretMissing", 2)
    assert 'Secret reader has no key "secret_access_key"' in (report.message or "")
    pod.auth = {"aws": {"secretRef": {"name": "nobody"}}}
    assert pod.work("r4").reason == "SecretMissing"
    other = of_bucket(tmp_path / "other", server, "no-such-bucket")
    assert (other.work("r5").reason, other.code) == ("ResourceNotFound", 2)


def test_nobody_at_the_endpoint(server: s3.Server, tmp_path: Path) -> None:
    pod = of_bucket(tmp_path, server, "exports")
    pod.connector["endpointUrl"] = "http://127.0.0.1:9"
    report = pod.work()
    assert (report.reason, pod.code) == ("Unreachable", 3)


def test_a_delivery_is_put_once(server: s3.Server, tmp_path: Path) -> None:
    pod = of_bucket(tmp_path, server, "exports3")
    put(server, "exports3", "in/1.csv", "a,b\n1,x\n")
    pod.work("r1")
    server.bucket("partner")
    place = {"url": "s3://partner/drop/", "endpointUrl": server.endpoint}
    there = {"name": "partner", "connector": {"files": place}, "auth": pod.auth}
    pod.more = {"delivery": {"destination": there, "format": {"csv": {}}}, "identity": "demo/daily"}
    report = pod.work("d1", kind="deliver")
    assert report.delivery is not None, report.message
    assert str(report.delivery.manifest).startswith("s3://partner/drop/manifest-")
    assert sorted(path.suffix for path in (server.folder / "partner/drop").iterdir()) == [".csv", ".json", ".json"]
    again = pod.work("d1")
    assert again.delivery is not None
    assert again.delivery.earlier
    pod.more = {"destination": there}
    assert pod.work("i1", kind="inspect-destination").state == "Succeeded"


def test_folder_markers_and_odd_keys(server: s3.Server, tmp_path: Path) -> None:
    """A key that ends in / marks a folder and is no file; other keys are files whatever they are called."""
    pod = of_bucket(tmp_path, server, "markers")
    put(server, "markers", "in/1.csv", "a,b\n1,x\n")
    keys = ["in/a b.csv", "in/ü.csv", "in/100%.csv", "in/q?x=1.csv", "in/h#1.csv", "in/p+q=r&s.csv", "in/[x].csv"]
    for number, key in enumerate(keys):
        put(server, "markers", key, f"a,b\n{number + 2},x\n")
    files = s3fs.S3FileSystem(key=s3.ACCESS, secret=s3.SECRET, endpoint_url=server.endpoint, skip_instance_cache=True)
    for marker in ("in/", "in/empty/", "in/deep/folder/"):
        files.call_s3("put_object", Bucket="markers", Key=marker, Body=b"")
    del pod.connector["glob"]
    report = pod.work()
    assert report.message is None
    assert sorted(row["a"] for row in pod.rows()) == [*range(1, len(keys) + 2)]


def test_the_identity_of_the_pod(server: s3.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without secretRef the keys are those that AWS gives the Pod, here from the address that EKS puts into it."""
    put(server, "own", "in/1.csv", "a,b\n1,x\n")
    pod = of_bucket(tmp_path, server, "own")
    pod.auth = {"aws": {}}
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    report = pod.work("none")
    assert (report.reason, pod.code) == ("WrongCredentials", 2)
    assert "Check the role of the Pod's service account" in (report.message or "")
    given = {"AccessKeyId": s3.ACCESS, "SecretAccessKey": s3.SECRET, "Token": "", "Expiration": "2099-01-01T00:00:00Z"}
    with answering(json.dumps(given).encode()) as port:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{port}/credentials")
        assert pod.work("given").message is None
    assert pod.rows() == [{"a": 1, "b": "x"}]


@contextmanager
def answering(body: bytes) -> Iterator[int]:
    """The port of a web server that answers each request with this body."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield web.server_port
        web.shutdown()
