"""The CronJob controller, as kubernetes/pkg/controller/cronjob: Jobs at the times of a schedule, and their history."""

import datetime
import functools
from collections.abc import Callable
from dataclasses import dataclass

import kubecron.schedule
import kubecron.times
import kubecron.zones
from localkube import errors, journal
from localkube.asked import Deletion, Options
from localkube.objects import Json, condition, controller, copy, moment, owner
from localkube.writes import Writer

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
_BY = Options("kube-controller-manager")
_STATUS = Options("kube-controller-manager", subresource="status")
_TOO_MANY = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
_MANY = 100  # missed times that are worth a warning


class CronJobs:
    """`reconcile` one CronJob; it answers when it wants to be looked at again."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._cron_jobs, self._jobs = writer.registry.named("cronjobs.batch"), writer.registry.named("jobs.batch")

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Seconds until the next time of its schedule."""
        item = self._writer.store.get(("cronjobs.batch", namespace, name))
        if item is None or "deletionTimestamp" in item["metadata"]:
            return None
        jobs = [j for j in self._writer.store.select("jobs.batch", namespace) if self._is_of(j, item)]
        status = copy(item.get("status", {}))
        self._settle(item, status, jobs)
        self._prune(item, jobs)
        wait = None if item["spec"]["suspend"] else self._start_due(item, status)
        if not status.get("active", True):
            del status["active"]
        self._writer.modify(self._cron_jobs, (namespace, name), lambda c: c.update(status=status), _STATUS)
        return wait

    def _is_of(self, job: Json, item: Json) -> bool:
        return bool((controller(job) or {}).get("uid") == item["metadata"]["uid"])

    def _settle(self, item: Json, status: Json, jobs: list[Json]) -> None:
        """Jobs that have ended or gone leave the active list."""
        by_uid = {job["metadata"]["uid"]: job for job in jobs}
        for reference in list(status.get("active", [])):
            job = by_uid.get(reference["uid"])
            if job is None or _finished(job):
                status["active"].remove(reference)
                ended = f"Saw completed job: {reference['name']}, condition: {_finished(job)}" if job else ""
                self._tell(
                    item,
                    "SawCompletedJob" if job else "MissingJob",
                    ended or f"Active job went missing: {reference['name']}",
                )
        done = [job["status"]["completionTime"] for job in jobs if job.get("status", {}).get("completionTime")]
        if done and max(done) > status.get("lastSuccessfulTime", ""):
            status["lastSuccessfulTime"] = max(done)

    def _prune(self, item: Json, jobs: list[Json]) -> None:
        for kind, key in (("Complete", "successfulJobsHistoryLimit"), ("Failed", "failedJobsHistoryLimit")):
            ended = [job for job in jobs if _finished(job) == kind and "deletionTimestamp" not in job["metadata"]]
            ended.sort(key=lambda job: (job.get("status", {}).get("startTime", ""), job["metadata"]["name"]))
            for job in ended[: max(len(ended) - item["spec"][key], 0)]:
                name = job["metadata"]["name"]
                self._writer.delete(self._jobs, job["metadata"]["namespace"], name, Deletion(propagation="Background"))
                self._tell(item, "SuccessfulDelete", f"Deleted job {name}")

    def _start_due(self, item: Json, status: Json) -> float:
        """Start what is due, once for all times that were missed; seconds until the next time."""
        now = datetime.datetime.now(datetime.UTC)
        missed, following = self._times(item, status, now)
        wait = (following - now).total_seconds() + 0.05
        if missed is None:
            return wait
        deadline = item["spec"].get("startingDeadlineSeconds")
        if deadline is not None and (now - missed).total_seconds() > deadline:
            self._tell(
                item, "MissSchedule", f"Missed scheduled time to start a job: {missed:%a, %d %b %Y %H:%M:%S +0000}"
            )
        elif item["spec"]["concurrencyPolicy"] == "Forbid" and status.get("active"):
            why = "Not starting job because prior execution is running and concurrency policy is Forbid"
            self._tell(item, "JobAlreadyActive", why)
        else:
            self._start(item, status, missed)
        return wait

    def _times(
        self, item: Json, status: Json, now: datetime.datetime
    ) -> tuple[datetime.datetime | None, datetime.datetime]:
        """(the latest time that is due and was not yet acted on, the next one)."""
        spec = item["spec"]
        since = moment(status.get("lastScheduleTime") or item["metadata"]["creationTimestamp"])
        if "startingDeadlineSeconds" in spec:
            since = max(since, now - datetime.timedelta(seconds=spec["startingDeadlineSeconds"]))
        missed = Missed.of(spec, since, now)
        if missed.number > _MANY:
            self._tell(item, "TooManyMissedTimes", _TOO_MANY)
        return missed.latest, missed.following or now + datetime.timedelta(days=1)

    def _start(self, item: Json, status: Json, at: datetime.datetime) -> None:
        template, zone = copy(item["spec"]["jobTemplate"]), kubecron.zones.load(item["spec"].get("timeZone") or "UTC")
        meta = template.get("metadata", {})
        stamp = at.astimezone(zone).isoformat().replace("+00:00", "Z")
        annotations = meta.get("annotations", {}) | {SCHEDULED: stamp}
        name = f"{item['metadata']['name']}-{int(at.timestamp()) // 60}"
        body = {
            "metadata": {"name": name, "annotations": annotations, "ownerReferences": [owner(item)]}
            | ({"labels": meta["labels"]} if meta.get("labels") else {}),
            "spec": template["spec"],
        }
        try:
            job = self._writer.create(self._jobs, item["metadata"]["namespace"], body, _BY)
            self._tell(item, "SuccessfulCreate", f"Created job {name}")
        except errors.Refused as refused:
            if refused.reason != "AlreadyExists":
                self._tell(item, "FailedCreate", f"Error creating job: {refused}")
                return
            existing = self._writer.get(self._jobs, item["metadata"]["namespace"], name)
            if not self._is_of(existing, item):
                return
            job = existing
        reference = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "namespace": item["metadata"]["namespace"]}
        reference |= {"uid": job["metadata"]["uid"], "resourceVersion": job["metadata"]["resourceVersion"]}
        if not _finished(job):
            status.setdefault("active", []).append(reference)
        status["lastScheduleTime"] = at.strftime("%Y-%m-%dT%H:%M:%SZ")

    def _tell(self, item: Json, reason: str, message: str) -> None:
        journal.tell(self._writer, item, "cronjob-controller", reason, message)


@dataclass(frozen=True)
class Missed:
    """The times of a CronJob that have come since it was last acted on, as Kubernetes counts them."""

    latest: datetime.datetime | None
    """The last of them, in UTC; None where none has come."""
    number: int
    """How many there are, by the distance of the first two: that is exact for regular schedules."""
    following: datetime.datetime | None
    """The next time after now; None for a schedule that has no more."""

    @classmethod
    def of(cls, spec: Json, since: datetime.datetime, now: datetime.datetime) -> "Missed":
        """The times of the schedule in `spec` after `since`, up to `now`."""
        schedule = kubecron.schedule.parse(spec["schedule"])
        zone = kubecron.zones.load(spec.get("timeZone") or "UTC")
        after = functools.partial(kubecron.times.next_time, schedule, zone)
        first = after(since)
        if first is None or first > now:
            return cls(None, 0, first)
        second = after(first)
        if second is None or second > now:
            return cls(first, 1, second)
        number = int((now - first).total_seconds()) // round((second - first).total_seconds()) + 1
        return cls(_last(after, second, now), number, after(now))


def _last(
    after: Callable[[datetime.datetime], datetime.datetime | None], early: datetime.datetime, now: datetime.datetime
) -> datetime.datetime:
    """The last time up to `now`; `early` is one of them. It is looked for from the end: there may be a year of them."""
    back, latest = datetime.timedelta(minutes=1), early
    while now - back > early:
        at = after(now - back)
        if at is not None and at <= now:
            latest = at
            break
        back *= 2
    while (at := after(latest)) is not None and at <= now:
        latest = at
    return latest


def _finished(job: Json) -> str:
    return next((k for k in ("Complete", "Failed") if (condition(job, k) or {}).get("status") == "True"), "")
