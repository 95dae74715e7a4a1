"""Azure Blob Storage: azurite. Listed, read by ETag, refused, cut, slow; deliveries put once."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import AccountSasPermissions

from penstock.connectors.files.stores import requestsession
from penstock.connectors.files.stores.azure import Account, BlobContainer
from penstock.language.errors import InvalidSpec
from support import azure, lookup, relay
from worker.pods import APod, a_pod, field, secret

CANARY = "canarysecret71e4"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[azure.Server]:
    with azure.serve(tmp_path_factory.mktemp("azure")) as serving:
        yield serving


def container_pod(root: Path, server: azure.Server, container: str) -> APod:
    pod = a_pod(root, field("a", "long"), field("b", "string"), connector={"url": f"az://{container}/in/"})
    pod.auth = {"azure": {"secretRef": {"name": "reader"}}}
    secret(pod, "reader", connection_string=server.connection_string)
    return pod


def store(server: azure.Server, url: str) -> BlobContainer:
    credential = AzureNamedKeyCredential(azure.ACCOUNT, azure.KEY)
    return BlobContainer(url, None, Account("reader", azure.ACCOUNT, server.endpoint, credential), "Source things")


def test_blobs_are_loaded_once_and_again_when_changed(server: azure.Server, tmp_path: Path) -> None:
    server.container("exports")
    pod = container_pod(tmp_path, server, "exports")
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


def test_one_blob_folder_markers_and_odd_names(server: azure.Server, tmp_path: Path) -> None:
    server.container("markers")
    names = ["1.csv", "a b.csv", "ü.csv", "100%.csv", "q?x=1.csv", "h#1.csv", "p+q=r&s.csv", "[x].csv"]
    for number, name in enumerate(names):
        server.put("markers", f"in/{name}", f"a,b\n{number},x\n".encode())
    server.put("markers", "in/deep", b"", hdi_isfolder="true")
    pod = container_pod(tmp_path, server, "markers")
    report = pod.work()
    assert report.message is None
    assert sorted(row["a"] for row in pod.rows()) == [*range(len(names))]
    one = container_pod(tmp_path / "one", server, "markers")
    one.connector["url"] = "az://markers/in/a b.csv"
    assert (one.work().message, one.rows()) == (None, [{"a": 1, "b": "x"}])
    one.connector["url"] = "az://markers/in/no.csv"
    assert (one.work("r2").reason, one.code) == ("ResourceNotFound", 2)


def test_a_large_blob_is_read_in_ranges(server: azure.Server, tmp_path: Path) -> None:
    server.container("large")
    rows = 700_000
    server.put("large", "in/1.csv", b"a,b\n" + b"".join(b"%d,0123456789\n" % number for number in range(rows)))
    pod = container_pod(tmp_path, server, "large")
    report = pod.work()
    assert (report.message, report.datasets[0].counts.loaded) == (None, rows)


def test_keys_and_signatures_that_are_right_wrong_missing_or_expired(
    server: azure.Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.container("guarded")
    server.put("guarded", "in/1.csv", b"a,b\n1,x\n")
    pod = container_pod(tmp_path, server, "guarded")
    pod.kind = "inspect-source"
    assert pod.work("string").message is None
    keys = pod.root / "etc/penstock/secrets/reader"
    (keys / "connection_string").write_text(server.connection_string.replace(azure.KEY, "bm90IHRoZSBrZXk="))
    report = pod.work("rotated")
    assert (report.reason, pod.code) == ("WrongCredentials", 2)
    assert "Check the account key or SAS token in Secret reader" in (report.message or "")
    (keys / "connection_string").write_text(CANARY)
    report = pod.work("no-string")
    assert (report.reason, pod.code) == ("WrongCredentials", 2)
    assert "is no connection string" in (report.message or "")
    (keys / "connection_string").unlink()
    (keys / "other").write_text("")
    report = pod.work("no-account")
    assert (report.reason, pod.code) == ("SecretMissing", 2)
    secret(pod, "reader", account_name=azure.ACCOUNT)
    report = pod.work("no-key")
    assert (report.reason, pod.code) == ("SecretMissing", 2)
    assert "connection_string, account_key and sas_token" in (report.message or "")
    pod.connector["endpointUrl"] = server.endpoint
    secret(pod, "reader", account_key=azure.KEY)
    assert pod.work("key").message is None
    secret(pod, "reader", account_key=f"{CANARY}!")
    report = pod.work("no-base64")
    assert (report.reason, pod.code) == ("WrongCredentials", 2)
    assert "is not base64" in (report.message or "")
    output = capfd.readouterr()
    assert CANARY not in output.out + output.err
    assert azure.KEY not in output.out + output.err


def test_signatures_and_anonymous_requests(
    server: azure.Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.container("signed")
    server.put("signed", "in/1.csv", b"a,b\n1,x\n")
    pod = container_pod(tmp_path, server, "signed")
    pod.kind = "inspect-source"
    pod.connector["endpointUrl"] = server.endpoint
    (pod.root / "etc/penstock/secrets/reader/connection_string").unlink()
    secret(pod, "reader", sas_token="?" + server.sas(AccountSasPermissions(read=True, list=True)))
    assert pod.work("sas").message is None
    for number, permission in enumerate(
        (AccountSasPermissions(write=True), AccountSasPermissions(read=True, list=True))
    ):
        signature = server.sas(permission, timedelta(hours=1 if number == 0 else -1))
        secret(pod, "reader", sas_token=signature)
        report = pod.work(f"refused{number}")
        assert (report.reason, pod.code) == ("WrongCredentials", 2)
        assert signature.rpartition("sig=")[2] not in report.model_dump_json()
    pod.auth = None
    report = pod.work("anonymous")
    assert report.reason in ("WrongCredentials", "ResourceNotFound")
    pod.auth = {"azure": {"secretRef": {"name": "nobody"}}}
    assert pod.work("nobody").reason == "SecretMissing"
    output = capfd.readouterr()
    assert "sig=" not in output.out + output.err


def test_nobody_at_the_endpoint_and_no_container(server: azure.Server, tmp_path: Path) -> None:
    pod = container_pod(tmp_path, server, "exports")
    for number, (endpoint, reason, said) in enumerate(
        (
            ("http://127.0.0.1:9/a", "Unreachable", "connection refused by http://127.0.0.1:9"),
            ("http://no-such-host.invalid/a", "Unreachable", "no-such-host.invalid"),
            (server.endpoint.replace("http://", "https://"), "TlsFailed", "no TLS with"),
        )
    ):
        pod.connector["endpointUrl"] = endpoint
        report = pod.work(f"r{number}")
        assert (report.reason, pod.code) == (reason, 3)
        assert said in (report.message or "")
    other = container_pod(tmp_path / "other", server, "no-such-container")
    assert (other.work("r4").reason, other.code) == ("ResourceNotFound", 2)


def test_a_slow_server_and_connections_that_are_cut(server: azure.Server, tmp_path: Path) -> None:
    server.container("slow")
    for number in range(8):
        server.put("slow", f"in/{number}.csv", b"a,b\n" + b"1,x\n" * 1_000)
    with relay.relay(server.port) as between:
        pod = container_pod(tmp_path, server, "slow")
        pod.connector["endpointUrl"] = f"http://127.0.0.1:{between.port}/{azure.ACCOUNT}"
        between.cut(9_000)
        report = pod.work("cut")
        assert (report.reason, pod.code) == ("Unreachable", 3)
        between.cut(None)
        between.delay = 0.1
        report = pod.work("slow")
        assert (report.message, report.datasets[0].counts.loaded) == (None, 8_000)


def test_a_blob_that_changes_after_it_was_listed(server: azure.Server) -> None:
    server.container("changing")
    server.put("changing", "in/1.csv", b"a,b\n1,x\n")
    container = store(server, "az://changing/in/")
    [listed] = container.list_files(None)
    server.put("changing", "in/1.csv", b"a,b\n2,y\n")
    with container.open(listed) as stream, pytest.raises(InvalidSpec, match="has changed since this run was planned"):
        stream.read()


def test_a_delivery_is_put_once(server: azure.Server, tmp_path: Path) -> None:
    server.container("sales")
    server.container("partner")
    server.put("sales", "in/1.csv", b"a,b\n1,x\n")
    pod = container_pod(tmp_path, server, "sales")
    pod.work("r1")
    secret(pod, "writer", account_name=azure.ACCOUNT, sas_token=server.sas(AccountSasPermissions(read=True, list=True)))
    place = {"url": "az://partner/drop/", "endpointUrl": server.endpoint}
    there = {"name": "partner", "connector": {"files": place}, "auth": {"azure": {"secretRef": {"name": "writer"}}}}
    pod.more = {"delivery": {"destination": there, "format": {"csv": {}}}, "identity": "demo/daily"}
    report = pod.work("d0", kind="deliver")
    assert (report.reason, pod.code) == ("WrongCredentials", 2)
    assert server.names("partner") == []
    permitted = AccountSasPermissions(read=True, list=True, write=True, create=True, delete=True)
    secret(pod, "writer", sas_token=server.sas(permitted))
    report = pod.work("d1")
    assert report.delivery is not None, report.message
    assert str(report.delivery.manifest).startswith("az://partner/drop/manifest-")
    assert sorted(Path(name).suffix for name in server.names("partner")) == [".csv", ".json", ".json"]
    again = pod.work("d1")
    assert again.delivery is not None
    assert again.delivery.earlier
    pod.more = {"destination": there}
    assert pod.work("i1", kind="inspect-destination").state == "Succeeded"
    assert len(server.names("partner")) == 3


def test_a_manifest_that_is_there_is_not_replaced(server: azure.Server, tmp_path: Path) -> None:
    server.container("once")
    container = store(server, "az://once/")
    for number in range(2):
        (tmp_path / str(number)).write_text(f"{number}")
    assert container.put("m.json", tmp_path / "0", exclusive=True) == "az://once/m.json"
    with pytest.raises(FileExistsError):
        container.put("m.json", tmp_path / "1", exclusive=True)
    assert container.read("m.json") == b"0"
    container.put("m.json", tmp_path / "1")
    assert container.read("m.json") == b"1"
    container.remove("m.json")
    container.remove("m.json")
    assert container.read("m.json") is None


def test_the_address_that_was_checked_is_connected_to(server: azure.Server) -> None:
    server.container("named")
    server.put("named", "in/1.csv", b"a\n1\n")
    credential = AzureNamedKeyCredential(azure.ACCOUNT, azure.KEY)
    host = f"{azure.ACCOUNT}.blob.{lookup.NAME}"  # azurite takes the account from it
    account, names = Account("reader", azure.ACCOUNT, f"http://{host}:{server.port}", credential), lookup.Changing()
    found = BlobContainer(
        "az://named/in/", None, account, "Source things", (), requestsession.checking("Source things", names)
    ).list_files(None)
    assert (len(found), names.asked) == (1, [host])
    with pytest.raises(InvalidSpec, match="Nothing is read from there"):
        BlobContainer(
            "az://named/in/", None, account, "Source things", (), requestsession.checking("Source things", names)
        ).list_files(None)
