"""A cluster with the operator in it, of either make, and a session in a namespace of its own to work there."""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from support import controlplane, localnode

ROOT = Path(__file__).parent.parent.parent
IMAGE = "penstock-worker:dev"
KUBECTL = Path(sys.executable).with_name("kubectl")
"""The real kubectl, which comes with the development dependencies."""


@dataclass
class Cluster:
    """A running cluster: how to enter it, and where its node keeps the claims."""

    kubeconfig: Path
    node: Path
    folder: Path
    operator_kubeconfig: Path | None = None
    """The operator's own, with its ServiceAccount's token: nothing more than our RBAC grants it."""
    _operator: "subprocess.Popen[bytes] | None" = field(default=None)

    def start_operator(self, *options: str) -> None:
        """Start the operator as its Deployment would."""
        kubeconfig = self.operator_kubeconfig or self.kubeconfig
        command = [sys.executable, "-m", "penstock", "operate", "--kubeconfig", str(kubeconfig), *options]
        with (self.folder / "operator.log").open("ab") as log:
            self._operator = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def stop_operator(self, number: int = signal.SIGTERM) -> None:
        """End the operator, gently or (SIGKILL) not."""
        if self._operator is not None:
            _end(self._operator, number)
            self._operator = None

    def claim(self, namespace: str, name: str) -> Path:
        """The folder behind a claim; it need not have been asked for yet."""
        folder = self.node / "volumes" / namespace / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def session(self, namespace: str | None = None) -> "Session":
        """A session in a fresh namespace."""
        name = namespace or f"t-{secrets.token_hex(4)}"
        session = Session(self, name)
        session.kubectl("create", "namespace", name)
        return session


@dataclass(frozen=True)
class Session:
    """One namespace of a cluster, as a user with kubectl sees it."""

    cluster: Cluster
    namespace: str

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """What kubectl prints on standard output; with its standard error in the exception where it fails."""
        command = [str(KUBECTL), "--kubeconfig", str(self.cluster.kubeconfig), "-n", self.namespace, *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=180)
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}{done.stdout}")
        return done.stdout if check else done.stdout + done.stderr

    def apply(self, *manifests: dict[str, Any]) -> str:
        """Apply objects of the five kinds, or any other, and make the claims that they name."""
        for name in sorted(_claims(manifests)):
            self.claim(name)
        return self.kubectl(
            "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
        )

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """One object as JSON."""
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "-o", "json"))
        return found

    def items(self, kind: str) -> list[dict[str, Any]]:
        """All objects of a kind in the namespace."""
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, "-o", "json"))["items"]
        return found

    def condition(self, kind: str, name: str, type_: str) -> dict[str, Any]:
        """A condition of an object; empty where there is none."""
        conditions = self.get(kind, name).get("status", {}).get("conditions", [])
        return next((entry for entry in conditions if entry["type"] == type_), {})

    def wait(self, kind: str, name: str, condition: str, seconds: float = 60) -> None:
        """`kubectl wait --for=condition=…`; where it fails, the object is described."""
        arguments = ("wait", f"--for=condition={condition}", f"{kind}/{name}", f"--timeout={seconds:.0f}s")
        try:
            self.kubectl(*arguments)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.kubectl('describe', kind, name, check=False)}") from None

    def until(self, told: Callable[[], Any], what: str, seconds: float = 60) -> Any:
        """The first true answer of `told`, asked again and again; an error that says `what` if there is none."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if answer := told():
                return answer
            time.sleep(0.2)
        objects = self.kubectl("get", "penstock,jobs,pods", check=False)
        raise AssertionError(f"not within {seconds:.0f} s: {what}\n{objects}")

    def last_run(self, kind: str, name: str, run: str, seconds: float = 60) -> dict[str, Any]:
        """The newest run of an object, when the one with that slot has come to its end."""

        def ended() -> dict[str, Any] | None:
            last: dict[str, Any] = self.get(kind, name).get("status", {}).get("lastRun", {})
            return last if last.get("id", "").endswith(f"/{run}") and "finishedAt" in last else None

        found: dict[str, Any] = self.until(ended, f"run {run} of {kind}/{name} ends", seconds)
        return found

    def until_rows(self, dataset: str, rows: int) -> None:
        """A Dataset's status tells that many rows; it is published apart from the Pipeline's."""
        found = lambda: self.get("dataset", dataset).get("status", {}).get("rows") == rows  # noqa: E731
        self.until(found, f"dataset/{dataset} has {rows} rows")

    def claim(self, name: str) -> Path:
        """The folder behind a claim of this namespace."""
        return self.cluster.claim(self.namespace, name)


@contextlib.contextmanager
def embedded(folder: Path) -> Iterator[Cluster]:
    """The cluster that `penstock up` starts, with our CRDs and the operator."""
    folder.mkdir(parents=True, exist_ok=True)
    arguments = ["--folder", str(folder), "--crds", str(ROOT / "crds"), "--image", IMAGE, "--backoff", "1"]
    cluster = Cluster(folder / "kubeconfig", folder / "node", folder)
    with _process(folder, "embedded", sys.executable, "-m", "penstock.embedded", *arguments) as started:
        _wait_for(lambda: "export KUBECONFIG" in (folder / "embedded.log").read_text(), started, folder)
        with _operated(cluster):
            yield cluster


@contextlib.contextmanager
def real(folder: Path) -> Iterator[Cluster]:
    """A real API server and controllers, with our process runner as its node. Raises `gobuild.Missing`."""
    node = folder / "node"
    with controlplane.running(folder) as kubeconfig:
        cluster = Cluster(kubeconfig, node, folder)
        administrator = Session(cluster, "default")
        administrator.kubectl("apply", "-f", str(ROOT / "crds"))
        administrator.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        cluster.operator_kubeconfig = with_token(Session(cluster, "penstock-system"))
        with _process(folder, "node", *localnode.command(kubeconfig, node, IMAGE)), _operated(cluster):
            yield cluster


def _claims(manifest: Any) -> set[str]:
    """Every claim that is named somewhere in a manifest."""
    if isinstance(manifest, dict):
        named = {manifest["claimName"]} if "claimName" in manifest else set()
        return named.union(*(_claims(value) for value in manifest.values()))
    return set().union(*(_claims(entry) for entry in manifest)) if isinstance(manifest, list | tuple) else set()


def with_token(system: Session) -> Path:
    """A kubeconfig for the ServiceAccount that `deploy/` gives the operator."""
    system.kubectl("apply", "-k", str(ROOT / "deploy"))
    content = yaml.safe_load(system.cluster.kubeconfig.read_text())
    content["users"][0]["user"] = {"token": system.kubectl("create", "token", "penstock-operator").strip()}
    path = system.cluster.folder / "operator-kubeconfig"
    path.write_text(yaml.safe_dump(content))
    return path


@contextlib.contextmanager
def _operated(cluster: Cluster) -> Iterator[None]:
    cluster.start_operator()
    try:
        yield
    finally:
        cluster.stop_operator()


@contextlib.contextmanager
def _process(folder: Path, name: str, *command: str) -> "Iterator[subprocess.Popen[bytes]]":
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            yield process
        finally:
            _end(process, signal.SIGTERM)


def _end(process: "subprocess.Popen[bytes]", number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for(ready: Callable[[], bool], process: "subprocess.Popen[bytes]", folder: Path) -> None:
    deadline = time.monotonic() + 30
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the cluster did not start; see {folder}")
        time.sleep(0.05)
