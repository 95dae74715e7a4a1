"""A real Kubernetes on loopback: etcd, kube-apiserver and kube-controller-manager, started and ended by the tests.

The binaries come from `KUBEBUILDER_ASSETS` or PATH where they are there, else they are built once from
`tests/controlplane/` into a cache outside the checkout (four minutes from nothing, seconds from cache). etcd comes from
PATH, `KUBEBUILDER_ASSETS`, or Debian's `etcd-server`.
"""

import contextlib
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from support import gobuild

MODULE = Path(__file__).parent.parent / "controlplane"
VERSION = "v1.35.4"
PARTS = ("kube-apiserver", "kube-controller-manager")
CONTROLLERS = (
    "job-controller",
    "cronjob-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "ttl-after-finished-controller",
    "clusterrole-aggregation-controller",
)
SERVICES = "10.0.0.0/24"
TOKEN = "loopback"
START_SECONDS = 180


@dataclass(frozen=True)
class Place:
    """Where the parts run: on this machine's loopback, or (see `node`) in namespaces of their own."""

    address: str = "127.0.0.1"
    """Where the API server is found, from here and from there."""
    port: int | None = None
    """None: whichever is free."""
    enter: tuple[str, ...] = ()
    """What a command begins with so that it runs there."""
    controllers: tuple[str, ...] = CONTROLLERS
    apiserver: tuple[str, ...] = ()
    """More options of the API server."""


LOOPBACK = Place()


def binaries(*more: str) -> dict[str, Path]:
    """Where each program is, `more` parts of Kubernetes too, building what must be built. Raises `gobuild.Missing`."""
    parts = (*PARTS, *more)
    found = {part: path for part in (*parts, "etcd") if (path := _find(part)) is not None}
    if "etcd" not in found:
        raise gobuild.Missing("etcd is not on PATH (Debian: apt-get install etcd-server)")
    if all(part in found for part in parts):
        return found
    folder = _build()
    return {**{part: folder / part for part in parts}, "etcd": found["etcd"]}


def _find(program: str) -> Path | None:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    path = shutil.which(program, path=assets) if assets else None
    path = path or shutil.which(program)
    return Path(path) if path else None


def _build() -> Path:
    """The folder with the binaries built from our Go module."""
    major, minor = VERSION.removeprefix("v").split(".")[:2]
    stamps = {"gitVersion": VERSION, "gitMajor": major, "gitMinor": minor}
    flags = ["-s -w", *(f"-X k8s.io/component-base/version.{name}={value}" for name, value in stamps.items())]
    binary = gobuild.binary(MODULE, ".", "controlplane", "-ldflags", " ".join(flags))
    for part in (*PARTS, "kube-scheduler", "kubelet", "kubectl"):
        with contextlib.suppress(FileExistsError):
            (binary.parent / part).symlink_to(binary.name)
    return binary.parent


@contextlib.contextmanager
def running(folder: Path, place: Place = LOOPBACK) -> Iterator[Path]:
    """A control plane with its files in `folder`; yields the kubeconfig of its administrator."""
    programs = binaries()
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        etcd = _start_etcd(stack, programs["etcd"], folder, place)
        server = _start_apiserver(stack, programs["kube-apiserver"], folder, place, etcd)
        kubeconfig = _kubeconfig(folder, server)
        manager = [
            str(programs["kube-controller-manager"]),
            f"--kubeconfig={kubeconfig}",
            f"--service-account-private-key-file={folder / 'sa.key'}",
            f"--root-ca-file={folder / 'certs' / 'apiserver.crt'}",
            f"--controllers={','.join(place.controllers)}",
            "--leader-elect=false",
            "--secure-port=0",
        ]
        stack.enter_context(process(folder, "kube-controller-manager", *place.enter, *manager))
        yield kubeconfig


def _start_etcd(stack: contextlib.ExitStack, program: Path, folder: Path, place: Place) -> str:
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    command = [
        str(program),
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
    ]
    stack.enter_context(process(folder, "etcd", *place.enter, *command))
    return client


def _start_apiserver(stack: contextlib.ExitStack, program: Path, folder: Path, place: Place, etcd: str) -> str:
    key = folder / "sa.key"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    (folder / "tokens.csv").write_text(f'{TOKEN},admin,1,"system:masters"\n')
    port = place.port or free_port()
    command = [
        str(program),
        f"--etcd-servers={etcd}",
        f"--cert-dir={folder / 'certs'}",
        f"--secure-port={port}",
        f"--bind-address={'0.0.0.0' if place.enter else place.address}",  # noqa: S104 - in a network of its own
        f"--advertise-address={place.address}",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        f"--service-cluster-ip-range={SERVICES}",
        "--kubelet-preferred-address-types=InternalIP",
        "--kubelet-certificate-authority=",
        *place.apiserver,
    ]
    stack.enter_context(process(folder, "kube-apiserver", *place.enter, *command))
    server = f"https://{place.address}:{port}"
    _wait_ready(server, folder)
    return server


def ending_with_us(signal_name: str, *command: str) -> list[str]:
    """The command, to which the kernel sends that signal when we are gone, were it by kill -9 (prctl(2))."""
    return ["setpriv", f"--pdeathsig={signal_name}", "--", *command] if shutil.which("setpriv") else [*command]


@contextlib.contextmanager
def process(
    folder: Path, name: str, *command: str, env: Mapping[str, str] | None = None
) -> "Iterator[subprocess.Popen[bytes]]":
    """A program that runs as long as we do, its output in `<folder>/<name>.log`; killed with all that it started.

    Killed at once: the API server drains for seconds, and nothing here is worth waiting for. By the kernel, if we are
    killed ourselves.
    """
    with (folder / f"{name}.log").open("wb") as log:
        environment = {**os.environ, **(env or {})}
        words = ending_with_us("KILL", *command)
        started = subprocess.Popen(words, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            yield started
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
            started.wait()


def _wait_ready(server: str, folder: Path) -> None:
    context = ssl._create_unverified_context()  # noqa: S323 - a certificate made a second ago, on loopback
    request = urllib.request.Request(f"{server}/readyz", headers={"Authorization": f"Bearer {TOKEN}"})  # noqa: S310
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(request, context=context, timeout=5) as answer:  # noqa: S310
                if answer.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.2)
    raise TimeoutError(f"the API server was not ready in {START_SECONDS} s; see {folder}/kube-apiserver.log")


def _kubeconfig(folder: Path, server: str) -> Path:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "real", "cluster": {"server": server, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
        "contexts": [{"name": "real", "context": {"cluster": "real", "user": "admin"}}],
        "current-context": "real",
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(content))
    return path


def free_port() -> int:
    """A port of the loopback that nobody listens on, and that no system gives out by itself before it is taken."""
    for number in random.sample(range(20000, 30000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", number))
            return number
    raise OSError("no port between 20000 and 30000 seems to be free")
