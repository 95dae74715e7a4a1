"""kill -9, of the worker and of the operator, in the middle of things: the counts still match."""

import os
import random
import signal
import time
from pathlib import Path

from support import clusters, manifests
from support.clusters import Cluster, Session

ROWS = 400_000
BAD = ROWS // 1000


def _dirty() -> str:
    lines = (f"{'x' if n % 1000 == 0 else n},city-{n % 97},{n / 7:.3f}\n" for n in range(ROWS))
    return "id,city,amount\n" + "".join(lines)


def _workers(session: Session, purpose: str = "ingest") -> list[int]:
    """The processes of this namespace's worker Pods."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
        except OSError:
            continue
        if f"PENSTOCK_RUN_ID={session.namespace}/".encode() in environment and f"-{purpose}-".encode() in environment:
            found.append(int(process.name))
    return found


def test_a_worker_killed_twice_in_its_load_loads_every_row_once(session: Session) -> None:
    session.put("in", "a.csv", _dirty())
    session.apply(manifests.source(), manifests.lake(), manifests.dataset(), manifests.pipeline())
    for _ in range(2):
        [worker, *_others] = session.until(lambda: _workers(session), "a worker runs")
        time.sleep(random.Random(3).uniform(0.5, 1.5))
        os.kill(worker, signal.SIGKILL)
        session.until(lambda gone=worker: not Path(f"/proc/{gone}").exists(), "it is dead")  # type: ignore[misc]
    run = session.last_run("pipeline", "cities", "nonce/1")
    assert run["state"] == "Succeeded", run
    assert (run["rowsRead"], run["rowsLoaded"], run["rowsQuarantined"]) == (ROWS, ROWS - BAD, BAD)
    assert run["pods"] >= 2
    session.until_rows("cities", ROWS - BAD)
    assert session.get("dataset", "cities")["status"]["quarantinedRows"] == BAD


def test_an_operator_killed_again_and_again_starts_each_run_once(cluster: Cluster, session: Session) -> None:
    session.put("in", "a.csv", manifests.GOOD)
    session.apply(manifests.source(), manifests.lake(), manifests.outbox(), manifests.dataset())
    session.apply(manifests.pipeline(), manifests.subscription())
    dice = random.Random(7)
    for _ in range(6):
        time.sleep(dice.uniform(0.3, 2.5))
        cluster.stop_operator(signal.SIGKILL)
        cluster.start_operator()
    run = session.last_run("pipeline", "cities", "nonce/1")
    assert (run["state"], run["rowsLoaded"]) == ("Succeeded", 3)
    session.wait("subscription", "cities", "LastRunSucceeded")
    names = [job["metadata"]["name"] for job in session.items("jobs")]
    assert [len([name for name in names if f"-{purpose}-" in name]) for purpose in ("ingest", "deliver")] == [1, 1]
    session.until_rows("cities", 3)


def test_two_operators_that_act_at_once_start_each_run_once(cluster: Cluster, session: Session) -> None:
    """The Lease keeps that from happening; where it fails for a moment, nothing may depend on it."""
    session.put("in", "a.csv", manifests.GOOD)
    second = cluster.operate("second", "--no-leader-elect")
    try:
        session.apply(manifests.source(), manifests.lake(), manifests.outbox(), manifests.dataset())
        session.apply(manifests.pipeline(), manifests.subscription())
        for nonce in ("1", "2", "3"):
            session.apply(manifests.pipeline(runNonce=nonce))
            assert session.last_run("pipeline", "cities", f"nonce/{nonce}", seconds=120)["state"] == "Succeeded"
        session.wait("subscription", "cities", "LastRunSucceeded", seconds=120)
        assert second.poll() is None
    finally:
        clusters.end(second)
    names = [job["metadata"]["name"] for job in session.items("jobs")]
    assert [len([name for name in names if f"-{purpose}-" in name]) for purpose in ("ingest", "deliver")] == [3, 1]
    session.until_rows("cities", 3)
    told = (cluster.folder / "second.log").read_text(encoding="utf-8")
    assert "starts as Job" in told, "the second one acted, too"
    assert "Traceback" not in told
