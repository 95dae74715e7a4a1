"""The line as a whole, on a cluster in memory: what is written, what is told, and that it comes to rest."""

from typing import Any

import pytest

from penstock.api import objects
from penstock.control import due
from penstock.control.cluster.port import ClusterError, Conflict, NotFound, Ref
from penstock.control.desired import runs
from penstock.control.observe import Seen
from penstock.runs.report import DatasetReport, StreamReport
from support import jobs, manifests, scene
from support.fakecluster import Call
from support.scene import Scene

RUN = "default/cities/nonce/1"


def test_an_unchanged_object_costs_no_write_also_after_a_restart() -> None:
    stage = scene.whole()
    assert {stage.condition(item["kind"], item["metadata"]["name"], "Ready")["status"] for item in _five(stage)} == {
        "True"
    }
    assert stage.settle() == []
    assert stage.restarted().settle() == []


def _five(stage: Scene) -> list[Any]:
    return [item for kind in objects.KINDS for item in stage.cluster.items(kind)]


def test_a_created_pipeline_costs_its_order_its_job_and_one_status_patch() -> None:
    stage = scene.ready(runNonce="")
    before = len(stage.cluster.calls)
    stage.apply(manifests.pipeline("second"))
    stage.see()
    stage.reconcile("Pipeline", "second")
    made = [(call.verb, call.ref.kind) for call in stage.cluster.calls[before:]]
    assert made == [
        ("create", "ConfigMap"),
        ("create", "Job"),
        ("patch_status", "Pipeline"),
        ("create", "Event"),
    ]


def test_an_object_that_is_gone_or_going_is_left_alone() -> None:
    stage = scene.quickstart()
    assert stage.reconcile("Pipeline", "unknown") is None
    stage.cluster.change(Ref("Pipeline", "default", "cities"), {"metadata": {"deletionTimestamp": jobs.BEGAN}})
    stage.see()
    assert stage.reconcile("Pipeline", "cities") is None
    assert stage.cluster.calls == []


def test_an_object_that_vanishes_while_it_is_looked_at_is_forgotten() -> None:
    stage = scene.quickstart()
    stage.see()
    stage.cluster.refuse[Call("patch_status", Ref("Source", "default", "cities"))] = NotFound(404, "NotFound", "gone")
    stage.reconcile("Source", "cities")
    assert stage.store.get(objects.Key("Source", "default", "cities")) is None


def test_a_status_worked_out_from_an_older_version_is_refused_by_the_server() -> None:
    stage = scene.quickstart()
    stage.see()
    stage.apply(manifests.source(glob="*.gz"))
    with pytest.raises(Conflict):
        stage.reconcile("Source", "cities")


# ── runs ──


def test_a_nonce_becomes_one_run_whose_counts_are_told_and_is_echoed_as_handled() -> None:
    stage = scene.ready()
    assert "handledRunNonce" not in stage.status("Pipeline", "cities")
    stage.finish(stage.jobs("ingest")[0], jobs.report(loaded=7, quarantined=1))
    stage.settle()
    assert stage.status("Pipeline", "cities")["handledRunNonce"] == "1"
    run = stage.status("Pipeline", "cities")["lastRun"]
    assert (run["id"], run["state"], run["rowsLoaded"], run["rowsQuarantined"]) == (RUN, "Succeeded", 7, 1)
    assert (
        stage.condition("Pipeline", "cities", "LastRunSucceeded")["message"] == "8 rows read, 7 loaded, 1 quarantined"
    )
    assert stage.status("Dataset", "cities")["rows"] == 7


def test_a_recreated_pipeline_runs_its_nonce_though_jobs_of_the_former_one_are_still_there() -> None:
    stage = scene.ready()
    stage.finish(stage.jobs("ingest")[0])
    stage.settle()
    stage.cluster.remove(Ref("Pipeline", "default", "cities"), dependents=False)
    stage.settle()
    stage.apply(manifests.pipeline())
    stage.settle()
    assert len(stage.jobs("ingest")) == 2
    uid = stage.cluster.read(Ref("Pipeline", "default", "cities"))["metadata"]["uid"]
    owners = [order["metadata"]["ownerReferences"] for order in _orders(stage)]
    assert [[owner["uid"] for owner in references] for references in owners] == [[uid]], "its order is taken over"


def test_a_job_that_is_deleted_while_it_runs_is_a_cancelled_run_and_stays_so() -> None:
    stage = scene.ready()
    stage.finish(
        stage.jobs("ingest")[0], exitCode=3, message=jobs.message(jobs.report(state="Failed", reason="Unreachable"))
    )
    stage.settle()
    stage.wait(20)
    stage.settle()
    (_, second) = stage.jobs("ingest")
    stage.cluster.remove(Ref.of(second))
    for _ in range(3):
        stage.settle()
        stage.wait(3600)
    assert len(stage.jobs("ingest")) == 1
    run = stage.status("Pipeline", "cities")["lastRun"]
    assert (run["id"], run["state"]) == (RUN, "Cancelled")


def test_a_run_that_was_cancelled_while_it_waited_gives_way_to_the_next() -> None:
    stage = scene.quickstart()
    stage.settle()
    stage.cluster.remove(Ref.of(stage.jobs("ingest")[0]))
    stage.wait(60)
    stage.apply(manifests.pipeline(runNonce="2"))
    for _ in range(2):
        stage.settle()
        for job in stage.jobs():
            if "status" not in job:
                stage.finish(job)
    stage.settle()
    states = [(run["id"].rpartition("/")[2], run["state"]) for run in stage.status("Pipeline", "cities")["runs"]]
    assert states == [("2", "Succeeded"), ("1", "Cancelled")]
    assert stage.condition("Pipeline", "cities", "LastRunSucceeded")["status"] == "True"


def test_a_failed_inspection_heals_by_itself_when_the_cause_is_gone() -> None:
    stage = scene.quickstart()
    stage.settle()
    failure = jobs.report("inspect-source", state="Failed", reason="SecretMissing", message="Create Secret keys.")
    stage.finish(stage.jobs("inspect-source")[0], failure)
    stage.settle()
    assert stage.condition("Source", "cities", "Reachable")["reason"] == "SecretMissing"
    assert stage.condition("Source", "cities", "Ready")["status"] == "True", "a remote never makes Ready false"
    stage.wait(1)
    stage.settle()
    assert len(stage.jobs("inspect-source")) == 1
    stage.wait(1)
    stage.settle()
    stage.finish(stage.jobs("inspect-source")[1])
    stage.settle()
    assert stage.condition("Source", "cities", "Reachable")["status"] == "True"


def test_running_work_is_told_though_a_reference_broke_meanwhile() -> None:
    stage = scene.ready()
    stage.cluster.remove(Ref("Source", "default", "cities"))
    stage.finish(stage.jobs("ingest")[0])
    stage.settle()
    assert stage.condition("Pipeline", "cities", "Ready")["reason"] == "SourceNotFound"
    assert stage.status("Pipeline", "cities")["lastRun"]["rowsLoaded"] == 3
    assert [entry["name"] for entry in stage.status("Pipeline", "cities")["datasets"]] == ["cities"]


# ── harvest before prune ──


def test_the_report_of_a_run_is_in_status_before_the_cronjob_that_made_it_goes_with_its_jobs() -> None:
    stage = scene.ready(runNonce="", schedule=["0 3 * * *"])
    stage.ring("cities-pipeline-0", "2026-11-22T03:00:00Z")
    stage.settle()
    stage.apply(manifests.pipeline(runNonce=""))
    stage.settle()
    assert stage.cluster.items("CronJob")[0]["spec"]["suspend"] is True
    stage.finish(stage.jobs("ingest")[0])
    before = len(stage.cluster.writes)
    stage.settle()
    verbs = [(call.verb, call.ref.kind) for call in stage.cluster.writes[before:]]
    assert verbs.index(("patch_status", "Pipeline")) < verbs.index(("delete", "CronJob"))
    assert stage.jobs("ingest") == []
    assert stage.status("Pipeline", "cities")["lastRun"]["rowsLoaded"] == 3


def test_jobs_beyond_the_history_go_whatever_started_them() -> None:
    stage = scene.ready(history=2)
    for nonce in "23456":
        stage.finish(stage.jobs("ingest")[-1])
        stage.settle()
        stage.wait(60)
        stage.apply(manifests.pipeline(history=2, runNonce=nonce))
        stage.settle()
    stage.finish(stage.jobs("ingest")[-1])
    stage.settle()
    assert len(stage.jobs("ingest")) == 2
    ids = [run["id"] for run in stage.status("Pipeline", "cities")["runs"]]
    assert ids == ["default/cities/nonce/6", "default/cities/nonce/5"]


def test_an_order_goes_when_nothing_names_it_any_more_and_not_at_once() -> None:
    stage = scene.ready(runNonce="")
    stage.apply(manifests.pipeline(runNonce="", deadline="2h"))
    stage.settle()
    assert len(_orders(stage)) == 2
    stage.wait(600)
    stage.settle()
    assert len(_orders(stage)) == 1


def _orders(stage: Scene) -> list[Any]:
    owned = f"{objects.OWNER_KIND}=Pipeline"
    return stage.cluster.items("ConfigMap", "default", owned)


# ── what was harvested stays ──


def _pods_go(stage: Scene) -> None:
    for pod in stage.cluster.items("Pod"):
        stage.cluster.remove(Ref.of(pod))


def test_what_was_harvested_outlives_its_pods_and_costs_no_write() -> None:
    stage = scene.quickstart()
    stage.settle()
    found = jobs.report("inspect-source", streams=[StreamReport(name="cities", fields=3, files=1)])
    stage.finish(stage.jobs("inspect-source")[0], found)
    for purpose in ("inspect-destination", "migrate"):
        stage.settle()
        stage.finish(stage.jobs(purpose)[0])
    stage.settle()
    stage.finish(stage.jobs("ingest")[0], jobs.report(loaded=7, quarantined=1))
    stage.settle()
    before = [item["status"] for item in _five(stage)]
    assert before[0]["streams"] == [{"name": "cities", "fields": 3, "files": 1}]
    assert before[-1]["lastRun"]["rowsLoaded"] == 7
    _pods_go(stage)
    assert stage.settle() == []
    stage.wait(3600)
    assert stage.settle() == []
    assert stage.restarted().settle() == []
    assert [item["status"] for item in _five(stage)] == before


def test_a_dataset_keeps_its_counts_and_its_quality_when_its_pipeline_is_deleted() -> None:
    stage = scene.quickstart()
    for purpose in ("inspect-source", "inspect-destination", "migrate"):
        stage.settle()
        entry = DatasetReport(name="cities", state="Ready", rows=0, quarantined=0)
        told = jobs.report(purpose, finished_at=jobs.BEGAN, datasets=[entry] if purpose == "migrate" else [])
        stage.finish(stage.jobs(purpose)[0], told)
    stage.settle()
    stage.finish(stage.jobs("ingest")[0], jobs.report(loaded=7, quarantined=1))
    stage.settle()
    before = stage.status("Dataset", "cities")
    assert before["rows"] == 7
    stage.cluster.remove(Ref("Pipeline", "default", "cities"))
    stage.settle()
    stage.restarted().settle()
    assert stage.status("Dataset", "cities") == before


def test_the_cause_of_a_failure_outlives_its_pod_so_that_the_run_is_not_tried_again() -> None:
    stage = scene.ready()
    failure = jobs.report(state="Failed", reason="TooManyBadRows", message="7 of 10 rows are bad", datasets=[])
    stage.finish(stage.jobs("ingest")[0], failure)
    stage.settle()
    _pods_go(stage)
    stage.wait(3600)
    assert stage.settle() == []
    assert stage.condition("Pipeline", "cities", "LastRunSucceeded")["reason"] == "TooManyBadRows"


def test_an_inspection_whose_report_was_lost_before_it_was_harvested_is_repeated() -> None:
    stage = scene.quickstart()
    stage.settle()
    stage.finish(stage.jobs("inspect-source")[0])
    _pods_go(stage)
    stage.settle()
    told = stage.condition("Source", "cities", "Discovered")
    assert (told["status"], told["reason"]) == ("Unknown", "ReportLost")
    stage.wait(15)
    stage.settle()
    stage.finish(stage.jobs("inspect-source")[1])
    stage.settle()
    assert stage.condition("Source", "cities", "Discovered")["status"] == "True"


def test_an_inspection_whose_pod_is_seen_after_its_end_is_not_repeated() -> None:
    stage = scene.quickstart()
    stage.settle()
    stage.finish(stage.jobs("inspect-source")[0])
    (pod,) = stage.cluster.items("Pod")
    stage.cluster.remove(Ref.of(pod))
    stage.settle()
    stage.cluster.put(pod)
    stage.settle()
    assert stage.condition("Source", "cities", "Discovered")["status"] == "True"
    stage.wait(3600)
    assert stage.settle() == []


def test_an_earlier_failed_attempt_tells_nothing_once_a_later_one_succeeded() -> None:
    stage = scene.quickstart()
    stage.settle()
    stage.finish(stage.jobs("inspect-source")[0], exitCode=1)
    stage.settle()
    stage.wait(15)
    stage.settle()
    stage.finish(stage.jobs("inspect-source")[1])
    stage.settle()
    stage.cluster.remove(Ref.of(stage.jobs("inspect-source")[1]))
    stage.wait(3600)
    assert stage.settle() == []
    assert stage.condition("Source", "cities", "Discovered")["status"] == "True"


# ── drift and refusals ──


def test_what_others_change_of_ours_is_put_right_with_one_write() -> None:
    stage = scene.ready(runNonce="", schedule=["0 3 * * *"])
    cronjob = Ref("CronJob", "default", "cities-pipeline-0")
    stage.cluster.change(cronjob, {"spec": {"concurrencyPolicy": "Allow"}})
    assert stage.settle() == [Call("apply", cronjob)]
    assert stage.cluster.read(cronjob)["spec"]["concurrencyPolicy"] == "Forbid"


def test_a_foreign_object_of_a_name_we_need_is_a_condition_until_it_is_gone() -> None:
    stage = scene.ready(runNonce="")
    cronjob = Ref("CronJob", "default", "cities-pipeline-0")
    stage.apply({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": cronjob.name}, "spec": {}})
    stage.apply(manifests.pipeline(runNonce="", schedule=["0 3 * * *"]))
    stage.settle()
    ready = stage.condition("Pipeline", "cities", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "NameConflict")
    stage.cluster.remove(cronjob)
    stage.settle()
    assert stage.condition("Pipeline", "cities", "Ready")["status"] == "True"


@pytest.mark.parametrize(("code", "reason"), [(422, "InvalidSpec"), (403, "UnknownError"), (400, "InvalidSpec")])
def test_what_the_api_server_refuses_is_a_condition_and_is_tried_again(code: int, reason: str) -> None:
    stage = scene.quickstart()
    graph = stage.graph("Dataset", "cities")
    (start,) = due.runs(graph, Seen(()), stage.now)
    job = Ref.of(runs.job(graph, start))
    stage.cluster.refuse[Call("create", job)] = ClusterError(code, "Invalid", "quantities must match the expression")
    again = stage.reconcile("Dataset", "cities")
    ready = stage.condition("Dataset", "cities", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", reason)
    assert "quantities must match" in ready["message"]
    assert again is not None
    assert (again - stage.now).total_seconds() <= 60


def test_a_catalog_name_that_is_taken_is_a_condition_too() -> None:
    stage = scene.quickstart()
    stage.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cities-catalog"}, "data": {}})
    stage.settle()
    (inspection,) = stage.jobs("inspect-source")
    stage.cluster.logs[f"{inspection['metadata']['name']}-1"] = 'penstock-catalog {"streams": []}'
    stage.finish(inspection)
    stage.settle()
    assert stage.condition("Source", "cities", "Ready")["reason"] == "NameConflict"
    assert stage.condition("Source", "cities", "Reachable")["status"] == "True"


# ── events ──


def test_events_are_written_on_transitions_only_and_never_stand_in_the_way() -> None:
    stage = scene.Scene()
    stage.cluster.refuse[Call("create", Ref("Event", "default", ""))] = ClusterError(403, "Forbidden", "no events here")
    stage.apply(manifests.source())
    stage.settle()
    assert stage.condition("Source", "cities", "Ready")["status"] == "True"
    told = scene.ready()
    words = [event["reason"] for event in told.cluster.items("Event") if event["involvedObject"]["kind"] == "Pipeline"]
    assert sorted(words) == ["Ready", "RunStarted"]
