"""kill -9 of the whole embedded cluster: what was answered is there, what ran is over, and everything goes on."""

import random
import threading
import time
from pathlib import Path

import pytest

from embedded import harness
from embedded.harness import Embedded, Kube, held, job, thing, until


@pytest.mark.parametrize("seed", range(4))
def test_every_answered_write_survives(tmp_path: Path, seed: int) -> None:
    server, answered = Embedded.start(tmp_path), dict[str, int]()
    kube = Kube(server.kubeconfig, "default")

    def write() -> None:
        for number in range(10_000):
            try:
                code, item = kube.http("POST", "things", thing(f"t{number}"))
            except OSError:
                return
            if code == 201:
                answered[f"t{number}"] = int(item["metadata"]["resourceVersion"])

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(random.Random(seed).uniform(0.2, 0.8))
    server.kill()
    writer.join()
    again = Embedded.start(tmp_path)

    listed = kube.get("things")
    stored = {i["metadata"]["name"]: int(i["metadata"]["resourceVersion"]) for i in listed["items"]}
    assert answered.items() <= stored.items()
    assert len(stored) - len(answered) <= 1  # one may have been stored and not answered
    assert int(kube.http("POST", "things", thing("next"))[1]["metadata"]["resourceVersion"]) > max(stored.values())
    late = kube.watch("things?watch=true&timeoutSeconds=1&resourceVersion=2")
    assert [(e["type"], e["object"].get("code")) for e in late] == [("ERROR", 410)]
    again.stop()


def test_a_running_job_is_ended_and_retried_and_nothing_is_left_over(tmp_path: Path) -> None:
    server, mark = Embedded.start(tmp_path / "c"), f"mark-{time.time_ns()}"
    kube = Kube(server.kubeconfig, "default")
    ran = tmp_path / "ran"
    script = (
        f": {mark}; echo run >> {ran}; test $(wc -l < {ran}) -gt 1 || sleep 600 & wait; test $(wc -l < {ran}) -gt 1"
    )
    kube.apply(job("j", script, backoffLimit=2))
    until(ran.exists)
    until(lambda: [each for each in kube.get("pods")["items"] if each["status"].get("phase") == "Running"])
    server.kill()

    until(lambda: not any(mark in Path(f"/proc/{pid}/cmdline").read_text() for pid in harness.processes_named(mark)))
    again = Embedded.start(tmp_path / "c")
    ended = until(lambda: (item := kube.get("jobs/j")) and "Complete" in held(item) and item, 20)

    assert isinstance(ended, dict)
    assert ended["status"]["failed"] == 1
    assert ran.read_text() == "run\nrun\n"
    again.stop()
    assert not list(harness.processes_named(mark))


def test_the_way_in_stays_the_same(tmp_path: Path) -> None:
    server = Embedded.start(tmp_path)
    before = [(tmp_path / name).read_text() for name in ("kubeconfig", "ca.pem", "token")]
    server.kill()

    again = Embedded.start(tmp_path)

    assert [(tmp_path / name).read_text() for name in ("kubeconfig", "ca.pem", "token")] == before
    assert (tmp_path / "kubeconfig").stat().st_mode & 0o777 == 0o600
    again.stop()
