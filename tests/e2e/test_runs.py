"""What starts a run, what holds it back, and what is told of it."""

import functools
import json
import signal
import ssl
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from support import manifests, tlsfront
from support.clusters import Cluster, Session
from support.manifests import GOOD


def _loaded(session: Session, *more: manifests.Manifest) -> None:
    session.put("in", "a.csv", GOOD)
    session.apply(manifests.source(), manifests.lake(), manifests.dataset(), *more)


def test_a_changed_nonce_and_an_annotation_each_start_one_run(session: Session) -> None:
    _loaded(session, manifests.pipeline())
    assert session.last_run("pipeline", "cities", "nonce/1")["rowsLoaded"] == 3

    session.put("in", "b.csv", "id,city,amount\n4,Vadso,4\n")
    session.kubectl("annotate", "pipeline", "cities", "penstock.dev/requestedAt=today")
    run = session.last_run("pipeline", "cities", "requested/today")
    assert (run["rowsLoaded"], run["files"]) == (1, 1)

    session.kubectl("patch", "pipeline", "cities", "--type=merge", "-p", '{"spec":{"runNonce":"2"}}')
    again = session.last_run("pipeline", "cities", "nonce/2")
    assert again["state"] == "Succeeded"
    assert again["rowsRead"] == 0
    status = session.get("pipeline", "cities")["status"]
    assert (status["handledRunNonce"], status["handledRequestedAt"]) == ("2", "today")
    assert len(session.items("jobs")) >= 3
    session.until_rows("cities", 4)


def test_who_waits_for_the_last_run_waits_for_the_one_that_was_asked_for(session: Session) -> None:
    _loaded(session, manifests.pipeline())
    session.wait("pipeline", "cities", "LastRunSucceeded")
    for nonce in ("2", "3"):
        session.kubectl("patch", "pipeline", "cities", "--type=merge", "-p", f'{{"spec":{{"runNonce":"{nonce}"}}}}')
        session.wait("pipeline", "cities", "LastRunSucceeded")
        status = session.get("pipeline", "cities")["status"]
        assert status["handledRunNonce"] == nonce
        assert status["runs"][0]["id"].endswith(f"nonce/{nonce}")


def test_a_changed_file_is_read_again_and_its_earlier_rows_leave(session: Session) -> None:
    _loaded(session, manifests.pipeline())
    session.last_run("pipeline", "cities", "nonce/1")
    session.put("in", "a.csv", GOOD + "4,Vadso,4\n")
    session.kubectl("patch", "pipeline", "cities", "--type=merge", "-p", '{"spec":{"runNonce":"2"}}')
    run = session.last_run("pipeline", "cities", "nonce/2")
    assert (run["rowsRead"], run["rowsLoaded"], run["rowsReplaced"]) == (4, 4, 3)
    session.until_rows("cities", 4)


def test_create_job_from_the_cronjob_is_admitted_as_a_run(session: Session) -> None:
    _loaded(session, manifests.pipeline(runNonce="", schedule=["0 0 1 1 *"]))
    session.wait("pipeline", "cities", "Ready")
    session.kubectl("create", "job", "by-hand", "--from=cronjob/cities-pipeline-0")
    uid = session.get("job", "by-hand")["metadata"]["uid"]
    assert session.last_run("pipeline", "cities", f"manual/{uid}")["rowsLoaded"] == 3


def test_what_a_schedule_starts_is_a_run_whose_interval_ends_at_the_time_that_next_showed(session: Session) -> None:
    _loaded(session, manifests.pipeline(runNonce="", schedule=["* * * * *"], timeZone="Asia/Kathmandu"))

    def pipeline() -> dict[str, Any]:
        status: dict[str, Any] = session.get("pipeline", "cities").get("status", {})
        return status

    shown = session.until(lambda: pipeline().get("nextRunTime"), "NEXT shows a time")
    run = session.until(
        lambda: next(
            (run for run in pipeline().get("runs", []) if run["scheduledTime"] == shown and "finishedAt" in run), None
        ),
        f"the run of {shown}",
    )
    assert run["state"] == "Succeeded"
    assert pipeline()["nextRunTime"] > shown
    assert run["id"] == f"{session.namespace}/cities/schedule/{run['scheduledTime']}"
    assert run["scheduledTime"].endswith(":00Z")


def test_a_suspended_pipeline_starts_nothing_until_it_is_resumed(session: Session) -> None:
    _loaded(session, manifests.pipeline(suspend=True))
    session.until(lambda: session.condition("pipeline", "cities", "Ready").get("reason") == "Suspended", "Suspended")
    session.wait("dataset", "cities", "Ready")
    assert not [job for job in session.items("jobs") if "ingest" in job["metadata"]["name"]]
    session.kubectl("patch", "pipeline", "cities", "--type=merge", "-p", '{"spec":{"suspend":false}}')
    assert session.last_run("pipeline", "cities", "nonce/1")["state"] == "Succeeded"


@pytest.mark.parametrize("cascade", ["background", "foreground"])
def test_a_pipeline_that_is_being_deleted_starts_nothing_more(session: Session, cascade: str) -> None:
    pipeline = manifests.pipeline(runNonce="", schedule=["* * * * *"], suspend=True)
    pipeline["metadata"]["finalizers"] = ["example.com/hold"]
    _loaded(session, pipeline)
    session.wait("dataset", "cities", "Ready")
    session.until(lambda: session.items("cronjobs"), "its CronJob is there")
    session.kubectl("create", "job", "by-hand", "--from=cronjob/cities-pipeline-0")
    session.kubectl("delete", "pipeline", "cities", f"--cascade={cascade}", "--wait=false")
    change = {"spec": {"suspend": False, "runNonce": "1"}}
    session.kubectl("patch", "pipeline", "cities", "--type=merge", "-p", json.dumps(change))
    session.apply(manifests.source("others"))
    session.wait("source", "others", "Reachable")  # the operator has seen all of it by then, and has worked since
    begun = [job for job in session.items("jobs") if "ingest" in job["metadata"]["name"]]
    assert begun == []
    assert all(job["spec"]["suspend"] for job in session.items("jobs") if job["metadata"]["name"] == "by-hand")
    assert all(cronjob["spec"]["suspend"] for cronjob in session.items("cronjobs"))
    release = {"metadata": {"finalizers": None}}
    session.kubectl("patch", "pipeline", "cities", "--type=merge", "-p", json.dumps(release))
    session.until(lambda: not session.items("pipelines"), "it is gone when nothing holds it")


def test_two_pipelines_of_one_dataset_take_turns(session: Session) -> None:
    session.put("in2", "b.csv", GOOD)
    other = manifests.source("others", url="file:///volumes/in2/", volume={"claimName": "in2"})
    second = manifests.pipeline("others", sourceRef={"name": "others"})
    _loaded(session, other, manifests.pipeline(), second)
    first, last = (session.last_run("pipeline", name, "nonce/1") for name in ("cities", "others"))
    assert (first["state"], last["state"]) == ("Succeeded", "Succeeded")
    spans = sorted((run["startedAt"], run["finishedAt"]) for run in (first, last))
    assert spans[0][1] <= spans[1][0]
    session.until_rows("cities", 6)


def test_a_renamed_pipeline_doubles_nothing_and_goes_on_under_the_old_identity(session: Session) -> None:
    _loaded(session, manifests.pipeline())
    session.last_run("pipeline", "cities", "nonce/1")
    session.kubectl("delete", "pipeline", "cities")
    session.put("in", "b.csv", "id,city,amount\n4,Vadso,4\n")
    session.apply(manifests.pipeline("towns"))
    refused = session.last_run("pipeline", "towns", "nonce/1")
    assert (refused["state"], refused["reason"]) == ("Failed", "AlreadyLoaded")
    former = f"{session.namespace}/cities"
    assert f"set `identity: {former}`" in session.condition("pipeline", "towns", "LastRunSucceeded")["message"]

    session.apply(manifests.pipeline("towns", identity=former, runNonce="2"))
    run = session.last_run("pipeline", "towns", "nonce/2")
    assert (run["id"], run["rowsLoaded"], run["files"]) == (f"{former}/nonce/2", 1, 1)
    session.until_rows("cities", 4)


def test_a_deleted_job_is_a_cancelled_run_and_stays_so(session: Session) -> None:
    _loaded(session, manifests.pipeline())
    session.kubectl("patch", "destination", "lake", "--type=merge", "-p", '{"spec":{"suspend":true}}')
    session.until(lambda: [job for job in session.items("jobs") if "ingest" in job["metadata"]["name"]], "a Job")
    session.until(lambda: session.get("pipeline", "cities").get("status", {}).get("lastRun"), "the run is told")
    for job in session.items("jobs"):
        if "ingest" in job["metadata"]["name"]:
            session.kubectl("delete", "job", job["metadata"]["name"])
    session.until(
        lambda: session.get("pipeline", "cities")["status"]["lastRun"]["state"] in ("Cancelled", "Succeeded"),
        "the run is cancelled",
    )
    time.sleep(1)
    assert not [job for job in session.items("jobs") if "ingest" in job["metadata"]["name"]]


def test_what_people_change_of_ours_is_put_back(session: Session) -> None:
    _loaded(session, manifests.pipeline(runNonce="", schedule=["0 0 1 1 *"]))
    session.wait("pipeline", "cities", "Ready")
    session.kubectl("patch", "cronjob", "cities-pipeline-0", "--type=merge", "-p", '{"spec":{"schedule":"1 1 1 1 *"}}')
    session.until(
        lambda: session.get("cronjob", "cities-pipeline-0")["spec"]["schedule"] == "0 0 1 1 *", "the schedule is back"
    )
    session.kubectl("delete", "cronjob", "cities-pipeline-0")
    session.until(lambda: session.items("cronjobs"), "the CronJob is back")
    session.kubectl("patch", "pipeline", "cities", "--type=merge", "-p", '{"spec":{"schedule":[]}}')
    session.until(lambda: not session.items("cronjobs"), "the CronJob is pruned")


def test_children_that_lost_their_labels_get_them_back_and_foreign_ones_are_left_alone(session: Session) -> None:
    _loaded(session, manifests.pipeline(schedule=["0 0 1 1 *"]))
    session.last_run("pipeline", "cities", "nonce/1")
    before = session.get("cronjob", "cities-pipeline-0")["metadata"]
    labels = [f"{name}=theirs" for name in ("app.kubernetes.io/managed-by", "penstock.dev/owner-name")]
    session.kubectl("create", "configmap", "theirs", "--from-literal=a=b")
    session.kubectl("label", "configmap", "theirs", *(f"{name}={value}" for name, value in before["labels"].items()))
    session.kubectl("label", "cronjob", "cities-pipeline-0", "--overwrite", *labels)
    session.kubectl("patch", "pipeline", "cities", "--type=merge", "-p", '{"spec":{"retries":2}}')
    healed = lambda: session.get("cronjob", "cities-pipeline-0")["metadata"]["labels"] == before["labels"]  # noqa: E731
    session.until(healed, "the CronJob has its labels back")
    assert session.get("cronjob", "cities-pipeline-0")["metadata"]["uid"] == before["uid"]
    assert session.get("configmap", "theirs")["data"] == {"a": "b"}
    session.wait("pipeline", "cities", "Ready")


def test_nothing_is_written_when_nothing_changed_nor_after_a_restart(cluster: Cluster, session: Session) -> None:
    _loaded(session, manifests.outbox(), manifests.pipeline(), manifests.subscription())
    session.last_run("pipeline", "cities", "nonce/1")
    session.wait("subscription", "cities", "LastRunSucceeded")
    time.sleep(2)
    before = _versions(session)
    cluster.stop_operator(signal.SIGKILL)
    cluster.start_operator()
    time.sleep(5)
    assert _versions(session) == before
    session.kubectl("patch", "pipeline", "cities", "--type=merge", "-p", '{"spec":{"runNonce":"alive"}}')
    session.last_run("pipeline", "cities", "nonce/alive")


def test_deleting_a_pipeline_takes_its_jobs_and_leaves_the_data(session: Session) -> None:
    _loaded(session, manifests.pipeline())
    session.last_run("pipeline", "cities", "nonce/1")
    session.kubectl("delete", "pipeline", "cities")
    session.until(
        lambda: not [job for job in session.items("jobs") if "ingest" in job["metadata"]["name"]], "its Jobs are gone"
    )
    session.apply(manifests.pipeline(runNonce="again"))
    run = session.last_run("pipeline", "cities", "nonce/again")
    assert run["rowsRead"] == 0, "the ledger remembers the files"


def test_what_is_known_outlives_pods_and_pipelines_and_a_repetition_says_what_it_is(session: Session) -> None:
    _loaded(session, manifests.pipeline())
    told = session.last_run("pipeline", "cities", "nonce/1")
    session.until_rows("cities", 3)
    session.wait("source", "cities", "Discovered")
    known = {name: session.get(*name)["status"] for name in (("pipeline", "cities"), ("source", "cities"))}
    dataset = session.get("dataset", "cities")["status"]

    session.kubectl("delete", "pods", "--all")
    session.kubectl("annotate", "pipeline,source", "--all", "looked=again")
    time.sleep(2)
    assert {name: session.get(*name)["status"] for name in known} == known
    assert len(session.items("jobs")) == 4, "nothing was started"

    session.kubectl("delete", "pipeline", "cities")
    session.until(lambda: len(session.items("jobs")) == 3, "its Job is gone")
    session.kubectl("annotate", "dataset", "cities", "looked=again")
    time.sleep(2)
    assert session.get("dataset", "cities")["status"] == dataset

    session.apply(manifests.pipeline())
    again = session.last_run("pipeline", "cities", "nonce/1")
    assert (again["state"], again["rowsLoaded"]) == ("Succeeded", 3)
    assert told["startedAt"] <= again["finishedAt"] <= told["finishedAt"], "when it was committed"
    words = session.condition("pipeline", "cities", "LastRunSucceeded")["message"]
    assert words.startswith(f"already carried out at {again['finishedAt']}")
    session.until(
        lambda: session.get("dataset", "cities")["status"]["lastReportTime"] != dataset["lastReportTime"], "told again"
    )
    after = session.get("dataset", "cities")["status"]
    assert (after["rows"], after["lastLoadTime"]) == (3, dataset["lastLoadTime"])


def _versions(session: Session) -> dict[str, str]:
    kinds = "penstock,jobs,cronjobs,configmaps,events"
    found = json.loads(session.kubectl("get", kinds, "-o", "json"))["items"]
    return {
        f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["resourceVersion"]
        for item in found
        if item.get("involvedObject", {}).get("kind") not in ("Pod", "Job", "CronJob")
    }


def test_a_load_starts_a_delivery_within_the_limit_of_its_systems_and_makes_its_dataset_fresh(session: Session) -> None:
    limited = manifests.lake()
    limited["spec"]["maxConcurrentRuns"] = 1
    trigger = {"after": [{"datasetRef": {"name": "cities"}}]}
    session.put("in", "a.csv", GOOD)
    session.apply(manifests.source(), limited, manifests.dataset(freshness="2h"), manifests.pipeline())
    session.apply(manifests.outbox(), manifests.subscription(trigger=trigger))
    assert session.last_run("subscription", "cities", "first")["state"] == "Succeeded"
    session.wait("dataset", "cities", "Fresh")

    session.put("in", "b.csv", "id,city,amount\n4,Vadso,4\n")
    session.kubectl("patch", "pipeline", "cities", "--type=merge", "-p", '{"spec":{"runNonce":"2"}}')
    session.last_run("pipeline", "cities", "nonce/2")
    loaded = session.until(
        lambda: session.get("dataset", "cities")["status"]["lastLoadTime"], "the Dataset has a newer load"
    )
    assert session.last_run("subscription", "cities", f"after/cities/{loaded}")["state"] == "Succeeded"
    status = session.get("subscription", "cities")["status"]
    assert status["handledLoads"] == [{"dataset": "cities", "load": loaded}]
    assert status["deliveries"][0]["rows"] == 4


def test_a_server_of_our_own_authority_is_trusted_by_its_ca_bundle(session: Session, tmp_path: Path) -> None:
    if session.cluster.place.enter:
        pytest.skip("the server runs on this machine alone")
    right, wrong = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    right.issue_cert("localhost").configure_cert(context)
    (tmp_path / "a.csv").write_text(GOOD)
    for name, authority in (("right", right), ("wrong", wrong)):
        bundle = {"ca.crt": authority.cert_pem.bytes().decode()}
        session.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": bundle})

    def source(name: str, bundle: str) -> manifests.Manifest:
        place = {"url": f"https://localhost:{port}/a.csv", "format": {"csv": {}}}
        files = {**place, "caBundle": {"configMapRef": {"name": bundle}}}
        return manifests.of("Source", name, {"connector": {"files": files}})

    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with tlsfront.https(server.server_address[1], context) as port:
            session.apply(source("cities", "right"), source("others", "wrong"), manifests.lake(), manifests.dataset())
            session.apply(manifests.pipeline())
            assert session.last_run("pipeline", "cities", "nonce/1")["rowsLoaded"] == 3
            refused = session.until(lambda: session.condition("source", "others", "Reachable"), "it is checked")
            assert (refused["status"], refused["reason"]) == ("False", "TlsFailed")
            assert "Name the authority that has signed it in caBundle" in refused["message"]
        server.shutdown()
