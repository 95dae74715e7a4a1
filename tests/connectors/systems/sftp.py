"""Files on an SFTP server: an sshd for each test, for it is started in a moment and accepts keys by a file."""

import getpass
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Self

from connectors.contract.adapters import Fault
from connectors.systems.files import Folder, no_file
from support import sftp


class Sftp(Folder):
    name = "files-sftp"
    public: ClassVar = ("username",)
    consistent = False  # the protocol has no versions
    server: sftp.Server

    @classmethod
    @contextmanager
    def running(cls, root: Path) -> Iterator[Self]:
        adapter = cls(root)
        adapter.folder = root / "sftp/data"
        adapter.folder.mkdir(parents=True, exist_ok=True)
        with sftp.serve(root / "sftp/server") as adapter.server:
            adapter.reach_through(*adapter.address)
            adapter.secrets = {"login": {"username": getpass.getuser(), "ssh-privatekey": adapter.server.key}}
            yield adapter

    @property
    def address(self) -> tuple[str, int]:
        return self.server.address, self.server.port

    def reach_through(self, host: str, port: int) -> None:
        self.connector = {"url": f"sftp://{host}:{port}{self.folder}/", "format": {"csv": {}}}
        host_key = self.server.known_hosts.partition(" ")[2]
        self.auth = {"ssh": {"secretRef": {"name": "login"}, "knownHosts": f"[{host}]:{port} {host_key}"}}

    def rotate(self) -> dict[str, dict[str, str]]:
        """Accept another key instead."""
        new = self.server.folder / "second"
        sftp.make_key(new)
        (self.server.folder / "authorized_keys").write_text(new.with_suffix(".pub").read_text())
        return {"login": {"username": self.server.user, "ssh-privatekey": new.read_text()}}


def _other_host_key(adapter: Sftp) -> None:
    sftp.make_key(adapter.server.folder / "other")
    key = " ".join((adapter.server.folder / "other.pub").read_text().split()[:2])
    adapter.auth = {
        "ssh": {"secretRef": {"name": "login"}, "knownHosts": f"[{adapter.server.address}]:{adapter.server.port} {key}"}
    }


def _no_secret(adapter: Sftp) -> None:
    assert adapter.auth is not None
    adapter.auth["ssh"]["secretRef"] = {"name": "nobody"}


def _no_key(adapter: Sftp) -> None:
    adapter.secrets["login"]["ssh-privatekey"] = "wrong-tests-secret"


def _no_login(adapter: Sftp) -> None:
    adapter.secrets["login"]["ssh-privatekey"] = ""


Sftp.faults = (
    Fault("no such Secret", "SecretMissing", _no_secret),
    Fault("neither key nor password", "SecretMissing", _no_login),
    Fault("no key", "WrongCredentials", _no_key),
    Fault("revoked key", "WrongCredentials", lambda adapter: adapter.rotate()),
    Fault("another host key", "WrongSpecification", _other_host_key),
    Fault("nothing listens", "Unreachable", lambda adapter: adapter.reach_through("127.0.0.1", 9)),
    Fault("no such host", "Unreachable", lambda adapter: adapter.reach_through("nowhere.invalid", 22)),
    Fault("no folder", "ResourceNotFound", lambda adapter: shutil.rmtree(adapter.folder)),
    Fault("no file", "ResourceNotFound", no_file, fails_runs=False),
)

SOURCES = (Sftp,)
