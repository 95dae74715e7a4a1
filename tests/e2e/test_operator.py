"""The operator as a program: what it waits for, that only one acts, and how it ends.

Each test brings a cluster of its own, of the make that `--cluster` names: nothing but an API server.
"""

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from support import clusters, controlplane, gobuild, manifests
from support.clusters import ROOT, Cluster, Session
from support.manifests import Manifest

pytestmark = pytest.mark.skipif(
    "config.getoption('--cluster') not in ('embedded', 'real')", reason="there the operator is in a Pod"
)


AT_ONCE_SECONDS = 3
"""Less than every time-out that an end could wait for: 4 s for the Lease, 5 s for kopf's own tasks or for what is under
way, 10 s for a thread. A busy machine alone does not take so long."""


@dataclass(frozen=True)
class Operator:
    """A running operator: its process, its log and its probes."""

    process: "subprocess.Popen[bytes]"
    log: Path
    port: int

    @property
    def log_text(self) -> str:
        """Its log."""
        return self.log.read_text(encoding="utf-8")

    def probe(self, path: str) -> tuple[int, str]:
        """Status and body of a probe; status 0 where nothing is served."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=1) as answer:
                return answer.status, answer.read().decode().strip()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode().strip()
        except OSError:
            return 0, ""

    def seconds_to_end(self) -> float:
        """How long it takes from SIGTERM to its end, which is a good one; a fifth of a second on an idle machine."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=20) == 0, self.log_text
        return time.monotonic() - began


@pytest.fixture
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster without our CRDs, a node, or an operator."""
    start = {"embedded": clusters.embedded, "real": clusters.real}[request.config.getoption("--cluster")]
    try:
        with start(tmp_path / "cluster", bare=True) as cluster:
            yield cluster
    except gobuild.Missing as missing:
        pytest.skip(f"no such cluster here: {missing}")


@contextlib.contextmanager
def _operator(cluster: Cluster, pod: str = "operator", *options: str) -> Iterator[Operator]:
    port = controlplane.free_port()
    process = cluster.operate(pod, f"--health-probe-bind-address=127.0.0.1:{port}", *options)
    try:
        yield Operator(process, cluster.folder / f"{pod}.log", port)
    finally:
        clusters.end(process, signal.SIGKILL)


def _administrator(cluster: Cluster) -> Session:
    return Session(cluster, "default")


def _until_ready(cluster: Cluster, operator: Operator, seconds: float = 30) -> None:
    _administrator(cluster).until(lambda: operator.probe("/readyz") == (200, "acts"), "the operator is ready", seconds)


def _definitions(cluster: Cluster) -> None:
    _administrator(cluster).kubectl("apply", "-f", str(ROOT / "crds"))


def test_it_waits_for_the_crds_alive_but_not_ready_and_goes_on_when_they_come(bare: Cluster) -> None:
    administrator = _administrator(bare)
    with _operator(bare) as operator:
        administrator.until(lambda: operator.probe("/healthz")[0] == 200, "the probes are served", 20)
        waiting = "waiting for the CRDs sources.penstock.dev, destinations.penstock.dev, datasets.penstock.dev, "
        administrator.until(lambda: operator.probe("/readyz")[1].startswith(waiting), "it says for what it waits", 10)
        time.sleep(5)
        assert operator.probe("/readyz")[0] == 503
        assert operator.probe("/healthz")[0] == 200
        assert operator.log_text.count("waiting for the CRDs") == 1
        assert "kubectl apply -f crds/" in operator.log_text

        _definitions(bare)
        administrator.apply(manifests.source())
        _until_ready(bare, operator, 10)
        administrator.until(lambda: administrator.get("source", "cities").get("status"), "it works", 10)
        assert operator.process.poll() is None


def test_it_waits_for_crds_that_know_all_that_it_writes(bare: Cluster, tmp_path: Path) -> None:
    _definitions(bare)
    definition = yaml.safe_load((ROOT / "crds" / "pipelines.yaml").read_text())
    status = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    del status["properties"]["lastRun"]
    older = tmp_path / "older.yaml"
    older.write_text(yaml.safe_dump(definition))
    administrator = _administrator(bare)
    administrator.kubectl("apply", "-f", str(older))
    with _operator(bare) as operator:
        told = "waiting for a newer CRD pipelines.penstock.dev: that of the cluster lacks status.lastRun."
        administrator.until(lambda: operator.probe("/readyz")[1].startswith(told), "it says what is too old", 20)
        _definitions(bare)
        _until_ready(bare, operator, 10)


def test_it_waits_for_what_it_may_not_do_and_names_it(bare: Cluster, request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--cluster") == "embedded":
        pytest.skip("the embedded API is single-user: it has no roles")
    _definitions(bare)
    system = Session(bare, "penstock-system")
    bare.operator_kubeconfig = clusters.with_token(system)
    rules = system.get("clusterrole", "penstock-operator")["rules"]
    [batch] = [rule for rule in rules if rule["apiGroups"] == ["batch"]]
    batch["verbs"].remove("patch")
    system.kubectl("patch", "clusterrole", "penstock-operator", "--type=merge", "-p", json.dumps({"rules": rules}))
    with _operator(bare) as operator:
        told = "waiting for permissions in namespace default: patch jobs.batch, patch cronjobs.batch."
        system.until(lambda: operator.probe("/readyz")[1].startswith(told), "it says what it may not", 20)
        system.kubectl("delete", "role", "penstock-operator")
        system.kubectl("delete", "clusterrole", "penstock-operator")
        system.until(
            lambda: "refuses" in operator.probe("/readyz")[1] or "get list watch" in operator.log_text, "more", 20
        )
        system.kubectl("apply", "-k", str(ROOT / "deploy"))
        _until_ready(bare, operator)


def test_one_that_is_limited_to_a_namespace_works_there_and_may_do_nothing_elsewhere(
    bare: Cluster, request: pytest.FixtureRequest
) -> None:
    if request.config.getoption("--cluster") == "embedded":
        pytest.skip("the embedded API is single-user: it has no roles")
    _definitions(bare)
    administrator, team = _administrator(bare), Session(bare, "team-data")
    administrator.kubectl("create", "namespace", team.namespace)
    bare.operator_kubeconfig = clusters.with_token(Session(bare, "penstock-system"), ROOT / "deploy" / "namespaced")
    account = "--as=system:serviceaccount:penstock-system:penstock-operator"
    for place, answer in (("team-data", "yes"), ("default", "no"), ("penstock-system", "no")):
        told = administrator.kubectl("auth", "can-i", "create", "jobs", "-n", place, account, check=False)
        assert told.splitlines()[-1] == answer
    with _operator(bare, "operator", "--namespace=team-data") as operator:
        _until_ready(bare, operator)
        team.kubectl("apply", "-f", "-", stdin=json.dumps(manifests.source()))
        administrator.kubectl("apply", "-f", "-", stdin=json.dumps(manifests.source()))
        team.until(lambda: team.items("jobs"), "it starts Jobs", 20)
        time.sleep(2)
        assert administrator.get("source", "cities")["status"] == {"observedGeneration": -1}, "untouched"
        assert administrator.items("jobs") == []
        assert "refuses" not in operator.log_text
        assert "orbidden" not in operator.log_text


def test_crds_that_are_deleted_and_come_back_need_no_person(bare: Cluster) -> None:
    _definitions(bare)
    administrator = _administrator(bare)
    with contextlib.ExitStack() as stack:
        operator = stack.enter_context(_operator(bare))
        _until_ready(bare, operator)
        administrator.kubectl("delete", "-f", str(ROOT / "crds"))
        with contextlib.suppress(subprocess.TimeoutExpired):
            assert operator.process.wait(timeout=10) == 1
            assert (
                "ERROR   the watch of the five kinds has ended: 404 page not found; the operator stops, to"
                in operator.log_text
            )
            operator = stack.enter_context(_operator(bare))  # as its Pod starts it again
            waiting = lambda: operator.probe("/readyz")[1].startswith("waiting for the CRDs")  # noqa: E731
            administrator.until(waiting, "it waits", 20)
        _definitions(bare)
        administrator.apply(manifests.source())
        administrator.until(lambda: administrator.get("source", "cities").get("status"), "it works", 20)
        assert operator.process.poll() is None


def test_it_ends_at_once_when_idle_and_while_it_waits(bare: Cluster) -> None:
    with _operator(bare) as waiting:
        _administrator(bare).until(lambda: waiting.probe("/readyz")[0] == 503, "it waits", 20)
        assert waiting.seconds_to_end() < AT_ONCE_SECONDS
    _definitions(bare)
    for _ in range(5):  # as soon as it acts: kopf still asks then for all that the API server has
        with _operator(bare) as idle:
            _until_ready(bare, idle)
            assert idle.seconds_to_end() < AT_ONCE_SECONDS
            assert "Traceback" not in idle.log_text
            assert "ERROR" not in idle.log_text


def test_it_brings_a_reconciliation_to_its_end_before_it_ends(bare: Cluster) -> None:
    _definitions(bare)
    administrator = _administrator(bare)
    pipelines = [manifests.pipeline(f"p{n}", runNonce="", schedule=["0 0 1 1 *"]) for n in range(60)]
    with _operator(bare) as operator:
        _until_ready(bare, operator)
        administrator.apply(manifests.source(), manifests.lake(), manifests.dataset(), *pipelines)
        administrator.until(lambda: len(administrator.items("cronjobs")) > 5, "it is in the middle of them", 30)
        assert operator.seconds_to_end() < 6
        assert "Traceback" not in operator.log_text
        assert "WARNING" not in operator.log_text
    half = administrator.items("cronjobs")
    with _operator(bare) as operator:
        administrator.until(lambda: len(administrator.items("cronjobs")) == len(pipelines), "the rest follows", 60)
    assert len(half) <= len(pipelines)


def _holder(cluster: Cluster) -> str:
    found = json.loads(_administrator(cluster).kubectl("get", "lease", "penstock-operator", "-o", "json"))
    return str(found["spec"]["holderIdentity"])


def _acting(operators: list[Operator]) -> list[str]:
    return [operator.log.stem for operator in operators if operator.probe("/readyz")[1] == "acts"]


def test_of_two_operators_one_acts_and_the_other_takes_over_at_once_when_it_ends(bare: Cluster) -> None:
    _definitions(bare)
    administrator = _administrator(bare)
    with _operator(bare, "first") as first:
        _until_ready(bare, first)
        with _operator(bare, "second") as second:
            stands_by = (200, "stands by: first holds the Lease default/penstock-operator")
            administrator.until(lambda: second.probe("/readyz") == stands_by, "the second stands by", 20)
            administrator.apply(manifests.source())
            administrator.until(lambda: administrator.get("source", "cities").get("status"), "the first works", 10)
            time.sleep(5)
            assert (_acting([first, second]), _holder(bare)) == (["first"], "first")

            assert first.seconds_to_end() < AT_ONCE_SECONDS
            _until_ready(bare, second, 6)
            assert _holder(bare) == "second"
            administrator.apply(_other_source())
            administrator.until(lambda: administrator.get("source", "others").get("status"), "the second works", 10)


def test_a_standby_takes_over_from_one_that_was_killed_or_hangs_and_that_one_does_not_come_back(bare: Cluster) -> None:
    _definitions(bare)
    administrator = _administrator(bare)
    with _operator(bare, "first") as first, _operator(bare, "second") as second:
        operators = {"first": first, "second": second}
        administrator.until(lambda: len(_acting([first, second])) == 1, "one acts", 20)
        acting = operators[_holder(bare)]
        (standby,) = (operator for operator in operators.values() if operator is not acting)
        acting.process.send_signal(signal.SIGSTOP)
        try:
            administrator.until(lambda: standby.probe("/readyz") == (200, "acts"), "the other takes over", 60)
        finally:
            acting.process.send_signal(signal.SIGCONT)
        assert acting.process.wait(timeout=20) == 1
        assert re.search(
            r"the Lease default/penstock-operator .*; the operator stops, so that it never acts beside another",
            acting.log_text,
        )
        assert standby.probe("/readyz") == (200, "acts")


@contextlib.contextmanager
def _blockable(cluster: Cluster, pod: str, seconds: int) -> Iterator[Operator]:
    """An operator with a tenth of the default times, whose work loop SIGUSR1 blocks for `seconds`."""
    port = controlplane.free_port()
    command = [sys.executable, "-m", "support.blocked", str(cluster.kubeconfig), pod, str(port), str(seconds)]
    process = cluster.start(pod, *command)
    try:
        yield Operator(process, cluster.folder / f"{pod}.log", port)
    finally:
        clusters.end(process, signal.SIGKILL)


def test_one_whose_work_loop_is_blocked_is_replaced_and_never_writes_again(bare: Cluster) -> None:
    """The loop is blocked for twice the Lease's duration, as 60 s are twice the default of 30 s."""
    _definitions(bare)
    administrator = _administrator(bare)
    with _blockable(bare, "first", 6) as first, _blockable(bare, "second", 6) as second:
        operators = {"first": first, "second": second}
        administrator.until(lambda: len(_acting([first, second])) == 1, "one acts", 20)
        acting = operators[_holder(bare)]
        (standby,) = (operator for operator in operators.values() if operator is not acting)
        administrator.apply(manifests.source())
        administrator.until(lambda: _images(administrator) == {acting.log.stem}, "the first works", 20)

        acting.process.send_signal(signal.SIGUSR1)
        administrator.apply(_other_source())  # the blocked one will find this news when it continues
        administrator.until(lambda: standby.probe("/readyz") == (200, "acts"), "the other takes over", 6)
        assert acting.process.poll() is None  # it is still blocked, and its probes answer
        assert acting.probe("/healthz")[0] == 200
        made = lambda: len(administrator.items("jobs")) == 2  # noqa: E731
        administrator.until(made, "the other works", 20)

        assert acting.process.wait(timeout=20) == 1
        assert "not renewed in time: the work loop of this operator has been blocked for" in acting.log_text
        assert standby.probe("/readyz") == (200, "acts")
        images = {
            job["metadata"]["labels"]["penstock.dev/owner-name"]: _image(job) for job in administrator.items("jobs")
        }
        assert images == {"cities": acting.log.stem, "others": standby.log.stem}


def _images(session: Session) -> set[str]:
    return {_image(job) for job in session.items("jobs")}


def _image(job: Manifest) -> str:
    image: str = job["spec"]["template"]["spec"]["containers"][0]["image"]
    return image.partition(":")[0]


def _other_source() -> Manifest:
    return manifests.source("others")
