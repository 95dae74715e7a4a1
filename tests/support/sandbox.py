"""A place of our own on this machine: namespaces that end together, with a link that leads there, and a cgroup.

When the first process in there ends, the kernel ends every other one and every mount, those of containers too; and it
ends when we do, even if we are killed, because it reads from us. Needs root.
"""

import contextlib
import secrets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support import gobuild

FIRST_PROCESS = """
set -e
for place in /run /var/lib /var/log; do mount -t tmpfs tmpfs $place; done
cd /proc/sys  # what the kubelet tunes for the whole machine, it shall tune on copies
for file in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_max*; do
  copy=/run/$(echo $file | tr / .)
  cat $file > $copy
  mount --bind $copy $file
done
cd /
ip link set lo up
trap '' CHLD  # whoever becomes our child by losing its parent is buried by the kernel
echo ready
exec cat >/dev/null
"""
"""Ends when its standard input does."""


@dataclass(frozen=True)
class Sandbox:
    """Namespaces that end together."""

    enter: tuple[str, ...]
    """What a command begins with so that it runs in there."""
    address: str
    """Where it is found from here."""

    def run(self, *command: str) -> None:
        """Run a command in there; RuntimeError with its last words if it fails."""
        done = subprocess.run([*self.enter, *command], capture_output=True, text=True, check=False, timeout=300)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")

    def succeeds(self, *command: str) -> bool:
        """Whether a command in there does."""
        return subprocess.run([*self.enter, *command], capture_output=True, check=False, timeout=300).returncode == 0


@contextlib.contextmanager
def opened() -> Iterator[Sandbox]:
    """A new sandbox. Raises `gobuild.Missing` where this machine does not let us have one."""
    apart = ["unshare", "--mount", "--net", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]
    pipe = subprocess.PIPE
    command = [*apart, "sh", "-c", FIRST_PROCESS]
    first = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True)
    name = f"pen-{secrets.token_hex(4)}"
    try:
        if first.stdout is None or first.stdout.readline() != "ready\n":
            raise gobuild.Missing("this machine does not let us have namespaces of our own")
        yield _linked(first.pid, name)
    finally:
        first.communicate()  # its input ends; it is over when nothing is left in there
        # A connection that was cut off may hold the network for minutes more, and with it the link.
        subprocess.run(["ip", "link", "delete", name], capture_output=True, check=False)


def _linked(pid: int, name: str) -> Sandbox:
    """A link into the network namespace of a process, with addresses out of a range that nobody routes (RFC 2544)."""
    second, third, fourth = 18 + secrets.randbelow(2), secrets.randbelow(256), 4 * secrets.randbelow(64)
    here, there = (f"198.{second}.{third}.{fourth + end}" for end in (1, 2))
    namespaces = ["--mount", "--net", "--ipc", f"--pid=/proc/{pid}/ns/pid_for_children"]
    sandbox = Sandbox(("nsenter", f"--target={pid}", *namespaces), there)
    subprocess.run(["ip", "link", "add", name, "type", "veth", "peer", "name", "host", "netns", str(pid)], check=True)
    subprocess.run(["ip", "address", "add", f"{here}/30", "dev", name], check=True)
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    sandbox.run("ip", "address", "add", f"{there}/30", "dev", "host")
    sandbox.run("ip", "link", "set", "host", "up")
    sandbox.run("ip", "route", "add", "default", "via", here)
    return sandbox


@contextlib.contextmanager
def cgroup() -> Iterator[str]:
    """A cgroup of our own in every hierarchy, under which the kubelet makes its own.

    Raises `gobuild.Missing` where this machine does not let us have one.
    """
    name = f"penstock-{secrets.token_hex(4)}"
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    unified = [Path(where) for _, where, kind, *_ in mounts if kind == "cgroup2"]
    tops = [Path(where) for _, where, kind, *_ in mounts if kind == "cgroup"] + unified
    try:
        for top in tops:
            _make(top / name)
        for top in unified:
            controllers = (top / "cgroup.controllers").read_text().split()
            for place in (top, top / name):
                (place / "cgroup.subtree_control").write_text(" ".join(f"+{entry}" for entry in controllers))
        yield f"/{name}"
    finally:
        for top in tops:
            _remove(top / name)


def _make(group: Path) -> None:
    try:
        group.mkdir()
    except OSError as error:
        raise gobuild.Missing(f"this machine does not let us have a cgroup of our own: {error}") from None


def _remove(group: Path) -> None:
    """Remove a cgroup and those below it, once the kernel has taken leave of what was in there."""
    below = sorted((path for path in group.rglob("*/") if path.is_dir()), reverse=True)
    for path in [*below, group]:
        for _ in range(50):
            try:
                path.rmdir()
                break
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.1)
