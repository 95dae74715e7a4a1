"""Wanted objects against live ones: what is a difference, what is not, and what goes when."""

import copy
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from penstock.control import drift
from penstock.control.cluster.port import Manifest
from penstock.control.desired import objects as desired
from penstock.language import scalars, times
from support import jobs, manifests, scene

NOW = times.parse("2026-11-22T12:00:00Z")
LATER = NOW + drift.ORDER_GRACE


def _wanted(**pipeline: Any) -> list[Manifest]:
    stage = scene.quickstart(schedule=["0 3 * * *"], **pipeline)
    stage.apply(manifests.dataset(worker={"resources": {"limits": {"cpu": "1500m", "memory": "1Gi"}}}))
    return desired.objects(stage.graph("Pipeline", "cities")) or []


def _live(wanted: Manifest, uid: str = "uid-live") -> Manifest:
    """An object as the API server has it: with everything that it adds and rewrites by itself."""
    live = copy.deepcopy(wanted)
    live["metadata"] |= {"uid": uid, "resourceVersion": "7", "creationTimestamp": "2026-11-22T12:00:00Z"}
    live["metadata"] |= {"generation": 1, "managedFields": [{"manager": "penstock"}]}
    if live["kind"] != "CronJob":
        return live
    job = live["spec"]["jobTemplate"]["spec"]
    job |= {"completionMode": "NonIndexed", "manualSelector": False}
    pod = job["template"]["spec"]
    pod |= {"dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler", "terminationGracePeriodSeconds": 30}
    pod |= {"serviceAccount": pod["serviceAccountName"]}
    for emptied in ("nodeSelector", "tolerations"):
        del pod[emptied]
    (container,) = pod["containers"]
    container["resources"]["limits"] = {"cpu": "1.5", "memory": "1024Mi"}
    for entry in container["env"]:
        entry["valueFrom"]["fieldRef"]["apiVersion"] = "v1"
    for volume in pod["volumes"]:
        if "configMap" in volume:
            volume["configMap"]["defaultMode"] = 420
        if "emptyDir" in volume:
            volume["emptyDir"] = {"sizeLimit": "20480Mi"}
    return live


def _changed(live: Manifest, path: str, value: Any) -> Manifest:
    """A live object with another value at a dotted path."""
    changed = copy.deepcopy(live)
    *parents, last = path.split(".")
    node = changed
    for parent in parents:
        node = node[int(parent)] if isinstance(node, list) else node[parent]
    node[last] = value
    return changed


def test_what_is_not_there_is_new() -> None:
    changes = drift.between(_wanted(), [], NOW)
    assert [(change.manifest["kind"], change.new) for change in changes.apply] == [
        ("ConfigMap", True),
        ("CronJob", True),
    ]


def test_what_the_server_adds_or_writes_differently_is_no_difference() -> None:
    wanted = _wanted()
    assert drift.between(wanted, [_live(manifest) for manifest in wanted], NOW) == drift.Changes()


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("spec.schedule", "0 4 * * *", "root['spec']['schedule']"),
        ("spec.suspend", True, "root['spec']['suspend']"),
        ("spec.jobTemplate.spec.backoffLimit", 9, "root['spec']['jobTemplate']['spec']['backoffLimit']"),
        ("metadata.labels", {}, "root['metadata']['labels']"),
        ("metadata.ownerReferences", [], "root['metadata']['ownerReferences']"),
    ],
)
def test_what_others_changed_of_our_fields_is_put_right_and_told_as_a_path(path: str, value: Any, told: str) -> None:
    order, cronjob = _wanted()
    (change,) = drift.between([order, cronjob], [_live(order), _changed(_live(cronjob), path, value)], NOW).apply
    assert not change.new
    assert told in change.paths()


def test_what_others_added_to_merged_lists_is_theirs() -> None:
    """Server-side apply leaves it where it is, so a difference here would never end."""
    order, cronjob = _wanted()
    live = _live(cronjob)
    pod = live["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    live["metadata"]["ownerReferences"].insert(0, {"kind": "App", "name": "x", "uid": "theirs"})
    pod["volumes"].insert(0, {"name": "ca", "configMap": {"name": "ca"}})
    pod["containers"][0]["volumeMounts"].append({"name": "ca", "mountPath": "/ca"})
    pod["containers"][0]["env"].append({"name": "TZ", "value": "UTC"})
    assert drift.between([order, cronjob], [_live(order), live], NOW) == drift.Changes()


def test_what_others_added_to_a_list_that_is_ours_as_a_whole_is_a_difference() -> None:
    order, cronjob = _wanted()
    live = _live(cronjob)
    live["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"].append({"action": "Ignore"})
    assert len(drift.between([order, cronjob], [_live(order), live], NOW).apply) == 1


def test_a_field_that_we_stopped_wanting_is_a_difference_by_the_hash_of_what_was_applied() -> None:
    order, cronjob = _wanted()
    plain = scene.quickstart(schedule=["0 3 * * *"]).graph("Pipeline", "cities")
    _, without_limits = desired.objects(plain) or []
    (change,) = drift.between([order, without_limits], [_live(order), _live(cronjob)], NOW).apply
    assert change.manifest["kind"] == "CronJob"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("500m", Decimal("0.5")),
        ("0.5", Decimal("0.5")),
        ("2", Decimal(2)),
        ("1Gi", Decimal(2**30)),
        ("1024Mi", Decimal(2**30)),
        ("1G", Decimal(10**9)),
        ("1e3", Decimal(1000)),
        ("a lot", "a lot"),
        ("Gi", "Gi"),
    ],
)
def test_quantities_are_compared_as_numbers(text: str, number: Decimal | str) -> None:
    assert scalars.quantity(text) == number


# ── pruning ──


def _made_by(cronjob: Manifest, **status: Any) -> Manifest:
    job = jobs.job("rung", spec={"suspend": True, "template": {"spec": {}}}, **status)
    job["metadata"]["ownerReferences"] = [{"kind": "CronJob", "name": "x", "uid": cronjob["metadata"]["uid"]}]
    return job


def test_a_cronjob_that_is_not_wanted_goes_when_its_jobs_are_over_and_is_suspended_until_then() -> None:
    order, cronjob = _wanted()
    live = _live(cronjob)
    busy = drift.between([order], [_live(order), live, _made_by(live)], NOW)
    assert (busy.suspend, busy.delete) == ((live,), ())
    silenced = _changed(live, "spec.suspend", True)
    still_busy = drift.between([order], [_live(order), silenced, _made_by(live)], NOW)
    assert (still_busy.suspend, still_busy.delete) == ((), ())
    over = drift.between([order], [_live(order), silenced, _made_by(live, status=jobs.over())], NOW)
    assert (over.suspend, over.delete) == ((), (silenced,))


def test_a_problem_tears_nothing_down() -> None:
    assert drift.between(None, [_live(manifest) for manifest in _wanted()], LATER) == drift.Changes()


def test_an_older_order_goes_only_when_nothing_names_it() -> None:
    wanted, older = _wanted()[:1], _wanted(deadline="2h")[0]
    live = [_live(wanted[0]), _live(older)]
    named = {"volumes": [{"name": "order", "configMap": {"name": older["metadata"]["name"]}}]}
    waiting = jobs.job(spec={"template": {"spec": named}})
    cronjob = {"kind": "CronJob", "spec": {"suspend": True, "jobTemplate": {"spec": {"template": {"spec": named}}}}}
    cronjob["metadata"] = {"name": "cronjob", "namespace": "default", "uid": "b"}
    assert drift.between(wanted, [*live, waiting], LATER).delete == ()
    assert drift.between(wanted, [*live, cronjob], LATER).delete == (cronjob,)
    assert drift.between(wanted, live, LATER).delete == (_live(older),)


def test_an_order_that_was_just_written_may_wait_for_the_job_that_names_it() -> None:
    wanted, preview = _wanted()[:1], _wanted(deadline="2h")[0]
    live = [_live(wanted[0]), _live(preview)]
    assert drift.between(wanted, live, LATER - timedelta(seconds=1)).delete == ()


def test_a_catalog_and_jobs_are_never_pruned() -> None:
    catalog = {"kind": "ConfigMap", "immutable": False, "metadata": {"name": "cities-catalog", "namespace": "default"}}
    assert drift.between([], [catalog, jobs.job(status=jobs.over())], LATER) == drift.Changes()
