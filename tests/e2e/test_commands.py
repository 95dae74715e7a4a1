"""What `kubectl get` and our own commands tell of objects in each state."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from support import manifests
from support.clusters import Cluster, Session
from support.manifests import GOOD, Manifest

NOBODY = {"url": "s3://b/", "endpointUrl": "http://127.0.0.1:1", "glob": "*.csv", "format": manifests.CSV}
"""A place where nobody answers."""


def _penstock(session: Session, *arguments: str) -> tuple[int, str]:
    """Exit code and output of one of our commands."""
    done = subprocess.run(
        [sys.executable, "-m", "penstock", *arguments, "-n", session.namespace],
        env={**os.environ, "KUBECONFIG": str(session.cluster.kubeconfig)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.strip()


def _away(name: str) -> Manifest:
    return manifests.of("Source", name, {"connector": {"files": NOBODY}})


def _row(session: Session, kind: str, name: str) -> dict[str, str]:
    """READY and REASON as `kubectl get` prints them, cut by the heading: a cell may be empty."""
    heading, *rows = session.kubectl("get", kind).splitlines()
    row = next(line for line in rows if line.split()[0] == name)
    columns = heading.split()[1:4]
    begins = [heading.index(column) for column in columns]
    return {column: row[begin:end].strip() for column, begin, end in zip(columns[:2], begins, begins[1:], strict=False)}


@pytest.fixture(scope="module")
def states(cluster: Cluster) -> Iterator[Session]:
    """A namespace with objects in every state: well, failing, suspended (itself or by its Source), waiting, refused."""
    session = cluster.session()
    session.put("in", "a.csv", GOOD + "x,Vadso,4\n")
    never = {"runNonce": ""}
    session.apply(
        manifests.lake(),
        manifests.source(),
        _away("away"),
        manifests.source("empty", glob="*.none"),
        manifests.of("Source", "off", {**manifests.source()["spec"], "suspend": True}),
        manifests.dataset(),
        manifests.dataset("strict", quality={"maxBadRatio": "0%"}),
        manifests.pipeline(),
        manifests.pipeline("fails", datasets=[{"datasetRef": {"name": "strict"}, "sync": "incremental"}]),
        manifests.pipeline("never", **never),
        manifests.pipeline("held", sourceRef={"name": "off"}),
        manifests.pipeline("off", suspend=True),
        manifests.pipeline("waits", sourceRef={"name": "away"}, **never),
        manifests.pipeline("lacks", sourceRef={"name": "gone"}),
        manifests.pipeline("wrong", datasets=[{"datasetRef": {"name": "cities"}, "sync": "full"}]),
        manifests.subscription("late", destinationRef={"name": "gone"}),
    )
    session.last_run("pipeline", "cities", "nonce/1")
    session.last_run("pipeline", "fails", "nonce/1")
    session.until_rows("cities", 3)
    session.until(lambda: session.condition("source", "away", "Reachable").get("status") == "False", "nobody answers")
    session.until(lambda: session.condition("source", "empty", "Discovered").get("status") == "False", "no file")
    yield session
    session.delete()


def test_ready_and_reason_tell_how_each_object_stands(states: Session) -> None:
    expected = {
        ("sources", "cities"): ("True", ""),
        ("sources", "away"): ("True", "Unreachable"),
        ("sources", "empty"): ("True", "ResourceNotFound"),
        ("sources", "off"): ("True", "Suspended"),
        ("destinations", "lake"): ("True", ""),
        ("datasets", "cities"): ("True", ""),
        ("datasets", "strict"): ("True", "TooManyBadRows"),
        ("pipelines", "cities"): ("True", ""),
        ("pipelines", "fails"): ("True", "TooManyBadRows"),
        ("pipelines", "never"): ("True", "NeverRan"),
        ("pipelines", "held"): ("True", "Suspended"),
        ("pipelines", "off"): ("True", "Suspended"),
        ("pipelines", "waits"): ("True", "NeverRan"),
        ("pipelines", "lacks"): ("False", "SourceNotFound"),
        ("pipelines", "wrong"): ("False", "InvalidSpec"),
        ("subscriptions", "late"): ("False", "DestinationNotFound"),
    }
    told = {key: tuple(_row(states, *key).values()) for key in expected}
    assert told == expected


def test_run_waits_for_what_it_asked_for_and_says_how_it_ended(states: Session) -> None:
    namespace = states.namespace
    assert _penstock(states, "run", "cities", "--wait") == (0, f"Pipeline {namespace}/cities: succeeded: nothing new")
    code, told = _penstock(states, "run", "fails", "--wait")
    last = told.splitlines()[-1]  # before it, perhaps, how an attempt failed
    assert (code, last.partition(". ")[0]) == (1, f"Pipeline {namespace}/fails: failed, TooManyBadRows")

    code, told = _penstock(states, "run", "source/cities", "--wait")
    assert (code, told.partition(",")[0]) == (0, f"Source {namespace}/cities: answered the inspection")
    assert _penstock(states, "run", "lake", "--wait")[0] == 0
    assert _penstock(states, "run", "strict", "--wait")[0] == 0
    code, told = _penstock(states, "run", "away", "--wait")
    assert (code, told.partition(". ")[0]) == (1, f"Source {namespace}/away: Unreachable")
    code, told = _penstock(states, "run", "empty", "--wait")
    assert (code, told.partition(". ")[0]) == (1, f"Source {namespace}/empty: ResourceNotFound")
    code, told = _penstock(states, "run", "lacks", "--wait")
    assert (code, told.partition(". ")[0]) == (1, f"Pipeline {namespace}/lacks: SourceNotFound")


def test_run_says_at_once_what_is_suspended_and_asks_for_nothing(states: Session) -> None:
    for kind, name, which in (
        ("pipeline", "off", "Pipeline off"),
        ("pipeline", "held", "Source off"),
        ("source", "off", "Source off"),
    ):
        code, told = _penstock(states, "run", f"{kind}/{name}", "--wait")
        assert code == 1
        assert told.startswith(f"Error: {which} is suspended: no run was requested. Set its spec.suspend to false")
        assert "penstock.dev/requestedAt" not in states.get(kind, name)["metadata"]["annotations"]


def test_run_tells_what_it_waits_for_until_its_time_is_over(states: Session) -> None:
    assert _penstock(states, "run", "waits", "--timeout", "3s")[0] == 2, "without --wait there is nothing to limit"
    code, told = _penstock(states, "run", "waits", "--wait", "--timeout", "3s")
    waiting, error = told.splitlines()
    assert code == 1
    assert waiting.startswith(f"Pipeline {states.namespace}/waits: waiting: Source away is not reachable: ")
    late = f"Error: Pipeline {states.namespace}/waits: not finished after 3 s, waiting: Source away is not reachable: "
    assert error.startswith(late)
    assert error.endswith("The request remains and is carried out as soon as possible")


def test_plan_tells_what_becomes_of_the_data_in_the_cluster(states: Session, tmp_path: Path) -> None:
    dataset = manifests.dataset(schema={"fields": manifests.FIELDS[:2]})
    (tmp_path / "dataset.yaml").write_text(json.dumps(dataset))
    code, text = _penstock(states, "plan", "-f", str(tmp_path))
    assert code == 2
    assert "column amount (double) is dropped: refused, because the table has 3 rows" in text
    users = ", ".join(f"Pipeline {name}" for name in ("cities", "held", "lacks", "never", "off", "waits", "wrong"))
    assert f"affected: {users}, Subscription late" in text
    (tmp_path / "dataset.yaml").write_text(json.dumps(manifests.dataset()))
    assert _penstock(states, "plan", "-f", str(tmp_path), "--fail-on", "changes") == (0, "1 unchanged")


def test_an_object_is_named_alike_everywhere(states: Session) -> None:
    for name in ("dataset/strict", "strict"):
        assert _penstock(states, "logs", name)[0] == 0
        assert _penstock(states, "preview", name, "--rows=1", "--only=good")[0] == 0
        assert _penstock(states, "run", name)[0] == 0
    states.apply(manifests.subscription("never"))
    for command in ("logs", "run"):
        assert _penstock(states, command, "never") == (
            1,
            'Error: "never" is the name of 2 objects; say which: pipeline/never or subscription/never',
        )
    assert _penstock(states, "preview", "pipeline/never") == (
        1,
        "Error: this command does not take a Pipeline; it takes a Dataset, Source or Subscription",
    )


def test_what_infer_proposes_can_be_applied(states: Session) -> None:
    code, proposed = _penstock(states, "infer", "source/cities", "--destination", "lake")
    assert code == 0
    dataset, _ = yaml.safe_load_all(proposed)
    assert [field["type"] for field in dataset["spec"]["schema"]["fields"]] == ["string", "string", "double"]
    states.kubectl("apply", "--dry-run=server", "-f", "-", stdin=proposed)
    assert _penstock(states, "infer", "away") == (
        1,
        f"Error: Source {states.namespace}/away has not been inspected yet. See what it waits for: "
        "kubectl describe source away",
    )


def test_the_picture_tells_what_is_wrong_and_what_is_held(states: Session) -> None:
    code, told = _penstock(states, "get")
    lines = told.splitlines()
    assert code == 0
    assert any(line.startswith("✗ empty") for line in lines)
    assert any(line.startswith("✗ Source empty ResourceNotFound") for line in lines)
    assert any(line.split("▶")[1].split()[:2] == ["○", "held"] for line in lines if "held" in line)
    assert sum("3 rows" in line for line in lines) == 1
    assert {"●", "✗", "○", "↑"} <= set(lines[-1])
