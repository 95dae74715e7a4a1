"""An OpenSSH server for tests, for the user who runs them; skipped without sshd (Debian: openssh-server)."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support import controlplane
from support.controlplane import LOOPBACK, Place, free_port


@dataclass(frozen=True)
class Server:
    """A running server that serves this machine's files. `folder` is where tests put theirs."""

    address: str
    port: int
    folder: Path
    known_hosts: str
    key: str = field(repr=False)
    user: str = field(default_factory=getpass.getuser)

    def url(self, path: Path) -> str:
        """The URL of a folder of this machine."""
        return f"sftp://{self.address}:{self.port}{path}/"


@contextmanager
def serve(folder: Path, *settings: str, place: Place = LOOPBACK) -> Iterator[Server]:
    """Serve on a free port; `settings` are lines of sshd_config."""
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if sshd is None:
        pytest.skip("no SFTP server: sshd is not installed (Debian: openssh-server)")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd, as root, keeps its unprivileged process
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    for name in ("host", "user"):
        make_key(folder / name)
    (folder / "authorized_keys").write_text((folder / "user.pub").read_text())
    (folder / "authorized_keys").chmod(0o600)
    lines = [
        f"Port {port}",
        f"ListenAddress {place.address}",
        f"HostKey {folder / 'host'}",
        f"AuthorizedKeysFile {folder / 'authorized_keys'}",
        "PidFile none",
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication no",
        "PermitRootLogin prohibit-password",
        *(settings or ("Subsystem sftp internal-sftp",)),
    ]
    (folder / "sshd_config").write_text("\n".join(lines) + "\n")
    host_key = " ".join((folder / "host.pub").read_text().split()[:2])
    command = [*place.enter, sshd, "-D", "-e", "-f", str(folder / "sshd_config")]
    with controlplane.process(folder, "sshd", *command) as process:
        _await((place.address, port), process)
        known = f"[{place.address}]:{port} {host_key}\n"
        yield Server(place.address, port, folder, known, (folder / "user").read_text())


def make_key(path: Path, *options: str) -> None:
    """A new key pair in `path` and `path`.pub."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-f", str(path), *(options or ("-N", ""))]
    subprocess.run(command, check=True, capture_output=True)


def _await(address: tuple[str, int], process: "subprocess.Popen[bytes]") -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(address) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError("sshd does not start")
