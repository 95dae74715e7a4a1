"""Pods, Jobs and CronJobs as they are stored: defaults, validation and what is refused here.

Defaults and words are the real API server's. Accepted without effect, because a local process has none of it:
securityContext, resources, nodeSelector, tolerations, affinity, service accounts, priority, DNS, probes.
"""

import re
from collections.abc import Iterator
from typing import Any

import orjson

import kubecron.schedule
import kubecron.zones
from localkube import errors, naming
from localkube.errors import Problem
from localkube.objects import Json, copy

_UID_LABEL = "batch.kubernetes.io/controller-uid"
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_VOLUMES = ("configMap", "secret", "emptyDir", "persistentVolumeClaim")


def _shown(value: Any) -> str:
    """A value as Go prints it in a message: JSON, but for characters that are not printable."""
    text = re.sub(r"\\u00([01][0-9a-f])", r"\\x\1", orjson.dumps(value).decode())
    return "".join(each if each.isprintable() else _escaped(ord(each)) for each in text)


def _escaped(code: int) -> str:
    """A character that is not printable, as Go's %q writes it."""
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# ── Pods ─────────────────────────────────────────────────────────────────────
def complete_pod_spec(spec: Json) -> None:
    """Defaults of a Pod or Pod template."""
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    spec.setdefault("terminationGracePeriodSeconds", 30)
    if "serviceAccountName" in spec:
        spec.setdefault("serviceAccount", spec["serviceAccountName"])
    for container in spec.get("containers", []):
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        container.setdefault("resources", {})
        tag = container.get("image", "").rpartition("/")[2].partition(":")[2]
        container.setdefault("imagePullPolicy", "Always" if tag in ("", "latest") else "IfNotPresent")
        for variable in container.get("env", []):
            if "fieldRef" in variable.get("valueFrom", {}):
                variable["valueFrom"]["fieldRef"].setdefault("apiVersion", "v1")
    for volume in spec.get("volumes", []):
        if not [key for key in volume if key != "name"]:
            volume["emptyDir"] = {}
        for kind in ("configMap", "secret", "projected", "downwardAPI"):
            if kind in volume:
                volume[kind].setdefault("defaultMode", 420)


def default_pod(pod: Json) -> None:
    """Defaults of a Pod."""
    spec = pod.setdefault("spec", {})
    spec.setdefault("restartPolicy", "Always")
    complete_pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)


def prepare_pod(pod: Json, old: Json | None) -> None:
    """What admission adds to a new Pod."""
    if old is None:
        pod["spec"].setdefault("serviceAccountName", "default")
        pod["spec"].setdefault("serviceAccount", pod["spec"]["serviceAccountName"])
        pod["status"] = {"phase": "Pending", "qosClass": "BestEffort"}


def check_pod(pod: Json, old: Json | None) -> Iterator[Problem]:
    """Problems of a Pod; a stored one may change its metadata only."""
    if old is None:
        yield from _pod_spec(pod["spec"], "spec")
    elif pod["spec"] != old["spec"]:
        text = "pod updates may not change fields other than metadata in penstock's embedded Kubernetes"
        yield Problem.forbidden("spec", text)


def refuse_pod_spec(spec: Json, path: str) -> None:
    """What the node could not run is refused at the door, by name."""
    for key in ("initContainers", "ephemeralContainers", "hostNetwork", "hostPID", "hostIPC", "activeDeadlineSeconds"):
        if spec.get(key):
            raise errors.not_here(f"{path}.{key}")
    if len(spec.get("containers", [])) > 1:
        raise errors.not_here(f"{path}.containers: more than one container")
    for number, volume in enumerate(spec.get("volumes", [])):
        kind = next((key for key in volume if key != "name"), "")
        if kind and kind not in _VOLUMES:
            raise errors.not_here(f"{path}.volumes[{number}].{kind}")
    for container in spec.get("containers", []):
        for key in ("envFrom", "lifecycle", "livenessProbe", "readinessProbe", "startupProbe", "stdin", "tty"):
            if container.get(key):
                raise errors.not_here(f"{path}.containers[0].{key}")


def _pod_spec(spec: Json, path: str) -> Iterator[Problem]:
    yield from _volumes(spec.get("volumes", []), f"{path}.volumes")
    if not spec.get("containers"):
        yield Problem.required(f"{path}.containers")
    names: set[str] = set()
    for number, container in enumerate(spec.get("containers", [])):
        place = f"{path}.containers[{number}]"
        yield from naming.label_problems(container.get("name", ""), f"{place}.name")
        if container.get("name") in names:
            yield _duplicate(f"{place}.name", container["name"])
        names.add(container.get("name", ""))
        if not container.get("image"):
            yield Problem.required(f"{place}.image")
        yield from _environment(container.get("env", []), f"{place}.env")
        yield from _mounts(container.get("volumeMounts", []), spec, f"{place}.volumeMounts")


def _volumes(volumes: list[Json], path: str) -> Iterator[Problem]:
    names: set[str] = set()
    for number, volume in enumerate(volumes):
        place, name = f"{path}[{number}]", volume.get("name", "")
        kinds = [key for key in volume if key != "name" and volume[key] is not None]
        if not kinds:
            yield Problem.required(place, "must specify a volume type")
        for kind in kinds[1:]:
            yield Problem.forbidden(f"{place}.{kind}", "may not specify more than 1 volume type")
        if "persistentVolumeClaim" in kinds[:1] and not volume["persistentVolumeClaim"].get("claimName"):
            yield Problem.required(f"{place}.persistentVolumeClaim.claimName")
        if "secret" in kinds[:1] and not volume["secret"].get("secretName"):
            yield Problem.required(f"{place}.secret.secretName")
        if "configMap" in kinds[:1] and not volume["configMap"].get("name"):
            yield Problem.required(f"{place}.configMap.name")
        yield from naming.label_problems(name, f"{place}.name")
        if name in names:
            yield _duplicate(f"{place}.name", name)
        names.add(name)


def _environment(variables: list[Json], path: str) -> Iterator[Problem]:
    for number, variable in enumerate(variables):
        if not variable.get("name"):
            yield Problem.required(f"{path}[{number}].name")
        if variable.get("value") and variable.get("valueFrom"):
            text = "may not be specified when `value` is not empty"
            yield Problem.invalid(f"{path}[{number}].valueFrom", '""', text)


def _mounts(mounts: list[Json], spec: Json, path: str) -> Iterator[Problem]:
    volumes = {volume["name"] for volume in spec.get("volumes", []) if volume.get("name")}
    paths: set[str] = set()
    for number, mount in enumerate(mounts):
        name, target = mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            yield Problem.required(f"{path}[{number}].name")
        if name not in volumes:
            yield Problem(f"{path}[{number}].name", "FieldValueNotFound", f"Not found: {_shown(name)}")
        if not target:
            yield Problem.required(f"{path}[{number}].mountPath")
        if target in paths:
            yield Problem.invalid(f"{path}[{number}].mountPath", _shown(target), "must be unique")
        paths.add(target)
        parts = mount.get("subPath", "")
        if parts.startswith("/"):
            yield Problem.invalid(f"{path}.subPath", _shown(parts), "must be a relative path")
        if ".." in parts.split("/"):
            yield Problem.invalid(f"{path}.subPath", _shown(parts), "must not contain '..'")


def _duplicate(path: str, name: str) -> Problem:
    return Problem(path, "FieldValueDuplicate", f"Duplicate value: {_shown(name)}")


# ── Jobs ─────────────────────────────────────────────────────────────────────
def complete_job_spec(spec: Json) -> None:
    """Defaults of a Job or of a CronJob's template, as far as they do not depend on a UID."""
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    complete_pod_spec(template.setdefault("spec", {}))
    for rule in (spec.get("podFailurePolicy") or {}).get("rules", []):
        for condition in rule.get("onPodConditions", []):
            condition.setdefault("status", "True")


def default_job(job: Json) -> None:
    """Defaults of a Job."""
    spec = job.setdefault("spec", {})
    complete_job_spec(spec)
    defaults: Json = {"completions": 1, "parallelism": 1, "backoffLimit": 6, "completionMode": "NonIndexed"}
    defaults["podReplacementPolicy"] = "Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed"
    defaults |= {"suspend": False, "manualSelector": False}
    spec |= {key: value for key, value in defaults.items() if key not in spec}
    if labels := spec["template"]["metadata"].get("labels"):
        job["metadata"]["labels"] = job["metadata"].get("labels") or dict(labels)


def prepare_job(job: Json, old: Json | None) -> None:
    """The selector of a new Job."""
    if old is not None:
        return
    spec, uid, name = job["spec"], job["metadata"]["uid"], job["metadata"].get("name", "")
    if spec["manualSelector"] or spec.get("selector"):
        raise errors.not_here("Job spec.selector")
    spec["selector"] = {"matchLabels": {_UID_LABEL: uid}}
    labels = {_UID_LABEL: uid, "batch.kubernetes.io/job-name": name, "controller-uid": uid, "job-name": name}
    spec["template"]["metadata"].setdefault("labels", {}).update(labels)
    job["status"] = {}


def check_job(job: Json, old: Json | None) -> Iterator[Problem]:
    """Problems of a Job; what of a stored one may change."""
    yield from _job_spec(job["spec"], "spec")
    if old is not None:
        yield from _job_update(job, old)
    elif len(job["metadata"]["name"]) > 63:
        yield Problem.invalid("spec.template.labels", _shown(job["metadata"]["name"]), "must be no more than 63 bytes")


def _job_update(job: Json, old: Json) -> Iterator[Problem]:
    new, was = job["spec"], old["spec"]
    for key in ("completions", "selector", "podFailurePolicy", "completionMode"):
        if new.get(key) != was.get(key):
            yield Problem.invalid(f"spec.{key}", _shown(new.get(key)), "field is immutable")
    template, before = copy(new["template"]), copy(was["template"])
    if was.get("suspend") and not old.get("status", {}).get("startTime"):
        # Scheduling directives and metadata of a Job that never ran may be set with its admission.
        for one in (template, before):
            for key in ("annotations", "labels"):
                one["metadata"].pop(key, None)
            for key in ("nodeSelector", "tolerations", "affinity", "schedulingGates"):
                one["spec"].pop(key, None)
            for container in one["spec"].get("containers", []):
                container.pop("resources", None)
    if template != before:
        yield Problem.invalid("spec.template", _shown(new["template"]), "field is immutable")


def refuse_job_spec(spec: Json, path: str) -> None:
    """One Pod at a time, one completion; no clean-up by time."""
    for key in ("successPolicy", "backoffLimitPerIndex", "maxFailedIndexes", "managedBy", "ttlSecondsAfterFinished"):
        if spec.get(key) is not None:
            raise errors.not_here(f"{path}.{key}")
    for key in ("completions", "parallelism"):
        if spec.get(key, 1) != 1:
            raise errors.not_here(f"{path}.{key} other than 1")
    if spec.get("completionMode", "NonIndexed") != "NonIndexed":
        raise errors.not_here(f"{path}.completionMode Indexed")
    if spec["template"]["spec"].get("restartPolicy") == "OnFailure":
        raise errors.not_here(f"{path}.template.spec.restartPolicy OnFailure")
    refuse_pod_spec(spec["template"]["spec"], f"{path}.template.spec")


def _job_spec(spec: Json, path: str) -> Iterator[Problem]:
    for key in ("backoffLimit", "activeDeadlineSeconds"):
        if spec.get(key, 0) < 0:
            yield Problem.invalid(f"{path}.{key}", str(spec[key]), "must be greater than or equal to 0")
    template = spec["template"]["spec"]
    names = [container.get("name") for container in template.get("containers", [])]
    rules = (spec.get("podFailurePolicy") or {}).get("rules", [])
    for number, rule in enumerate(rules):
        yield from _failure_rule(rule, names, f"{path}.podFailurePolicy.rules[{number}]")
    replacement = spec.get("podReplacementPolicy", "Failed")
    allowed = ("Failed",) if rules else ("Failed", "TerminatingOrFailed")
    if replacement not in allowed:
        yield Problem.unsupported(f"{path}.podReplacementPolicy", _shown(replacement), allowed)
    yield from _pod_spec(template, f"{path}.template.spec")
    if template.get("restartPolicy") is None:
        yield Problem.required(f"{path}.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"')
    elif template["restartPolicy"] not in ("Never", "OnFailure"):
        shown = _shown(template["restartPolicy"])
        yield Problem.unsupported(f"{path}.template.spec.restartPolicy", shown, ("OnFailure", "Never"))


def _failure_rule(rule: Json, containers: list[Any], path: str) -> Iterator[Problem]:
    if rule.get("action") not in _ACTIONS:
        yield Problem.unsupported(f"{path}.action", _shown(rule.get("action", "")), _ACTIONS)
    if bool(rule.get("onExitCodes")) == bool(rule.get("onPodConditions")):
        yield Problem(
            path, "FieldValueInvalid", "Invalid value: specifying one of OnExitCodes and OnPodConditions is required"
        )
    codes = rule.get("onExitCodes")
    if not codes:
        return
    name = codes.get("containerName")
    if name is not None and name not in containers:
        text = "must be one of the container or initContainer names in the pod template"
        yield Problem.invalid(f"{path}.onExitCodes.containerName", _shown(name), text)
    if codes.get("operator") not in ("In", "NotIn"):
        yield Problem.unsupported(f"{path}.onExitCodes.operator", _shown(codes.get("operator", "")), ("In", "NotIn"))
    if not codes.get("values"):
        yield Problem.invalid(f"{path}.onExitCodes.values", "[]", "at least one value is required")


# ── CronJobs ─────────────────────────────────────────────────────────────────
def default_cron_job(cron_job: Json) -> None:
    """Defaults of a CronJob."""
    spec = cron_job.setdefault("spec", {})
    defaults = {"concurrencyPolicy": "Allow", "suspend": False, "successfulJobsHistoryLimit": 3}
    defaults["failedJobsHistoryLimit"] = 1
    spec |= {key: value for key, value in defaults.items() if key not in spec}
    complete_job_spec(spec.setdefault("jobTemplate", {}).setdefault("spec", {}))


def prepare_cron_job(cron_job: Json, old: Json | None) -> None:
    """A new one has no history."""
    if old is None:
        cron_job["status"] = {}


def check_cron_job(cron_job: Json, old: Json | None) -> Iterator[Problem]:
    """Problems of a CronJob."""
    spec, name = cron_job["spec"], cron_job["metadata"]["name"]
    if old is None and len(name) > 52:
        yield Problem.invalid("metadata.name", _shown(name), "must be no more than 52 characters")
    yield from _schedule(spec.get("schedule", ""))
    if spec.get("timeZone") is not None:
        yield from _zone(spec["timeZone"])
    if spec["concurrencyPolicy"] not in ("Allow", "Forbid", "Replace"):
        shown = _shown(spec["concurrencyPolicy"])
        yield Problem.unsupported("spec.concurrencyPolicy", shown, ("Allow", "Forbid", "Replace"))
    for key in ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        if spec.get(key, 0) < 0:
            yield Problem.invalid(f"spec.{key}", str(spec[key]), "must be greater than or equal to 0")
    yield from _job_spec(spec["jobTemplate"]["spec"], "spec.jobTemplate.spec")


def refuse_cron_job(cron_job: Json) -> None:
    """What is not done here, by name."""
    if str(cron_job["spec"].get("schedule", "")).startswith("@every"):
        raise errors.not_here("CronJob spec.schedule @every")
    if cron_job["spec"]["concurrencyPolicy"] == "Replace":
        raise errors.not_here("CronJob spec.concurrencyPolicy Replace")
    refuse_job_spec(cron_job["spec"]["jobTemplate"]["spec"], "spec.jobTemplate.spec")


def _schedule(schedule: str) -> Iterator[Problem]:
    if not schedule:
        yield Problem.required("spec.schedule")
        return
    try:
        kubecron.schedule.parse(schedule)
    except kubecron.schedule.InvalidSchedule as invalid:
        yield Problem.invalid("spec.schedule", _shown(schedule), str(invalid))
    if "TZ" in schedule:
        text = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        yield Problem.invalid("spec.schedule", _shown(schedule), text)


def _zone(name: str) -> Iterator[Problem]:
    if not name:
        yield Problem.invalid("spec.timeZone", _shown(name), "timeZone must be nil or non-empty string")
        return
    if name.lower() == "local":
        text = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        yield Problem.invalid("spec.timeZone", _shown(name), text)
    if name != "Local" and name not in kubecron.zones.names():  # Go knows that one
        yield Problem.invalid("spec.timeZone", _shown(name), f"unknown time zone {name}")
