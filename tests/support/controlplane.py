"""A real Kubernetes on loopback: etcd, kube-apiserver and kube-controller-manager, started and ended by the tests.

The binaries come from `KUBEBUILDER_ASSETS` or PATH where they are there, else they are built once from
`tests/controlplane/` into a cache outside the checkout (four minutes from nothing, seconds from cache). etcd comes from
PATH, `KUBEBUILDER_ASSETS`, or Debian's `etcd-server`.
"""

import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
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
)
TOKEN = "loopback"
START_SECONDS = 60


def binaries() -> dict[str, Path]:
    """Where each program is, building what must be built. Raises `gobuild.Missing`."""
    found = {part: path for part in (*PARTS, "etcd") if (path := _find(part)) is not None}
    if "etcd" not in found:
        raise gobuild.Missing("etcd is not on PATH (Debian: apt-get install etcd-server)")
    if all(part in found for part in PARTS):
        return found
    folder = _build()
    return {**{part: folder / part for part in PARTS}, "etcd": found["etcd"]}


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
def running(folder: Path) -> Iterator[Path]:
    """A control plane with its files in `folder`; yields the kubeconfig of its administrator."""
    programs = binaries()
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        etcd = _start_etcd(stack, programs["etcd"], folder)
        server = _start_apiserver(stack, programs["kube-apiserver"], folder, etcd)
        kubeconfig = _kubeconfig(folder, server)
        _start(
            stack,
            folder,
            programs["kube-controller-manager"],
            f"--kubeconfig={kubeconfig}",
            f"--service-account-private-key-file={folder / 'sa.key'}",
            f"--root-ca-file={folder / 'certs' / 'apiserver.crt'}",
            f"--controllers={','.join(CONTROLLERS)}",
            "--leader-elect=false",
            "--secure-port=0",
        )
        yield kubeconfig


def _start_etcd(stack: contextlib.ExitStack, program: Path, folder: Path) -> str:
    client, peer = (f"http://127.0.0.1:{_free_port()}" for _ in range(2))
    _start(
        stack,
        folder,
        program,
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
    )
    return client


def _start_apiserver(stack: contextlib.ExitStack, program: Path, folder: Path, etcd: str) -> str:
    key = folder / "sa.key"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    (folder / "tokens.csv").write_text(f'{TOKEN},admin,1,"system:masters"\n')
    port = _free_port()
    _start(
        stack,
        folder,
        program,
        f"--etcd-servers={etcd}",
        f"--cert-dir={folder / 'certs'}",
        f"--secure-port={port}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--kubelet-preferred-address-types=InternalIP",
        "--kubelet-certificate-authority=",
    )
    server = f"https://127.0.0.1:{port}"
    _wait_ready(server, folder)
    return server


def _start(stack: contextlib.ExitStack, folder: Path, program: Path, *arguments: str) -> None:
    log = stack.enter_context((folder / f"{program.name}.log").open("wb"))
    process = subprocess.Popen([program, *arguments], stdout=log, stderr=log, start_new_session=True)
    stack.callback(_end, process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """The API server drains for seconds; nothing here is worth waiting for."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
