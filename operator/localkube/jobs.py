"""The Job controller: one Pod at a time until one succeeds or the Job has failed, as kubernetes/pkg/controller/job.

A finished Pod is counted exactly once, also over kill -9: its tracking finalizer goes only after it stands in the
status as uncounted, and the count rises only after the finalizer has gone.
"""

import datetime
from dataclasses import dataclass, field
from typing import Any

from localkube import journal
from localkube.asked import Deletion, Options
from localkube.objects import Json, condition, controller, copy, moment, now, owner
from localkube.writes import Writer

TRACKING = "batch.kubernetes.io/job-tracking"
_BY = Options("kube-controller-manager")
_STATUS = Options("kube-controller-manager", subresource="status")
_LONGEST = 600.0  # seconds between two attempts, at most
_DONE = ("Succeeded", "Failed")


@dataclass
class _Look:
    """A Job with its Pods, and the status being made of them."""

    job: Json
    pods: list[Json]
    status: Json = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.status = copy(self.job.get("status", {}))

    @property
    def active(self) -> list[Json]:
        return [p for p in self.pods if _phase(p) not in _DONE and "deletionTimestamp" not in p["metadata"]]

    @property
    def terminating(self) -> list[Json]:
        return [p for p in self.pods if _phase(p) not in _DONE and "deletionTimestamp" in p["metadata"]]

    def holds(self, kind: str) -> Json | None:
        """The condition, if it is True."""
        entry = condition({"status": self.status}, kind)
        return entry if entry and entry["status"] == "True" else None

    def mark(self, kind: str, reason: str, message: str, holds: bool = True) -> None:
        """Set a condition."""
        conditions = [c for c in self.status.get("conditions", []) if c["type"] != kind]
        entry = {"type": kind, "status": "True" if holds else "False", "lastProbeTime": now()}
        conditions.append(entry | {"lastTransitionTime": now(), "reason": reason, "message": message})
        self.status["conditions"] = conditions


def _phase(pod: Json) -> str:
    return str(pod.get("status", {}).get("phase", "Pending"))


class Jobs:
    """`reconcile` one Job; `backoff` is the seconds before the second attempt (then doubling)."""

    def __init__(self, writer: Writer, backoff: float) -> None:
        self._writer, self._backoff = writer, backoff
        self._jobs, self._pods = writer.registry.named("jobs.batch"), writer.registry.named("pods")

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Seconds until it has to be looked at again, if time alone may change something."""
        job = self._writer.store.get(("jobs.batch", namespace, name))
        if job is None:
            self._release_orphans(namespace, name)
            return None
        look = _Look(job, self._owned(job))
        if "deletionTimestamp" in job["metadata"]:
            for pod in look.pods:
                self._untrack(pod)
            self._tally(look)
            self._save(look)
            return None
        if look.holds("Complete") or look.holds("Failed"):
            for pod in look.pods:
                self._untrack(pod)
            return None
        wait = self._step(look)
        look.status["uncountedTerminatedPods"] = {}
        self._tally(look)
        self._save(look)
        return wait

    def _owned(self, job: Json) -> list[Json]:
        uid, pods = job["metadata"]["uid"], self._writer.store.select("pods", job["metadata"]["namespace"])
        return [pod for pod in pods if (controller(pod) or {}).get("uid") == uid]

    def _step(self, look: _Look) -> float | None:
        spec, status = look.job["spec"], look.status
        if not spec["suspend"] and "startTime" not in status:
            status["startTime"] = now()
        self._count(look)
        self._judge(look)
        if target := look.holds("FailureTarget"):
            self._fail(look, target)
            return None
        if status.get("succeeded", 0) >= 1:
            self._complete(look)
            return None
        if spec["suspend"]:
            self._suspend(look)
            return None
        if condition({"status": status}, "Suspended") and look.holds("Suspended"):
            look.mark("Suspended", "JobResumed", "Job resumed", holds=False)
            status["startTime"] = now()
            self._tell(look, "Resumed", "Job resumed")
        return self._start(look)

    # ── counting ─────────────────────────────────────────────────────────────
    def _count(self, look: _Look) -> None:
        """Pods that have ended since: into the status as uncounted, then untracked, then counted."""
        uncounted = look.status.setdefault("uncountedTerminatedPods", {})
        ended = [
            pod for pod in look.pods if TRACKING in pod["metadata"].get("finalizers", []) and _ended(look.job, pod)
        ]
        for pod in ended:
            failed = _phase(pod) != "Succeeded"
            if failed and look.job["spec"]["suspend"] and "deletionTimestamp" in pod["metadata"]:
                continue  # ended by the suspension: no failure
            action, message = _policy(look.job, pod) if failed else ("Count", "")
            if action == "FailJob" and not look.holds("FailureTarget"):
                look.mark("FailureTarget", "PodFailurePolicy", message)
            listed = uncounted.setdefault("failed" if failed else "succeeded", [])
            if action != "Ignore" and pod["metadata"]["uid"] not in listed:
                listed.append(pod["metadata"]["uid"])
        if any(uncounted.values()):
            self._tally(look)
            self._save(look)
        for pod in ended:
            self._untrack(pod)
        for kind in ("succeeded", "failed"):
            if number := len(uncounted.pop(kind, [])):
                look.status[kind] = look.status.get(kind, 0) + number

    def _tally(self, look: _Look) -> None:
        look.pods = self._owned(look.job)
        ready = sum(bool((condition(p, "Ready") or {}).get("status") == "True") for p in look.active)
        look.status |= {"ready": ready, "terminating": len(look.terminating)}
        look.status.pop("active", None)
        if look.active:
            look.status["active"] = len(look.active)

    def _untrack(self, pod: Json) -> None:
        key = (pod["metadata"]["namespace"], pod["metadata"]["name"])
        if TRACKING in pod["metadata"].get("finalizers", []) and self._writer.store.get(("pods", *key)):
            self._writer.modify(self._pods, key, lambda p: p["metadata"]["finalizers"].remove(TRACKING), _BY)

    def release(self, namespace: str, name: str) -> None:
        """A Pod whose Job has left it behind is nobody's to count."""
        pod = self._writer.store.get(("pods", namespace, name))
        if pod is not None and controller(pod) is None:
            self._untrack(pod)

    def _release_orphans(self, namespace: str, name: str) -> None:
        """Pods of a Job that was deleted are nobody's to count."""
        for pod in self._writer.store.select("pods", namespace):
            reference = controller(pod)
            if reference and reference["kind"] == "Job" and reference["name"] == name:
                self._untrack(pod)

    # ── deciding ─────────────────────────────────────────────────────────────
    def _judge(self, look: _Look) -> None:
        if look.holds("FailureTarget") or look.status.get("succeeded"):
            return
        if look.status.get("failed", 0) > look.job["spec"]["backoffLimit"]:
            look.mark("FailureTarget", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        elif (left := self._time_left(look)) is not None and left <= 0:
            look.mark("FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline")

    def _time_left(self, look: _Look) -> float | None:
        seconds, start = look.job["spec"].get("activeDeadlineSeconds"), look.status.get("startTime")
        if seconds is None or start is None or look.job["spec"]["suspend"]:
            return None
        return float(seconds) - _since(start)

    def _fail(self, look: _Look, target: Json) -> None:
        self._delete(look)
        if not look.active and not look.terminating:
            look.mark("Failed", target["reason"], target["message"])
            self._tell(look, target["reason"], target["message"])

    def _complete(self, look: _Look) -> None:
        message = "Reached expected number of succeeded pods"
        if not look.holds("SuccessCriteriaMet"):
            look.mark("SuccessCriteriaMet", "CompletionsReached", message)
        self._delete(look)
        if not look.active and not look.terminating:
            look.mark("Complete", "CompletionsReached", message)
            look.status["completionTime"] = now()
            self._tell(look, "Completed", "Job completed")

    def _suspend(self, look: _Look) -> None:
        self._delete(look)
        if not look.holds("Suspended"):
            look.mark("Suspended", "JobSuspended", "Job suspended")
            self._tell(look, "Suspended", "Job suspended")

    def _start(self, look: _Look) -> float | None:
        left = self._time_left(look)
        if look.active or (look.terminating and look.job["spec"]["podReplacementPolicy"] == "Failed"):
            return left
        wait = self._backoff_left(look)
        if wait > 0:
            return wait if left is None else min(wait, left)
        job, template = look.job, copy(look.job["spec"]["template"])
        meta = template["metadata"] | {"generateName": f"{job['metadata']['name']}-", "finalizers": [TRACKING]}
        body = {"metadata": meta | {"ownerReferences": [owner(job)]}, "spec": template["spec"]}
        pod = self._writer.create(self._pods, job["metadata"]["namespace"], body, _BY)
        self._tell(look, "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")
        return left

    def _backoff_left(self, look: _Look) -> float:
        """Seconds until the next attempt: doubling with each failure, from the end of the last."""
        failures = [p for p in look.pods if _phase(p) == "Failed"]
        if not failures:
            return 0.0
        ended = max(_finished_at(pod) for pod in failures)
        return float(min(self._backoff * 2 ** (len(failures) - 1), _LONGEST)) - _since(ended)

    # ── acting ───────────────────────────────────────────────────────────────
    def _delete(self, look: _Look) -> None:
        for pod in look.active:
            name = pod["metadata"]["name"]
            self._writer.delete(self._pods, pod["metadata"]["namespace"], name, Deletion(propagation="Background"))
            self._tell(look, "SuccessfulDelete", f"Deleted pod: {name}")
        look.pods = self._owned(look.job)

    def _tell(self, look: _Look, reason: str, message: str) -> None:
        journal.tell(self._writer, look.job, "job-controller", reason, message)

    def _save(self, look: _Look) -> None:
        meta = look.job["metadata"]

        def change(job: Json) -> None:
            job["status"] = copy(look.status)

        self._writer.modify(self._jobs, (meta["namespace"], meta["name"]), change, _STATUS)


def _ended(job: Json, pod: Json) -> bool:
    """Whether a Pod counts as ended for its Job: with TerminatingOrFailed as soon as it is being deleted."""
    going = "deletionTimestamp" in pod["metadata"]
    early = job["spec"]["podReplacementPolicy"] == "TerminatingOrFailed" or job["spec"]["suspend"]
    return _phase(pod) in _DONE or (going and early)


def _since(text: str) -> float:
    return (datetime.datetime.now(datetime.UTC) - moment(text)).total_seconds()


def _finished_at(pod: Json) -> str:
    states = [c.get("state", {}).get("terminated", {}) for c in pod["status"].get("containerStatuses", ())]
    return max((str(s["finishedAt"]) for s in states if s.get("finishedAt")), default=now())


def _policy(job: Json, pod: Json) -> tuple[str, str]:
    """(action, message) of the first podFailurePolicy rule that fits a failed Pod; Count when none does."""
    where = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
    for index, rule in enumerate((job["spec"].get("podFailurePolicy") or {}).get("rules", ())):
        matched = f"matching {rule['action']} rule at index {index}"
        if codes := rule.get("onExitCodes"):
            for status in pod["status"].get("containerStatuses", ()):
                code = status.get("state", {}).get("terminated", {}).get("exitCode", 0)
                if _code_fits(codes, status["name"], code):
                    return rule[
                        "action"
                    ], f"Container {status['name']} for pod {where} failed with exit code {code} {matched}"
        for wanted in rule.get("onPodConditions", ()):
            entry: Any = condition(pod, wanted["type"])
            if entry and entry["status"] == wanted["status"]:
                return rule["action"], f"Pod {where} has condition {wanted['type']} {matched}"
    return "Count", ""


def _code_fits(codes: Json, container: str, code: int) -> bool:
    if code == 0 or codes.get("containerName", container) != container:
        return False
    return (code in codes["values"]) is (codes["operator"] == "In")
