"""A cluster with the operator in it, of either make, and a session in a namespace of its own to work there."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from support import controlplane, localnode
from support.controlplane import LOOPBACK, Place

ROOT = Path(__file__).parent.parent.parent
IMAGE = "penstock-worker:dev"
KUBECTL = Path(sys.executable).with_name("kubectl")
"""The real kubectl, which comes with the development dependencies."""
PATIENCE_SECONDS = 180
"""How long anything may take that is waited for. Machines are busy, and a test that passes does not wait so long."""


@dataclass
class Cluster:
    """A running cluster: how to enter it, and what it keeps in claims, here in folders of its node."""

    kubeconfig: Path
    folder: Path
    """Logs, and `node/`: what the node keeps."""
    operator_kubeconfig: Path | None = None
    """The operator's own, with its ServiceAccount's token: nothing more than our RBAC grants it."""
    place: Place = LOOPBACK
    """Where a server must run that Pods shall reach."""
    _operator: "subprocess.Popen[bytes] | None" = field(default=None)

    def start_operator(self, *options: str) -> None:
        """Start the operator as its Deployment would."""
        self._operator = self.operate("operator", *options)

    def operate(self, pod: str, *options: str) -> "subprocess.Popen[bytes]":
        """One more operator, as in the Pod of that name; its log is `<pod>.log`."""
        kubeconfig = self.operator_kubeconfig or self.kubeconfig
        return self.start(pod, sys.executable, "-m", "penstock", "operate", "--kubeconfig", str(kubeconfig), *options)

    def start(self, pod: str, *command: str) -> "subprocess.Popen[bytes]":
        """A program as in the Pod of that name; its log is `<pod>.log`."""
        environment = os.environ | {"POD_NAME": pod, "PYTHONPATH": str(ROOT / "tests")}
        with (self.folder / f"{pod}.log").open("ab") as log:
            words = controlplane.ending_with_us("TERM", *command)
            return subprocess.Popen(words, env=environment, stdout=log, stderr=log, start_new_session=True)

    def stop_operator(self, number: int = signal.SIGTERM) -> None:
        """End the operator, gently or (SIGKILL) not."""
        if self._operator is not None:
            end(self._operator, number)
            self._operator = None

    def claim(self, namespace: str, name: str) -> None:
        """Make a claim that is not there yet."""
        self.volume(namespace, name).mkdir(parents=True, exist_ok=True)
        ask_for_claim(Session(self, namespace), name)

    def volume(self, namespace: str, claim: str) -> Path:
        """The folder behind a claim."""
        return self.folder / "node" / "volumes" / namespace / claim

    def put(self, namespace: str, claim: str, folder: Path) -> None:
        """Copy what a folder of ours holds into a claim."""
        shutil.copytree(folder, self.volume(namespace, claim), dirs_exist_ok=True)

    def fetch(self, namespace: str, claim: str, name: str) -> Path:
        """What a claim holds under that name, to read."""
        return self.volume(namespace, claim) / name

    def session(self) -> "Session":
        """A session in a fresh namespace."""
        session = Session(self, f"penstock-e2e-{secrets.token_hex(4)}")
        session.kubectl("create", "namespace", session.namespace)
        return session


@dataclass(frozen=True)
class Session:
    """One namespace of a cluster, as a user with kubectl sees it."""

    cluster: Cluster
    namespace: str

    def delete(self) -> None:
        """Delete the namespace, without waiting."""
        self.kubectl("delete", "namespace", self.namespace, "--wait=false")

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """What kubectl prints on standard output; with its standard error in the exception where it fails."""
        cluster = self.cluster  # with a cache of its own: another cluster may have had this address before
        own = ["--kubeconfig", str(cluster.kubeconfig), "--cache-dir", str(cluster.folder / "kubectl-cache")]
        command = [str(KUBECTL), *own, "-n", self.namespace, *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=300)
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}{done.stdout}")
        return done.stdout if check else done.stdout + done.stderr

    def apply(self, *manifests: dict[str, Any]) -> str:
        """Apply objects of the five kinds, or any other, and make the claims that they name."""
        for name in sorted(_claims(manifests)):
            self.cluster.claim(self.namespace, name)
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

    def wait(self, kind: str, name: str, condition: str, seconds: float = PATIENCE_SECONDS) -> None:
        """`kubectl wait --for=condition=…`; where it fails, the object is described."""
        arguments = ("wait", f"--for=condition={condition}", f"{kind}/{name}", f"--timeout={seconds:.0f}s")
        try:
            self.kubectl(*arguments)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.kubectl('describe', kind, name, check=False)}") from None

    def until(self, told: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
        """The first true answer of `told`, asked again and again; an error that says `what` if there is none."""
        deadline = time.monotonic() + seconds
        while (began := time.monotonic()) < deadline:
            if answer := told():
                return answer
            time.sleep(3 * (time.monotonic() - began) + 0.05)  # to look is not to take the time of what it waits for
        objects = self.kubectl("get", "penstock,jobs,pods", check=False)
        raise AssertionError(f"not within {seconds:.0f} s: {what}\n{objects}")

    def last_run(self, kind: str, name: str, run: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
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

    def put(self, claim: str, name: str, content: str | Path) -> None:
        """A text, or a copy of a folder, under that name in a claim, which is made if it is not there."""
        self.cluster.claim(self.namespace, claim)
        with tempfile.TemporaryDirectory() as scratch:
            place = Path(scratch, name)
            if isinstance(content, Path):
                shutil.copytree(content, place)
            else:
                place.write_text(content)
            self.cluster.put(self.namespace, claim, Path(scratch))

    def fetch(self, claim: str, name: str) -> Path:
        """The file or folder of that name in a claim, to read."""
        return self.cluster.fetch(self.namespace, claim, name)


@contextlib.contextmanager
def embedded(folder: Path, *, bare: bool = False) -> Iterator[Cluster]:
    """The cluster that `penstock up` starts, with our CRDs and the operator; `bare`: with neither."""
    folder.mkdir(parents=True, exist_ok=True)
    arguments = ["--folder", str(folder), "--image", IMAGE, "--backoff", "1"]
    arguments += [] if bare else ["--crds", str(ROOT / "crds")]
    cluster = Cluster(folder / "kubeconfig", folder)
    with _process(folder, "embedded", sys.executable, "-m", "localkube", *arguments) as started:
        _wait_for(lambda: "export KUBECONFIG" in (folder / "embedded.log").read_text(), started, folder)
        with contextlib.nullcontext() if bare else _operated(cluster):
            yield cluster


@contextlib.contextmanager
def real(folder: Path, *, bare: bool = False) -> Iterator[Cluster]:
    """A real API server and controllers, with our process runner as its node. Raises `gobuild.Missing`.

    `bare`: without the node, our CRDs, and anything of the operator.
    """
    with controlplane.running(folder) as kubeconfig:
        cluster = Cluster(kubeconfig, folder)
        if bare:
            yield cluster
            return
        administrator = Session(cluster, "default")
        administrator.kubectl("apply", "-f", str(ROOT / "crds"))
        administrator.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        cluster.operator_kubeconfig = with_token(Session(cluster, "penstock-system"))
        with _process(folder, "node", *localnode.command(kubeconfig, folder / "node", IMAGE)), _operated(cluster):
            yield cluster


def _claims(manifest: Any) -> set[str]:
    """Every claim that is named somewhere in a manifest."""
    if isinstance(manifest, dict):
        named = {manifest["claimName"]} if "claimName" in manifest else set()
        return named.union(*(_claims(value) for value in manifest.values()))
    return set().union(*(_claims(entry) for entry in manifest)) if isinstance(manifest, list | tuple) else set()


def restricted(session: Session) -> Session:
    """The session, in whose namespace from now on only Pods of the `restricted` Pod Security Standard are admitted."""
    session.kubectl("label", "namespace", session.namespace, "pod-security.kubernetes.io/enforce=restricted")
    return session


def ask_for_claim(session: Session, name: str) -> None:
    """A PersistentVolumeClaim of the default storage class."""
    content = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    session.kubectl("apply", "-f", "-", stdin=json.dumps(content))


def with_token(system: Session, deploy: Path = ROOT / "deploy") -> Path:
    """A kubeconfig for the ServiceAccount that the operator has once the kustomization `deploy` is applied."""
    command = [str(KUBECTL), "--kubeconfig", str(system.cluster.kubeconfig), "apply", "-k", str(deploy)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)  # of several namespaces: not in a session
    content = yaml.safe_load(system.cluster.kubeconfig.read_text())
    content["contexts"][0]["context"]["namespace"] = system.namespace
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
        words = controlplane.ending_with_us("TERM", *command)
        process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
        try:
            yield process
        finally:
            end(process, signal.SIGTERM)


def end(process: "subprocess.Popen[bytes]", number: int = signal.SIGTERM) -> None:
    """End a process and all that it started, with a signal, and wait; after 15 s with SIGKILL."""
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
