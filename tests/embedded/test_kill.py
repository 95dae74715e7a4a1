"""kill -9 of the embedded API at any instant, again and again over one folder, while people and the operator work.

PENSTOCK_KILLS=100 for as many tries; PENSTOCK_SEED for other instants.
"""

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embedded import harness
from embedded.harness import Embedded, Json, Kube, thing, until

_TRIES = int(os.environ.get("PENSTOCK_KILLS", "5"))
_SEED = int(os.environ.get("PENSTOCK_SEED", "1"))
_CRDS = Path(__file__).parent.parent.parent / "crds"
_KEPT = ("kubeconfig", "ca.pem", "server.pem", "token", "port")
MERGE = "application/merge-patch+json"


class _Writer(threading.Thread):
    """Somebody who creates, changes and deletes things as fast as they can, and remembers what was answered."""

    def __init__(self, kube: Kube, chance: random.Random, known: dict[str, Json]) -> None:
        super().__init__()
        self._kube, self._chance = kube, chance
        self.known, self.newest = known, 0
        self.pending: tuple[str, Json | None] = ("", None)

    def run(self) -> None:
        while True:
            name = f"t{self._chance.randrange(12)}"
            try:
                self._write(name)
            except (OSError, ValueError):
                return  # killed before it answered, or in the middle of it

    def _write(self, name: str) -> None:
        there, number = self.known.get(name), self._chance.randrange(7)
        if there is None:
            self.pending = (name, {"s": "abc", "e": "a", "num": number})
            self._answered(name, *self._kube.http("POST", "things", thing(name, num=number)))
        elif self._chance.random() < 0.3:
            self.pending = (name, None)
            code, _ = self._kube.http("DELETE", f"things/{name}")
            assert code == 200
            del self.known[name]
        else:
            self.pending = (name, there | {"num": number})
            self._answered(name, *self._kube.http("PATCH", f"things/{name}", {"spec": {"num": number}}, MERGE))
        self.pending = ("", None)

    def _answered(self, name: str, code: int, item: Json) -> None:
        assert code in (200, 201), item
        self.known[name] = item["spec"]
        self.newest = max(self.newest, int(item["metadata"]["resourceVersion"]))


@pytest.fixture
def operator(tmp_path: Path) -> "Iterator[Operator]":
    """One that lives through all the kills."""
    started = Operator(tmp_path)
    yield started
    started.stop()


class Operator:
    """A real `penstock operate`, started once the cluster is there."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "operator.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, kubeconfig: Path) -> None:
        """Returns at once."""
        command = [sys.executable, "-m", "penstock", "operate", "--kubeconfig", str(kubeconfig)]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def stop(self) -> None:
        """And wait."""
        if self.process:
            self.process.kill()
            self.process.wait()


@pytest.mark.timeout(120 + 30 * _TRIES)
def test_at_most_an_unanswered_write_is_lost(tmp_path: Path, operator: Operator) -> None:
    folder, chance = tmp_path / "c", random.Random(_SEED)
    server = Embedded.start(folder)
    kube = Kube(server.kubeconfig, "default")
    kube.ctl("apply", "-f", str(_CRDS))
    kube.apply(harness.claim("in"))
    operator.start(server.kubeconfig)
    kept = {name: (folder / name).read_text() for name in _KEPT}
    known: dict[str, Json] = {}
    for number in range(_TRIES):
        _follow(kube, f"s{number}")  # for the operator: a Job, a Pod, a worker that is killed somewhere
        writer = _Writer(kube, chance, known)
        writer.start()
        time.sleep(chance.uniform(0.0, 1.5))
        server.kill()
        writer.join()
        until(lambda: not list(_of_pods(folder)))
        server = Embedded.start(folder)

        _check(kube, writer)
        assert {name: (folder / name).read_text() for name in _KEPT} == kept
        _heard(kube, f"s{number}", operator)
    server.stop()
    until(lambda: not list(_of_pods(folder)))


def _check(kube: Kube, writer: _Writer) -> None:
    """What was answered is there; what was not may be. kubectl sees the same, and the history begins anew."""
    code, listed = kube.http("GET", "things")
    assert code == 200
    stored: Json = {item["metadata"]["name"]: item["spec"] for item in listed["items"]}
    name, wanted = writer.pending
    if name and stored.get(name) != writer.known.get(name):
        assert stored.get(name) == wanted
        if wanted is None:
            del writer.known[name]
        else:
            writer.known[name] = wanted
    assert stored == writer.known
    assert set(kube.ctl("get", "things", "-o", "name").split()) == {f"thing.try.dev/{one}" for one in stored}
    assert int(listed["metadata"]["resourceVersion"]) >= writer.newest
    late: list[Any] = kube.watch("things?watch=true&timeoutSeconds=1&resourceVersion=2")
    assert [event["object"].get("code") for event in late] == [410]


def _follow(kube: Kube, name: str) -> None:
    connector = {"files": {"url": "file:///volumes/in/", "volume": {"claimName": "in"}, "format": {"csv": {}}}}
    spec = {"connector": connector}
    item = {"apiVersion": "penstock.dev/v1alpha1", "kind": "Source", "metadata": {"name": name}, "spec": spec}
    assert kube.http("POST", "/apis/penstock.dev/v1alpha1/namespaces/default/sources", item)[0] == 201


def _heard(kube: Kube, name: str, operator: Operator) -> None:
    """The operator has outlived it, and goes on by itself."""

    def told() -> bool:
        assert operator.process is not None
        assert operator.process.poll() is None, "the operator has ended"
        path = f"/apis/penstock.dev/v1alpha1/namespaces/default/sources/{name}"
        return bool(kube.get(path)["status"].get("observedGeneration") == 1)

    until(told, 60)
    kube.ctl("delete", "source", name, "--wait=false")


def _of_pods(folder: Path) -> Iterator[int]:
    """Processes that Pods of this cluster have started."""
    mark = f"PENSTOCK_POD_ROOT={folder}".encode()
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in entry.read_bytes():
                yield int(entry.parent.name)
        except OSError:
            continue


def test_harness_sees_processes_of_pods(tmp_path: Path) -> None:
    """So that the absence of orphans is never the blindness of the look."""
    server = Embedded.start(tmp_path)
    kube = Kube(server.kubeconfig, "default")
    kube.apply(harness.job("j", "sleep 60"))
    until(lambda: list(_of_pods(tmp_path)))
    server.stop()
    until(lambda: not list(_of_pods(tmp_path)))
