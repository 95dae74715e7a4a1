"""A cluster that somebody names by its kubeconfig context. Penstock is installed there, and stays as it is.

The suite works in namespaces of its own, `penstock-e2e-…`, and deletes them. Files go into claims and out of them
through a Pod of the worker's image.
"""

import argparse
import contextlib
import io
import json
import secrets
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from support import clusters, manifests
from support.clusters import KUBECTL, PATIENCE_SECONDS, ROOT, Cluster, Session
from support.manifests import Manifest

PLACE = "/data"
RECEIVE = f"import sys, tarfile; tarfile.open(fileobj=sys.stdin.buffer, mode='r|').extractall('{PLACE}')"
SEND = "import sys, tarfile; tarfile.open(fileobj=sys.stdout.buffer, mode='w|').add(sys.argv[1], arcname='.')"
ANSWER_SECONDS = 60


def option(named: str) -> str:
    """The value of `--cluster`. Raises `argparse.ArgumentTypeError` where it names no cluster."""
    kind, _, context = named.partition(":")
    if named in ("embedded", "real", "node") or (kind == "context" and context):
        return named
    raise argparse.ArgumentTypeError(
        f"{named!r} is none of embedded, real, node and context:NAME (NAME as `kubectl config get-contexts` lists it; "
        "the current context is never taken unnamed)"
    )


class Unfit(Exception):
    """The suite cannot run on that cluster; the message says why and what to do."""


@dataclass
class ContextCluster(Cluster):
    """A cluster whose nodes are out of reach."""

    _transfers: int = field(default=0)

    def session(self) -> Session:
        """A session in a fresh namespace that admits only Pods of the `restricted` Pod Security Standard."""
        return clusters.restricted(super().session())

    def claim(self, namespace: str, name: str) -> None:
        """Make a claim that is not there yet."""
        clusters.ask_for_claim(Session(self, namespace), name)

    def put(self, namespace: str, claim: str, folder: Path) -> None:
        """Copy what a folder of ours holds into a claim."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(folder, arcname=".", filter=_anybodys)
        with self._mounted(namespace, claim) as pod:
            self._python(namespace, pod, RECEIVE, packed=packed.getvalue())

    def fetch(self, namespace: str, claim: str, name: str) -> Path:
        """A copy of what a claim holds under that name."""
        self._transfers += 1
        copy = self.folder / "fetched" / str(self._transfers)
        with self._mounted(namespace, claim) as pod:
            packed = self._python(namespace, pod, SEND, f"{PLACE}/{name}")
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(copy, filter="data")
        return copy

    @cached_property
    def worker(self) -> Manifest:
        """The Pod template that the operator there gives its Jobs. Raises `Unfit` where no operator answers."""
        session = self.session()
        session.apply(manifests.lake())
        try:
            session.until(lambda: session.items("jobs"), "a Job that inspects a new Destination", ANSWER_SECONDS)
        except AssertionError as silence:
            raise Unfit(f"no operator answers there (kubectl apply -k deploy): {silence}") from None
        template: Manifest = session.items("jobs")[0]["spec"]["template"]
        session.delete()
        return template

    @contextlib.contextmanager
    def _mounted(self, namespace: str, claim: str) -> Iterator[str]:
        """A Pod with the claim at `PLACE`: whatever a worker is allowed to, it is."""
        session, name = Session(self, namespace), f"transfer-{secrets.token_hex(4)}"
        spec: Manifest = json.loads(json.dumps(self.worker["spec"]))
        [container] = spec["containers"]
        container["command"] = ["sleep", "600"]
        container["volumeMounts"] = [{"name": "data", "mountPath": PLACE}]
        spec["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        session.kubectl("create", "-f", "-", stdin=json.dumps(pod))
        try:
            session.kubectl("wait", "--for=condition=Ready", f"pod/{name}", f"--timeout={PATIENCE_SECONDS}s")
            yield name
        finally:
            session.kubectl("delete", "pod", name, "--grace-period=1", "--wait=false")

    def _python(self, namespace: str, pod: str, program: str, *arguments: str, packed: bytes = b"") -> bytes:
        inside = ["exec", "-i", pod, "--", "python", "-c", program, *arguments]
        command = [str(KUBECTL), "--kubeconfig", str(self.kubeconfig), "-n", namespace, *inside]
        done = subprocess.run(command, input=packed, capture_output=True, check=False, timeout=300)
        if done.returncode != 0:
            raise AssertionError(f"{pod}: {done.stderr.decode()}")
        return done.stdout


@contextlib.contextmanager
def cluster(name: str, folder: Path) -> Iterator[Cluster]:
    """The cluster of that context. Raises `Unfit`."""
    own = ContextCluster(_kubeconfig(name, folder), folder)
    different = Session(own, "default").kubectl("diff", "-f", str(ROOT / "crds"), check=False)
    if different:
        raise Unfit(f"context {name}: other CRDs than these (kubectl apply -f crds):\n{different[:2000]}")
    own.worker  # noqa: B018 - so that an operator that does not answer is told at once
    yield own


def _kubeconfig(name: str, folder: Path) -> Path:
    """A kubeconfig with that context alone, so that nothing can go elsewhere."""
    view = [str(KUBECTL), "config", "view", "--raw", "--minify", "--flatten", f"--context={name}"]
    told = subprocess.run(view, capture_output=True, text=True, check=False)
    if told.returncode != 0:
        names = [str(KUBECTL), "config", "get-contexts", "-o", "name"]
        known = subprocess.run(names, capture_output=True, text=True, check=False)
        raise Unfit(f"{told.stderr.strip()}; there are: {', '.join(known.stdout.split()) or 'none'}")
    path = folder / "kubeconfig"
    path.touch(mode=0o600)
    path.write_text(told.stdout)
    return path


def _anybodys(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Readable for the worker, whoever made it."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode |= 0o755 if entry.isdir() else 0o644
    return entry
