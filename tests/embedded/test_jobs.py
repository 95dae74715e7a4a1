"""Jobs and CronJobs with the fields our operator emits, and the Pods they start as local processes."""

import datetime
import json
import time
from typing import Any

import pytest

from embedded.harness import Json, Kube, claim, held, job, until
from localkube import cronjobs

MERGE = "application/merge-patch+json"
_POLICY = {
    "rules": [
        {"action": "FailJob", "onExitCodes": {"containerName": "worker", "operator": "In", "values": [2]}},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
    ]
}


def _ended(kube: Kube, name: str, kind: str, seconds: float = 15) -> Json:
    def look() -> Json | None:
        item = kube.get(f"jobs/{name}")
        return item if kind in held(item) else None

    return until(look, seconds) or {}


def _pods(kube: Kube, name: str) -> list[Json]:
    items: list[Json] = kube.get(f"pods?labelSelector=job-name%3D{name}")["items"]
    return items


def test_a_job_runs_and_its_message_and_log_are_told(kube: Kube) -> None:
    kube.apply(job("ok", 'echo hello; printf "{}" > $PENSTOCK_POD_ROOT/dev/termination-log'))
    ended = _ended(kube, "ok", "Complete")

    assert held(ended) == {"SuccessCriteriaMet": "CompletionsReached", "Complete": "CompletionsReached"}
    assert (ended["status"]["succeeded"], ended["status"]["ready"]) == (1, 0)
    state = _pods(kube, "ok")[0]["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (state["exitCode"], state["reason"], state["message"]) == (0, "Completed", "{}")
    assert kube.ctl("logs", "job/ok") == "hello\n"
    assert "Job completed" in kube.ctl("describe", "job", "ok")


def test_logs_are_followed_to_the_end(kube: Kube) -> None:
    kube.apply(job("talk", "echo one; sleep 1; echo two"))
    until(lambda: [p for p in _pods(kube, "talk") if p["status"]["phase"] == "Running"])

    assert kube.ctl("logs", "-f", "job/talk") == "one\ntwo\n"
    assert kube.ctl("logs", "job/talk", "--tail=1") == "two\n"


def test_a_failure_is_retried_up_to_the_limit(kube: Kube, is_real: bool) -> None:
    kube.apply(job("bad", "exit 1", backoffLimit=1))
    ended = _ended(kube, "bad", "Failed", 30 if is_real else 10)

    assert held(ended) == {"FailureTarget": "BackoffLimitExceeded", "Failed": "BackoffLimitExceeded"}
    assert ended["status"]["failed"] == 2
    assert len(_pods(kube, "bad")) == 2


def test_an_exit_code_of_the_policy_fails_at_once(kube: Kube) -> None:
    kube.apply(job("conf", "exit 2", backoffLimit=6, podFailurePolicy=_POLICY, podReplacementPolicy="Failed"))
    ended = _ended(kube, "conf", "Failed")

    pod = _pods(kube, "conf")[0]["metadata"]["name"]
    failed = next(c for c in ended["status"]["conditions"] if c["type"] == "Failed")
    assert failed["reason"] == "PodFailurePolicy"
    expected = (
        f"Container worker for pod {kube.namespace}/{pod} failed with exit code 2 matching FailJob rule at index 0"
    )
    assert failed["message"] == expected


def test_a_deadline_ends_the_pod(kube: Kube) -> None:
    kube.apply(job("slow", "sleep 60", activeDeadlineSeconds=1))
    ended = _ended(kube, "slow", "Failed")

    assert held(ended)["Failed"] == "DeadlineExceeded"
    until(lambda: not _pods(kube, "slow"))


def test_a_suspended_job_is_admitted_with_annotations(kube: Kube) -> None:
    script = 'printf "%s" "$RUN" > $PENSTOCK_POD_ROOT/dev/termination-log'
    item = job("gate", script, suspend=True)
    annotation = {"fieldRef": {"fieldPath": "metadata.annotations['penstock.dev/run']"}}
    container = item["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "RUN", "valueFrom": annotation}]
    kube.apply(item)
    until(lambda: "Suspended" in held(kube.get("jobs/gate")))
    stamp = {"metadata": {"annotations": {"penstock.dev/run": "r1"}}}
    code, status = kube.http("PATCH", "jobs/gate", {"spec": {"template": {"spec": {"volumes": []}}}}, MERGE)
    assert code == 200, status  # an empty list is no change

    kube.http("PATCH", "jobs/gate", {"spec": {"suspend": False, "template": stamp}}, MERGE)
    _ended(kube, "gate", "Complete")

    state = _pods(kube, "gate")[0]["status"]["containerStatuses"][0]["state"]["terminated"]
    assert state["message"] == "r1"
    code, status = kube.http("PATCH", "jobs/gate", {"spec": {"template": {"metadata": {"labels": {"x": "y"}}}}}, MERGE)
    assert code == 422
    assert status["message"].endswith("field is immutable")


def test_deleting_a_job_ends_its_process(kube: Kube) -> None:
    kube.apply(job("long", 'trap "exit 0" TERM; while true; do sleep 0.1; done'))
    until(lambda: [p for p in _pods(kube, "long") if p["status"]["phase"] == "Running"])

    kube.ctl("delete", "job", "long", "--timeout=10s")

    until(lambda: not _pods(kube, "long"))


def test_deleting_a_running_pod_is_a_failure_and_it_is_replaced_after_its_end(kube: Kube) -> None:
    kube.apply(job("again", "sleep 60", backoffLimit=3, podReplacementPolicy="Failed"))
    first = until(lambda: [p for p in _pods(kube, "again") if p["status"]["phase"] == "Running"])[0]["metadata"]["name"]

    kube.ctl("delete", "pod", first, "--grace-period=1")

    until(lambda: kube.get("jobs/again")["status"].get("failed") == 1)
    kube.ctl("delete", "job", "again")


def test_config_and_secrets_are_mounted_and_optional_ones_may_miss(kube: Kube) -> None:
    kube.ctl("create", "configmap", "order", "--from-literal=order.json=one")
    kube.ctl("create", "secret", "generic", "creds", "--from-literal=key=two")
    script = "cd $PENSTOCK_POD_ROOT; cat etc/order/order.json secrets/key; ls none; echo x > scratch/y; cat volumes/d/z"
    item = job("mounts", script)
    pod = item["spec"]["template"]["spec"]
    pod["volumes"] = [
        {"name": "order", "configMap": {"name": "order"}},
        {"name": "creds", "secret": {"secretName": "creds"}},
        {"name": "none", "secret": {"secretName": "nope", "optional": True}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "data", "persistentVolumeClaim": {"claimName": "d"}},
    ]
    where = {"order": "/etc/order", "creds": "/secrets", "none": "/none", "scratch": "/scratch", "data": "/volumes/d"}
    pod["containers"][0]["volumeMounts"] = [{"name": name, "mountPath": path} for name, path in where.items()]
    kube.apply(claim("d"))
    kube.apply(item)

    _ended(kube, "mounts", "Failed")  # nobody has put z into the claim yet

    assert kube.ctl("logs", "job/mounts").startswith("onetwocat: volumes/d/z")


def test_a_missing_claim_is_waited_for(kube: Kube) -> None:
    item = job("placed", "true")
    item["spec"]["template"]["spec"]["volumes"] = [{"name": "v", "persistentVolumeClaim": {"claimName": "later"}}]
    kube.apply(item)

    def held() -> Any:
        [condition] = _pods(kube, "placed")[0]["status"].get("conditions", [{}]) if _pods(kube, "placed") else [{}]
        return condition.get("reason") and condition

    condition = until(held)
    assert (condition["type"], condition["status"], condition["reason"]) == ("PodScheduled", "False", "Unschedulable")
    assert 'persistentvolumeclaim "later" not found' in condition["message"]
    kube.apply(claim("later"))
    _ended(kube, "placed", "Complete")


def test_a_missing_secret_is_waited_for(kube: Kube) -> None:
    item = job("wait", "true")
    pod = item["spec"]["template"]["spec"]
    pod["volumes"] = [{"name": "s", "secret": {"secretName": "late"}}]
    kube.apply(item)

    def waiting() -> Any:
        statuses = _pods(kube, "wait")[0]["status"].get("containerStatuses") if _pods(kube, "wait") else None
        return statuses and statuses[0]["state"].get("waiting")

    assert until(waiting) == {"reason": "CreateContainerConfigError", "message": 'secret "late" not found'}
    kube.ctl("create", "secret", "generic", "late")
    _ended(kube, "wait", "Complete")


def test_a_foreign_image_waits_and_says_why(kube: Kube) -> None:
    item = job("foreign", "true")
    item["spec"]["template"]["spec"]["containers"][0]["image"] = "nginx:1"
    kube.apply(item)

    until(lambda: "ErrImageNeverPull" in kube.ctl("get", "pods"))
    assert "local processes of the worker image" in kube.ctl("describe", "pod", "-l", "job-name=foreign")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"completions": 2}, "spec.completions other than 1"),
        ({"completionMode": "Indexed", "completions": 1}, "completionMode Indexed"),
        ({"ttlSecondsAfterFinished": 5}, "ttlSecondsAfterFinished"),
    ],
)
def test_what_is_not_done_here_is_refused_by_name(kube: Kube, is_real: bool, spec: Json, words: str) -> None:
    if is_real:
        return
    printed = kube.apply(job("no", "true", **spec), ok=False)
    assert f"{words}: not supported by penstock's embedded Kubernetes" in printed


def test_wrong_jobs_are_told_in_the_servers_words(kube: Kube) -> None:
    item = job("bad", "true", podFailurePolicy={"rules": [{"action": "X"}]})
    item["spec"]["template"]["spec"].pop("restartPolicy")

    printed = kube.apply(item, ok=False)

    known = '"Count", "FailIndex", "FailJob", "Ignore"'
    assert f'spec.podFailurePolicy.rules[0].action: Unsupported value: "X": supported values: {known}' in printed
    assert 'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"' in printed


# ── CronJobs ─────────────────────────────────────────────────────────────────
def _cronjob(script: str = "true", **spec: Any) -> Json:
    template = {"spec": job("x", script, suspend=True)["spec"]}
    spec = {"schedule": "* * * * *", "concurrencyPolicy": "Forbid", **spec, "jobTemplate": template}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"}, "spec": spec}


def _miss(kube: Kube, minutes: int) -> int:
    """Set the last time of the CronJob to some minutes ago; returns the minute that it will make a Job for."""
    last = time.strftime("%Y-%m-%dT%H:%M:00Z", time.gmtime(time.time() - 60 * minutes))
    kube.http("PATCH", "cronjobs/nightly/status", {"status": {"lastScheduleTime": last}}, MERGE)
    return int(time.time()) // 60


def test_a_cronjob_makes_one_job_for_what_it_missed_and_waits_for_its_job(kube: Kube) -> None:
    kube.apply(_cronjob(timeZone="Europe/Paris"))
    minute = _miss(kube, 5)

    jobs = until(lambda: kube.get("jobs")["items"])

    assert jobs[0]["metadata"]["name"] in (f"nightly-{minute}", f"nightly-{minute + 1}")
    stamp = jobs[0]["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"]
    assert stamp.endswith(("+01:00", "+02:00"))
    status = until(
        lambda: kube.get("cronjobs/nightly")["status"].get("active") and kube.get("cronjobs/nightly")["status"]
    )
    assert status["active"][0]["name"] == jobs[0]["metadata"]["name"]
    assert len(kube.get("jobs")["items"]) == 1
    assert "Suspended" in held(until(lambda: held(kube.get("jobs")["items"][0]) and kube.get("jobs")["items"][0]))


_NOON = datetime.datetime(2026, 6, 1, 12, 0, 30, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("schedule", "minutes", "number", "latest"),
    [
        ("* * * * *", 0, 0, None),
        ("* * * * *", 1, 1, "2026-06-01T12:00"),
        ("* * * * *", 100, 100, "2026-06-01T12:00"),
        ("* * * * *", 101, 101, "2026-06-01T12:00"),
        ("* * * * *", 600_000, 600_000, "2026-06-01T12:00"),
        ("0 3 * * *", 24 * 60, 1, "2026-06-01T03:00"),
        # By the distance of the first two, as Kubernetes does: 31 days, a minute.
        ("0 3 1 * *", 365 * 24 * 60, 11, "2026-06-01T03:00"),
        ("0,1 3 * * *", 3 * 24 * 60, 3421, "2026-06-01T03:01"),
        ("59 23 31 2 *", 365 * 24 * 60, 0, None),
    ],
)
def test_missed_times_are_counted_as_kubernetes_does(
    schedule: str, minutes: int, number: int, latest: str | None
) -> None:
    since = _NOON.replace(second=0) - datetime.timedelta(minutes=minutes)
    missed = cronjobs.Missed.of({"schedule": schedule}, since, _NOON)
    assert missed.latest == (datetime.datetime.fromisoformat(f"{latest}:00+00:00") if latest else None)
    assert missed.number == number
    assert missed.following is None or missed.following > _NOON


def test_more_than_a_hundred_missed_times_are_told_and_one_job_starts_for_all(kube: Kube) -> None:
    kube.apply(_cronjob())
    _miss(kube, 150)
    (made,) = until(lambda: kube.get("jobs")["items"])
    told = [event["message"] for event in kube.get("events")["items"] if event["reason"] == "TooManyMissedTimes"]
    assert told == ["too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"]
    assert made["metadata"]["name"].startswith("nightly-")


def test_a_suspended_cronjob_makes_no_job_and_a_job_can_be_made_by_hand(kube: Kube) -> None:
    kube.apply(_cronjob(suspend=True))
    _miss(kube, 5)

    kube.ctl("create", "job", "manual", "--from=cronjob/nightly")

    made = kube.get("jobs/manual")
    assert made["metadata"]["annotations"] == {"cronjob.kubernetes.io/instantiate": "manual"}
    assert made["metadata"]["ownerReferences"][0]["name"] == "nightly"
    assert made["spec"]["suspend"] is True
    assert [j["metadata"]["name"] for j in kube.get("jobs")["items"]] == ["manual"]


def test_history_is_kept_as_long_as_asked(kube: Kube) -> None:
    kube.apply(_cronjob(suspend=True, successfulJobsHistoryLimit=1))
    for name in ("one", "two"):
        kube.ctl("create", "job", name, "--from=cronjob/nightly")
        kube.http("PATCH", f"jobs/{name}", {"spec": {"suspend": False}}, MERGE)
        until(lambda name=name: "Complete" in held(kube.http("GET", f"jobs/{name}")[1]) or name == "one")  # type: ignore[misc]
        time.sleep(1)

    until(lambda: len(kube.get("jobs")["items"]) == 1, 20)


def test_wrong_schedules_are_told(kube: Kube) -> None:
    printed = kube.apply(_cronjob(schedule="x", timeZone="Mars"), ok=False)

    assert 'spec.schedule: Invalid value: "x": expected exactly 5 fields, found 1: [x]' in printed
    assert 'spec.timeZone: Invalid value: "Mars": unknown time zone Mars' in printed


def test_deleting_a_cronjob_takes_its_jobs_along(kube: Kube) -> None:
    kube.apply(_cronjob(suspend=True))
    kube.ctl("create", "job", "manual", "--from=cronjob/nightly")

    kube.ctl("delete", "cronjob", "nightly")

    until(lambda: not kube.get("jobs")["items"])
    assert json.loads(kube.ctl("get", "pods", "-o", "json"))["items"] == []


def test_a_claim_whose_name_is_a_path_is_not_found(kube: Kube) -> None:
    """Another object of the API has that path: asking for the claim there would find something."""
    item = job("paths", "echo ran")
    name = "../../../../../api/v1/namespaces/default"
    item["spec"]["template"]["spec"]["volumes"] = [{"name": "v", "persistentVolumeClaim": {"claimName": name}}]
    kube.apply(item)

    def held() -> Any:
        [condition] = _pods(kube, "paths")[0]["status"].get("conditions", [{}]) if _pods(kube, "paths") else [{}]
        return condition.get("reason") and condition

    condition = until(held)
    assert (condition["type"], condition["reason"]) == ("PodScheduled", "Unschedulable")
    assert f'persistentvolumeclaim "{name}" not found' in condition["message"]
