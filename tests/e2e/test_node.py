"""What only a kubelet can show: containers that are confined as we say, and what becomes of one that needs too much."""

import json
from typing import Any

import pytest

from support import manifests
from support.clusters import Cluster, Session
from support.manifests import GOOD, Manifest

pytestmark = pytest.mark.skipif(
    "config.getoption('--cluster') in ('embedded', 'real')", reason="it needs a kubelet: --cluster=node"
)

CONFINEMENT = """
import json, os, pathlib

def writable(place):
    try:
        file = pathlib.Path(place, f"written-by-{os.getpid()}")
        file.write_text("")
        file.unlink()
    except OSError:
        return False
    return True

status = dict(line.strip().split(":", 1) for line in open("/proc/self/status"))
places = {line.split()[4] for line in open("/proc/self/mountinfo")} | {"/", "/tmp", "/opt/penstock", "/etc", "/src"}
print(json.dumps({
    "user": os.getuid(),
    "group": os.getgid(),
    "groups": sorted(os.getgroups()),
    "capabilities": int(status["CapBnd"], 16) | int(status["CapEff"], 16),
    "may gain privileges": status["NoNewPrivs"].strip() == "0",
    "system calls filtered": status["Seccomp"].strip() == "2",
    "token": os.path.exists("/var/run/secrets/kubernetes.io/serviceaccount/token"),
    "writable": sorted(place for place in places if os.path.isdir(place) and writable(place)),
}))
"""
"""Tells what the process that runs it may do."""

CONFINED = {
    "user": 65532,
    "group": 65532,
    "capabilities": 0,
    "may gain privileges": False,
    "system calls filtered": True,
}

OF_THE_POD = ["/dev/mqueue", "/dev/shm"]
"""Writable in every container, in memory, and nobody else's."""

SMALL: Manifest = {"resources": {"requests": {"memory": "16Mi"}, "limits": {"memory": "32Mi"}}}
"""Too little for any worker: Python with its libraries alone takes three times as much."""
ENOUGH: Manifest = {"resources": {"requests": {"memory": "16Mi"}, "limits": {"memory": "1Gi"}}}


def _everything(session: Session, dataset: Manifest) -> None:
    session.put("in", "a.csv", GOOD)
    session.apply(manifests.source(), manifests.lake(), dataset, manifests.pipeline())


def test_the_operator_is_confined_and_has_no_right_to_secrets(cluster: Cluster) -> None:
    system = Session(cluster, "penstock-system")
    told = json.loads(system.kubectl("exec", "deployment/penstock-operator", "--", "python", "-c", CONFINEMENT))
    assert told == {**CONFINED, "groups": [65532], "token": True, "writable": OF_THE_POD}
    account = "--as=system:serviceaccount:penstock-system:penstock-operator"
    for verb in ("get", "list", "watch", "create"):
        answer = system.kubectl("auth", "can-i", verb, "secrets", "--all-namespaces", account, check=False)
        assert answer.splitlines()[-1] == "no"


def test_the_operator_was_never_restarted_by_its_kubelet(cluster: Cluster) -> None:
    for pod in Session(cluster, "penstock-system").items("pods"):
        [container] = pod["status"]["containerStatuses"]
        assert container["restartCount"] == 0, container


def test_two_replicas_and_a_rolling_update_have_one_operator_act_at_any_time(cluster: Cluster) -> None:
    system = Session(cluster, "penstock-system")

    def standing() -> dict[str, str]:
        """What each operator that is ready says of itself."""
        ready = [pod for pod in system.items("pods") if "deletionTimestamp" not in pod["metadata"] and _ready(pod)]
        said = ("import urllib.request as r; print(r.urlopen('http://127.0.0.1:8080/readyz').read().decode().strip())",)
        names = [pod["metadata"]["name"] for pod in ready]
        told = {name: system.kubectl("exec", name, "--", "python", "-c", *said, check=False).strip() for name in names}
        return {name: text for name, text in told.items() if text == "acts" or text.startswith("stands by")}

    def one_of(count: int) -> str | None:
        states = standing()
        acting = [name for name, text in states.items() if text == "acts"]
        assert len(acting) <= 1, states
        return acting[0] if len(states) == count and acting else None

    system.kubectl("scale", "deployment/penstock-operator", "--replicas=2")
    first = system.until(lambda: one_of(2), "one of two acts", 60)
    system.kubectl("delete", "pod", first, "--wait=false")
    second = system.until(lambda: (found := one_of(2)) != first and found, "the other one acts", 60)
    holder = system.get("lease", "penstock-operator")["spec"]["holderIdentity"]
    assert holder == second
    system.kubectl("scale", "deployment/penstock-operator", "--replicas=1")
    system.until(lambda: one_of(1), "one is left", 60)

    system.kubectl("rollout", "restart", "deployment/penstock-operator")
    system.kubectl("rollout", "status", "deployment/penstock-operator", "--timeout=90s")
    last = system.until(lambda: one_of(1), "the new one acts", 60)
    assert last not in (first, second)


def _ready(pod: Manifest) -> bool:
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in pod["status"].get("conditions", ()))


def test_a_worker_is_confined_to_its_volumes(session: Session) -> None:
    _everything(session, manifests.dataset())
    session.last_run("pipeline", "cities", "nonce/1")
    [ingest] = [job for job in session.items("jobs") if "-ingest-" in job["metadata"]["name"]]
    told = _in_place_of_a_worker(session, ingest["spec"]["template"])
    writable = [*OF_THE_POD, "/scratch", "/volumes/in", "/volumes/lake"]
    assert told == {**CONFINED, "groups": [65532], "token": False, "writable": writable}


def _in_place_of_a_worker(session: Session, template: Manifest) -> dict[str, Any]:
    """What CONFINEMENT tells in a Pod that is a Job's but for its command."""
    metadata = {"name": "probe", "annotations": template["metadata"]["annotations"]}
    pod: Manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    pod["spec"]["containers"][0]["command"] = ["python", "-c", CONFINEMENT]
    session.kubectl("create", "-f", "-", stdin=json.dumps(pod))
    session.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/probe", "--timeout=180s")
    told: dict[str, Any] = json.loads(session.kubectl("logs", "probe"))
    return told


def test_what_a_worker_writes_belongs_to_its_group(session: Session) -> None:
    _everything(session, manifests.dataset())
    session.last_run("pipeline", "cities", "nonce/1")
    written = [path for path in session.fetch("lake", "warehouse").rglob("*") if path.is_file()]
    assert written
    assert {(path.stat().st_uid, path.stat().st_gid) for path in written} == {(65532, 65532)}


def test_a_run_beyond_its_memory_says_so_and_heals_with_a_higher_limit(session: Session) -> None:
    _everything(session, manifests.dataset(worker=ENOUGH))
    assert session.last_run("pipeline", "cities", "nonce/1")["rowsLoaded"] == 3

    session.put("in", "b.csv", "id,city,amount\n4,Vadso,4\n")
    session.apply(manifests.dataset(worker=SMALL))
    session.apply(manifests.pipeline(runNonce="2", retries=0))
    failed = session.last_run("pipeline", "cities", "nonce/2")
    assert (failed["state"], failed["reason"]) == ("Failed", "OutOfMemory")
    assert "worker.resources.limits.memory" in failed["message"]
    assert session.get("dataset", "cities")["status"]["rows"] == 3

    session.apply(manifests.dataset(worker=ENOUGH))
    session.until(lambda: session.get("dataset", "cities")["status"]["rows"] == 4, "it heals by itself")
    assert session.last_run("pipeline", "cities", "nonce/2")["rowsLoaded"] == 1


def test_a_table_whose_making_runs_out_of_memory_says_so_and_heals(session: Session) -> None:
    session.apply(manifests.lake(), manifests.dataset(worker=SMALL))
    told = session.until(
        lambda: (found := session.condition("dataset", "cities", "Ready")).get("reason") == "OutOfMemory" and found,
        "OutOfMemory",
    )
    assert "worker.resources.limits.memory" in told["message"]
    session.apply(manifests.dataset(worker=ENOUGH))
    session.wait("dataset", "cities", "Ready")
