"""SFTP: OpenSSH's server. Host keys, logins, links, changes while reading, cut and slow connections, deliveries."""

import asyncio
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import asyncssh
import pytest

from penstock.connectors.files.stores.sftp import Login, SftpServer
from penstock.language.errors import InvalidSpec
from support import lookup, relay, sftp
from worker.pods import APod, a_pod, field, secret

CANARY = "canary-secret-3d90"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sftp.Server]:
    with sftp.serve(tmp_path_factory.mktemp("sftp") / "server") as serving:
        yield serving


def server_pod(root: Path, server: sftp.Server, folder: Path) -> APod:
    folder.mkdir(parents=True, exist_ok=True)
    pod = a_pod(root / "pod", field("a", "long"), field("b", "string"), connector={"url": server.url(folder)})
    pod.auth = auth_of(server)
    secret(pod, "login", **{"username": server.user, "ssh-privatekey": server.key})
    return pod


def auth_of(server: sftp.Server, **changed: str) -> dict[str, Any]:
    return {"ssh": {"secretRef": {"name": "login"}, "knownHosts": server.known_hosts, **changed}}


def read_all(stream: BinaryIO) -> None:
    """Read to the end, in blocks as loading does."""
    while stream.read(1 << 20):
        pass


def store(server: sftp.Server, folder: Path) -> SftpServer:
    login = Login("login", server.user, server.known_hosts, None, asyncssh.import_private_key(server.key))
    return SftpServer(server.url(folder), login, "Source things")


def test_files_are_loaded_once_and_again_when_changed(server: sftp.Server, tmp_path: Path) -> None:
    data = tmp_path / "data"
    pod = server_pod(tmp_path, server, data)
    pod.connector["glob"] = "**/*.csv"
    (data / "deep").mkdir()
    (data / "1.csv").write_text("a,b\n1,x\n")
    (data / "deep/2.csv").write_text("a,b\n2,x\n")
    (data / "3.txt").write_text("no")
    (data / ".4.csv").write_text("a,b\n4,still being uploaded\n")
    report = pod.work("r1")
    assert (report.message, report.datasets[0].counts.files) == (None, 2)
    assert pod.work("r2").datasets[0].state == "Unchanged"
    (data / "1.csv").write_text("a,b\n7,y\n8,y\n")
    counts = pod.work("r3").datasets[0].counts
    assert (counts.loaded, counts.replaced) == (2, 1)
    assert sorted(row["a"] for row in pod.rows()) == [2, 7, 8]
    pod.connector = {"url": server.url(data).rstrip("/") + "/deep/2.csv", "format": {"csv": {}}}
    assert pod.work("one").message is None
    pod.connector["url"] = server.url(data).rstrip("/")
    report = pod.work("folder")
    assert (report.reason, pod.code) == ("WrongSpecification", 2)
    assert "is a folder. End the URL with a slash" in (report.message or "")
    pod.connector["url"] += "/no.csv"
    assert (pod.work("none").reason, pod.code) == ("ResourceNotFound", 2)


def test_odd_names_special_files_and_links(server: sftp.Server, tmp_path: Path) -> None:
    """Links are not followed: who can write to one folder must not choose which other files are read."""
    data = tmp_path / "data"
    pod = server_pod(tmp_path, server, data)
    names = [
        "1.csv",
        "a b.csv",
        "ü.csv",
        "100%.csv",
        "q?x=1.csv",
        "h#1.csv",
        "[x].csv",
        "quote'\".csv",
        "back\\slash.csv",
    ]
    for number, name in enumerate(names):
        (data / name).write_text(f"a,b\n{number},x\n")
    (data / "empty").mkdir()
    os.mkfifo(data / "fifo.csv")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "private.csv").write_text("a,b\n99,x\n")
    (data / "link.csv").symlink_to(elsewhere / "private.csv")
    (data / "folder").symlink_to(elsewhere)
    (data / "loop").symlink_to(data)
    (data / "dangling.csv").symlink_to(tmp_path / "nowhere")
    report = pod.work()
    assert report.message is None
    assert sorted(row["a"] for row in pod.rows()) == [*range(len(names))]
    pod.connector["url"] = server.url(data).rstrip("/") + "/link.csv"
    report = pod.work("r2")
    assert (report.reason, pod.code) == ("WrongSpecification", 2)
    assert "is a link, and links are not followed" in (report.message or "")
    pod.connector["url"] = server.url(data)
    (data / os.fsdecode(b"latin-\xfc.csv")).write_text("a,b\n5,x\n")
    report = pod.work("r3")
    assert (report.reason, pod.code) == ("WrongSpecification", 2)
    assert r"latin-\udcfc.csv" in (report.message or "")


def test_only_a_named_host_key_is_accepted(server: sftp.Server, tmp_path: Path) -> None:
    data = tmp_path / "data"
    pod = server_pod(tmp_path, server, data)
    (data / "1.csv").write_text("a,b\n1,x\n")
    pod.kind = "inspect-source"
    sftp.make_key(tmp_path / "other")
    other = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    host = f"[{server.address}]:{server.port}"
    for number, wrong in enumerate((f"{host} {other}\n", server.known_hosts.replace(host, "sftp.example.com"))):
        pod.auth = auth_of(server, knownHosts=wrong)
        report = pod.work(f"r{number}")
        assert (report.reason, pod.code) == ("WrongSpecification", 2)
        assert "is not one of auth.ssh.knownHosts" in (report.message or "")
    pod.auth = auth_of(server, knownHosts=f"# comment\n\n{host} {other}\n{server.known_hosts}")
    assert pod.work("right").message is None


def test_keys_that_are_wrong_missing_encrypted_or_rotated(
    server: sftp.Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    pod = server_pod(tmp_path, server, data)
    (data / "1.csv").write_text("a,b\n1,x\n")
    pod.kind = "inspect-source"
    assert pod.work("right").message is None
    sftp.make_key(tmp_path / "other", "-N", "")
    secret(pod, "login", **{"ssh-privatekey": (tmp_path / "other").read_text()})
    report = pod.work("rotated")
    assert (report.reason, pod.code) == ("WrongCredentials", 2)
    assert f"does not let in user {server.user}. Check username" in (report.message or "")
    encrypted = tmp_path / "encrypted"
    encrypted.write_text(server.key)
    encrypted.chmod(0o600)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", CANARY, "-f", encrypted], check=True, capture_output=True)
    secret(pod, "login", **{"ssh-privatekey": encrypted.read_text()})
    report = pod.work("encrypted")
    assert (report.reason, pod.code) == ("WrongCredentials", 2)
    assert 'add its "passphrase"' in (report.message or "")
    secret(pod, "login", passphrase=f"not-{CANARY}")
    report = pod.work("passphrase")
    assert (report.reason, pod.code) == ("WrongCredentials", 2)
    assert '"passphrase" in Secret login does not open' in (report.message or "")
    secret(pod, "login", passphrase=CANARY)
    assert pod.work("opened").message is None
    secret(pod, "login", **{"ssh-privatekey": CANARY})
    report = pod.work("no-key")
    assert (report.reason, pod.code) == ("WrongCredentials", 2)
    assert "is no private key" in (report.message or "")
    folder = pod.root / "etc/penstock/secrets/login"
    (folder / "ssh-privatekey").unlink()
    report = pod.work("neither")
    assert (report.reason, pod.code) == ("SecretMissing", 2)
    assert 'has neither "ssh-privatekey" nor "password"' in (report.message or "")
    (folder / "username").unlink()
    assert 'no key "username"' in (pod.work("nobody").message or "")
    output = capfd.readouterr()
    assert CANARY not in output.out + output.err
    assert "PRIVATE KEY" not in output.out + output.err


def test_a_password(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """OpenSSH takes passwords of this machine's users only, so this is another server, of Python."""
    data = tmp_path / "data"
    with password_server(data, CANARY) as server:
        pod = a_pod(tmp_path / "pod", field("a", "long"), connector={"url": f"sftp://127.0.0.1:{server.port}/"})
        pod.auth = auth_of(server)
        (data / "1.csv").write_text("a,b\n1,x\n")
        secret(pod, "login", username="partner", password=CANARY)
        assert pod.work("right").message is None
        secret(pod, "login", password=f"not-{CANARY}")
        report = pod.work("wrong")
        assert (report.reason, pod.code) == ("WrongCredentials", 2)
    output = capfd.readouterr()
    assert CANARY not in output.out + output.err


def test_nobody_listens_no_host_and_no_ssh(server: sftp.Server, tmp_path: Path) -> None:
    pod = server_pod(tmp_path, server, tmp_path / "data")
    for number, (host, said) in enumerate(
        (
            ("127.0.0.1:9", "connection refused by sftp://127.0.0.1:9"),
            ("no-such-host.invalid", "no-such-host.invalid"),
        )
    ):
        pod.connector["url"] = f"sftp://{host}/in/"
        report = pod.work(f"r{number}")
        assert (report.reason, pod.code) == ("Unreachable", 3)
        assert said in (report.message or "")


def test_a_server_without_sftp_and_one_that_may_not_be_read(tmp_path: Path) -> None:
    with sftp.serve(tmp_path / "server", "ForceCommand internal-sftp -R", "Subsystem sftp internal-sftp") as server:
        pod = server_pod(tmp_path, server, tmp_path / "data")
        (tmp_path / "data/1.csv").write_text("a,b\n1,x\n")
        assert pod.work("r1").message is None
        destination = {"url": server.url(tmp_path / "data")}
        pod.more = {"destination": {"name": "out", "connector": {"files": destination}, "auth": pod.auth}}
        report = pod.work("r2", kind="inspect-destination")
        assert (report.reason, pod.code) == ("WrongCredentials", 2)
        assert "has no permission for" in (report.message or "")
    with sftp.serve(tmp_path / "none", "AllowTcpForwarding no") as server:
        pod = server_pod(tmp_path, server, tmp_path / "data")
        report = pod.work("r3")
        assert (report.reason, pod.code) == ("WrongSpecification", 2)
        assert "has no SFTP for user" in (report.message or "")


def test_a_file_that_changes_before_and_while_it_is_read(server: sftp.Server, tmp_path: Path) -> None:
    path = tmp_path / "1.csv"
    path.write_bytes(b"1,x\n" * 3_000_000)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    there = store(server, tmp_path)
    [listed] = there.list_files(None)
    with there.open(listed) as stream:
        stream.read(1_000)
        with path.open("ab") as appended:
            appended.write(b"2,y\n")
        with pytest.raises(InvalidSpec, match="has changed since this run was planned"):
            read_all(stream)
    with pytest.raises(InvalidSpec, match="has changed since this run was planned"):
        there.open(listed)
    [listed] = there.list_files(None)
    path.rename(tmp_path / "2.csv")
    path.symlink_to(tmp_path / "2.csv")
    with pytest.raises(InvalidSpec, match="has changed since this run was planned"):
        there.open(listed)
    path.unlink()
    with pytest.raises(InvalidSpec, match="has changed since this run was planned"):
        there.open(listed)


def test_slow_and_cut_connections(server: sftp.Server, tmp_path: Path) -> None:
    data = tmp_path / "data"
    pod = server_pod(tmp_path, server, data)
    rows = 40_000
    for number in range(20):
        (data / f"{number}.csv").write_text("a,b\n" + f"{number},xxxxxxxxxxxxxxxxxxxxxxxx\n" * (rows // 20))
    with relay.relay(server.port) as between:
        pod.connector["url"] = f"sftp://127.0.0.1:{between.port}{data}/"
        pod.auth = auth_of(server, knownHosts=server.known_hosts.replace(str(server.port), str(between.port)))
        between.cut(400_000)
        report = pod.work("cut")
        assert (report.reason, pod.code) == ("Unreachable", 3)
        between.cut(None)
        between.delay = 0.02
        started = time.monotonic()
        report = pod.work("slow")
        assert (report.message, report.datasets[0].counts.loaded) == (None, rows)
        assert time.monotonic() - started < 60


def test_a_delivery_is_put_once(server: sftp.Server, tmp_path: Path) -> None:
    data, drop = tmp_path / "data", tmp_path / "drop"
    pod = server_pod(tmp_path, server, data)
    (data / "1.csv").write_text("a,b\n1,x\n")
    pod.work("r1")
    there = {"name": "partner", "connector": {"files": {"url": server.url(drop)}}, "auth": pod.auth}
    pod.more = {"delivery": {"destination": there, "format": {"csv": {}}}, "identity": "demo/daily"}
    report = pod.work("d1", kind="deliver")
    assert report.delivery is not None, report.message
    assert str(report.delivery.manifest).startswith(server.url(drop) + "manifest-")
    assert sorted(path.suffix for path in drop.iterdir()) == [".csv", ".json", ".json"]
    again = pod.work("d1")
    assert again.delivery is not None
    assert again.delivery.earlier
    pod.more = {"destination": there}
    assert pod.work("i1", kind="inspect-destination").state == "Succeeded"
    assert len([*drop.iterdir()]) == 3


def test_of_many_writers_one_takes_the_name(server: sftp.Server, tmp_path: Path) -> None:
    """Manifests that are put at the same moment: one is there, whole, and all others learn that the name is taken."""
    (tmp_path / "drop").mkdir()
    there, taken = store(server, tmp_path / "drop"), list[int]()
    there.list_files(None)  # connects
    for number in range(8):
        (tmp_path / str(number)).write_text(f"{number}" * 100_000)

    def write(number: int) -> None:
        try:
            there.put("manifest.json", tmp_path / str(number), exclusive=True)
            taken.append(number)
        except FileExistsError:
            pass

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [winner] = taken
    assert there.read("manifest.json") == f"{winner}".encode() * 100_000
    there.put("manifest.json", tmp_path / "0")
    assert there.read("manifest.json") == b"0" * 100_000
    assert [path.name for path in (tmp_path / "drop").iterdir()] == ["manifest.json"]


@contextmanager
def password_server(folder: Path, password: str) -> Iterator[sftp.Server]:
    """An SFTP server in this process that lets `partner` in by a password, to that folder only."""
    folder.mkdir(parents=True)
    host_key = asyncssh.generate_private_key("ssh-ed25519")

    connections = list[asyncssh.SSHServerConnection]()

    class Names(asyncssh.SSHServer):
        def connection_made(self, connection: asyncssh.SSHServerConnection) -> None:
            connections.append(connection)

        def begin_auth(self, username: str) -> bool:
            return username == "partner"

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, given: str) -> bool:
            return (username, given) == ("partner", password)

    class Files(asyncssh.SFTPServer):
        def __init__(self, channel: "asyncssh.SSHServerChannel[bytes]") -> None:
            super().__init__(channel, chroot=os.fsencode(folder))

    loop = asyncio.new_event_loop()

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1", 0, server_factory=Names, server_host_keys=[host_key], sftp_factory=Files
        )

    async def end() -> None:
        acceptor.close()
        for connection in connections:
            connection.abort()
            await connection.wait_closed()

    acceptor = loop.run_until_complete(listen())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    port = acceptor.get_port()
    known = f"[127.0.0.1]:{port} {host_key.export_public_key().decode()}"
    try:
        yield sftp.Server("127.0.0.1", port, folder, known, "", "partner")
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_the_address_that_was_checked_is_connected_to(server: sftp.Server, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    known = server.known_hosts.replace("127.0.0.1", lookup.NAME)
    login = Login("login", server.user, known, None, asyncssh.import_private_key(server.key))
    url, names = server.url(tmp_path).replace("127.0.0.1", lookup.NAME), lookup.Changing()
    assert len(SftpServer(url, login, "Source things", (), names).list_files(None)) == 1
    assert names.asked == [lookup.NAME]
    with pytest.raises(InvalidSpec, match="Nothing is read from there"):
        SftpServer(url, login, "Source things", (), names).list_files(None)
    other = Login("login", server.user, known.replace("shop", "other"), None, login.key)
    with pytest.raises(InvalidSpec, match="the host key"):
        SftpServer(url, other, "Source things", (), lookup.Changing()).list_files(None)
