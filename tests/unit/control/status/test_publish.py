"""What is published: conditions by kstatus' rules, and a patch of what changed."""

from typing import Any

import pytest

from penstock.control.cluster.port import Ref
from penstock.control.observe import Observed, Seen
from penstock.control.resolve import Problem
from penstock.control.status import publish
from penstock.language import times
from support import jobs, manifests, scene
from support.scene import Scene

NOW = times.parse("2026-11-22T13:00:00Z")


def _conditions(
    stage: Scene, *runs: Observed, kind: str = "Pipeline", problem: Problem | None = None
) -> dict[str, Any]:
    outcome = publish.of(stage.graph(kind, "cities"), Seen(runs), NOW, problem=problem)
    return {entry["type"]: entry for entry in outcome.status.to_object()["conditions"]}


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({}, {}, {}),
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": 1, "b": 2}, {"a": 1}, {"b": None}),
        ({}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, {"a": {"c": 3}}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, {"a": {"c": None}}),
        ({"a": [1, 2]}, {"a": [1]}, {"a": [1]}),
        ({"a": {"b": 1}}, {"a": [1]}, {"a": [1]}),
        ({"a": None}, {"a": 1}, {"a": 1}),
    ],
)
def test_the_patch_holds_what_changed_and_nothing_else(before: Any, after: Any, patch: Any) -> None:
    assert publish.patch(before, after) == patch


def test_the_time_of_a_condition_moves_only_with_its_status() -> None:
    stage = scene.quickstart(runNonce="")
    stage.settle()
    since = stage.condition("Pipeline", "cities", "Ready")["lastTransitionTime"]
    stage.wait(60)
    stage.apply(manifests.pipeline(runNonce="", schedule=["0 3 * * *"]))
    stage.settle()
    assert stage.condition("Pipeline", "cities", "Ready")["lastTransitionTime"] == since
    for job in stage.jobs():
        stage.finish(job)
    stage.settle()
    ready = stage.condition("Pipeline", "cities", "Ready")
    assert (ready["status"], ready["lastTransitionTime"]) == ("True", stage.cluster.now)


def test_work_towards_ready_is_reconciling_and_what_only_a_person_can_mend_is_stalled() -> None:
    stage = scene.quickstart()
    making = _conditions(stage)
    assert making["Ready"]["status"] == "False"
    assert making["Reconciling"]["status"] == "True"
    assert "Stalled" not in making
    stuck = _conditions(stage, problem=Problem("NameConflict", "CronJob x exists"))
    assert (stuck["Ready"]["reason"], stuck["Stalled"]["status"]) == ("NameConflict", "True")
    assert "Reconciling" not in stuck
    assert not {"Reconciling", "Stalled"} & set(_conditions(scene.ready()))


def test_the_generation_that_was_looked_at_is_told() -> None:
    stage = scene.ready()
    stage.apply(manifests.pipeline(history=3))
    outcome = publish.of(stage.graph("Pipeline", "cities"), Seen(()), NOW)
    assert outcome.status.to_object()["observedGeneration"] == 2


@pytest.mark.parametrize(
    ("pipeline", "dataset_ready", "reason", "told"),
    [
        ({}, ("True", "Succeeded", ""), "Succeeded", "runs on request"),
        ({"schedule": ["0 3 * * *"]}, ("True", "Succeeded", ""), "Succeeded", "runs at 0 3 * * * (UTC)"),
        ({"suspend": True}, ("True", "Succeeded", ""), "Suspended", "Pipeline cities is suspended"),
        ({}, ("False", "Progressing", ""), "Progressing", "Dataset cities is being made"),
        ({}, ("False", "SchemaChanged", "city is in the table only"), "Succeeded", "runs on request"),
        (
            {},
            ("False", "TableConflict", "the table is another's"),
            "DatasetNotReady",
            "Dataset cities is not ready: the ",
        ),
    ],
)
def test_a_pipeline_is_ready_when_its_datasets_are(
    pipeline: Any, dataset_ready: tuple[str, str, str], reason: str, told: str
) -> None:
    stage = scene.quickstart(**pipeline)
    status, why, message = dataset_ready
    ready = {"type": "Ready", "status": status, "reason": why, "message": message, "lastTransitionTime": jobs.BEGAN}
    stage.cluster.change(Ref("Dataset", "default", "cities"), {"status": {"conditions": [ready]}})
    found = _conditions(stage)["Ready"]
    assert found["reason"] == reason
    assert told in found["message"]
    assert found["message"].count("Dataset cities") <= 1


def test_the_next_run_time_is_that_of_the_cronjobs_that_exist() -> None:
    stage = scene.ready(schedule=["0 3 * * *", "30 14 * * *"], timeZone="Europe/Oslo")
    outcome = publish.of(stage.graph("Pipeline", "cities"), Seen(()), NOW)
    assert outcome.status.to_object()["nextRunTime"] == "2026-11-22T13:30:00Z"
    assert outcome.again == times.parse("2026-11-22T13:30:00Z")


def test_there_is_no_next_run_time_before_there_is_a_cronjob() -> None:
    stage = scene.quickstart(schedule=["0 3 * * *"])
    outcome = publish.of(stage.graph("Pipeline", "cities"), Seen(()), NOW)
    assert "nextRunTime" not in outcome.status.to_object()


def test_a_changed_schedule_is_shown_once_its_cronjob_has_it() -> None:
    stage = scene.ready(schedule=["0 3 * * *"])
    stage.apply(manifests.pipeline(schedule=["0 5 * * *"]))
    outcome = publish.of(stage.graph("Pipeline", "cities"), Seen(()), NOW)
    assert outcome.status.to_object()["nextRunTime"] == "2026-11-23T03:00:00Z"
    stage.settle()
    outcome = publish.of(stage.graph("Pipeline", "cities"), Seen(()), NOW)
    assert outcome.status.to_object()["nextRunTime"] == "2026-11-23T05:00:00Z"


def test_a_cronjob_that_never_comes_due_has_no_next_run_time() -> None:
    stage = scene.ready(schedule=["0 0 31 2 *"])
    outcome = publish.of(stage.graph("Pipeline", "cities"), Seen(()), NOW)
    assert "nextRunTime" not in outcome.status.to_object()


@pytest.mark.parametrize(
    ("run", "reachable"),
    [
        ({"state": "Running"}, "Unknown"),
        ({"state": "Succeeded", "report": jobs.report("inspect-source")}, "True"),
        ({"state": "Failed", "reason": "Unreachable", "message": "no route"}, "False"),
        ({"state": "Failed", "reason": "ResourceNotFound", "message": "no file"}, "True"),
    ],
)
def test_a_source_is_reachable_when_it_answered_whatever_the_answer(run: Any, reachable: str) -> None:
    stage = scene.quickstart()
    stage.settle()
    target = stage.jobs("inspect-source")[0]["metadata"]["annotations"]["penstock.dev/target"]
    found = _conditions(stage, jobs.observed(purpose="inspect-source", target=target, **run), kind="Source")
    assert found["Reachable"]["status"] == reachable
    assert found["Ready"]["status"] == "True"
    assert found["Discovered"]["status"] == {"Running": "Unknown", "Succeeded": "True", "Failed": "False"}[run["state"]]


def _waiting(stage: Scene, purpose: str) -> None:
    """The Pod of the one Job of a purpose finds no place."""
    pod = jobs.pod(stage.jobs(purpose)[-1])
    why = {"reason": "Unschedulable", "message": 'persistentvolumeclaim "nope" not found'}
    pod["status"] = {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", **why}]}
    stage.cluster.put(pod)
    stage.settle()


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize(
    ("kind", "name", "purpose", "which"),
    [
        ("Source", "cities", "inspect-source", ("Reachable", "Discovered")),
        ("Destination", "lake", "inspect-destination", ("Reachable",)),
        ("Dataset", "cities", "migrate", ("SchemaCurrent",)),
    ],
)
def test_what_an_inspection_waits_for_is_in_its_conditions_and_stays_when_the_deadline_ends_it(
    kind: str, name: str, purpose: str, which: tuple[str, ...], ends: bool
) -> None:
    stage = scene.quickstart()
    stage.settle()
    _waiting(stage, purpose)
    for condition in which:
        told = stage.condition(kind, name, condition)
        assert (told["status"], told["reason"]) == ("Unknown", "Waiting")
        assert told["message"].endswith('waits: Unschedulable: persistentvolumeclaim "nope" not found')
    job = stage.jobs(purpose)[-1]
    if ends:
        stage.cluster.put(jobs.pod(job, exitCode=128, reason="StartError"))
    else:
        stage.cluster.remove(Ref("Pod", "default", f"{job['metadata']['name']}-1"))
    stage.settle()
    stage.cluster.change(Ref.of(job), {"status": jobs.over("Failed", stage.cluster.now, "DeadlineExceeded")})
    stage.settle()
    assert stage.restarted().settle() == []
    ended = stage.condition(kind, name, which[-1])
    assert ended["reason"] == "DeadlineExceeded"
    assert ended["message"].endswith('its Pod never started: persistentvolumeclaim "nope" not found')


def test_a_pod_that_starts_after_all_is_not_told_to_wait() -> None:
    stage = scene.quickstart()
    stage.settle()
    _waiting(stage, "inspect-source")
    stage.cluster.put(jobs.pod(stage.jobs("inspect-source")[-1]))
    stage.settle()
    assert stage.condition("Source", "cities", "Reachable")["reason"] == "Progressing"


def test_what_an_inspection_found_is_not_told_of_a_spec_that_is_being_inspected() -> None:
    stage = scene.ready()
    assert stage.condition("Source", "cities", "Reachable")["observedGeneration"] == 1
    stage.apply(manifests.source(glob="*.txt"))
    stage.settle()
    told = {kind: stage.condition("Source", "cities", kind) for kind in ("Ready", "Reachable", "Discovered")}
    assert {kind: (one["status"], one["observedGeneration"]) for kind, one in told.items()} == {
        "Ready": ("True", 2),
        "Reachable": ("True", 1),
        "Discovered": ("True", 1),
    }
    stage.finish(stage.jobs("inspect-source")[-1])
    stage.settle()
    assert stage.condition("Source", "cities", "Reachable")["observedGeneration"] == 2
    suspended = manifests.source(glob="*.txt")
    suspended["spec"]["suspend"] = True
    stage.apply(suspended)
    stage.settle()
    assert stage.condition("Source", "cities", "Reachable")["observedGeneration"] == 3
