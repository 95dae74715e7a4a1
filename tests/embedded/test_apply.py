"""Server-side apply: who owns what, conflicts, and letting go. Also owner references and finalizers."""

from typing import Any

from embedded.harness import Json, Kube, thing, until

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


def _apply(kube: Kube, manager: str, item: Json, more: str = "") -> tuple[int, Json]:
    return kube.http("PATCH", f"things/{item['metadata']['name']}?fieldManager={manager}{more}", item, APPLY)


def test_managers_share_what_they_agree_on(kube: Kube) -> None:
    assert _apply(kube, "m1", thing("s", m={"k": "1"}))[0] == 201
    assert _apply(kube, "m2", thing("s", items=[{"name": "x"}]))[0] == 200

    managed = {e["manager"]: e["fieldsV1"]["f:spec"] for e in kube.get("things/s")["metadata"]["managedFields"]}

    assert managed["m1"] == {"f:s": {}, "f:m": {"f:k": {}}}
    assert managed["m2"] == {"f:s": {}, "f:items": {'k:{"name":"x"}': {".": {}, "f:name": {}}}}


def test_a_conflict_names_the_other_and_every_field(kube: Kube) -> None:
    _apply(kube, "m1", thing("s", items=[{"name": "x", "v": 1}], m={"k": "1"}))

    code, status = _apply(kube, "m2", thing("s", items=[{"name": "x", "v": 2}], m={"k": "2"}))

    assert (code, status["reason"]) == (409, "Conflict")
    assert status["message"] == (
        'Apply failed with 2 conflicts: conflicts with "m1":\n- .spec.items[name="x"].v\n- .spec.m.k'
    )


def test_force_takes_over(kube: Kube) -> None:
    _apply(kube, "m1", thing("s", num=1))

    code, item = _apply(kube, "m2", thing("s", num=2), "&force=true")

    assert (code, item["spec"]["num"]) == (200, 2)
    assert _apply(kube, "m1", thing("s", num=1))[0] == 409


def test_what_is_no_longer_applied_goes(kube: Kube) -> None:
    _apply(kube, "m1", thing("s", num=1, items=[{"name": "x"}, {"name": "y"}], m={"k": "1"}))

    item = _apply(kube, "m1", thing("s", items=[{"name": "y"}]))[1]

    assert item["spec"] == {"s": "abc", "e": "a", "items": [{"name": "y"}]}


def test_an_update_takes_a_field_away_from_its_applier(kube: Kube) -> None:
    _apply(kube, "m1", thing("s", num=1))
    kube.http("PATCH", "things/s?fieldManager=hand", {"spec": {"num": 2}}, MERGE)

    code, status = _apply(kube, "m1", thing("s", num=1))

    assert code == 409
    assert 'conflict with "hand" using try.dev/v1: .spec.num' in status["message"]


def test_applying_the_same_again_changes_nothing(kube: Kube) -> None:
    _apply(kube, "m1", thing("s", num=1))
    first = _apply(kube, "m1", thing("s", num=1))[1]  # a real server stores the default of status only now

    again = _apply(kube, "m1", thing("s", num=1))[1]

    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_kubectl_may_change_to_server_side_apply_and_a_value_at_once(kube: Kube) -> None:
    kube.apply(thing("s", num=1))
    kube.apply(thing("s", num=2), "--server-side")
    kube.http("PATCH", "things/s?fieldManager=hand", {"spec": {"num": 3}}, MERGE)
    assert 'conflict with "hand"' in kube.apply(thing("s", num=4), "--server-side", ok=False)
    assert kube.get("things/s")["spec"]["num"] == 3


def test_lists_of_built_ins_merge_by_key(kube: Kube) -> None:
    def cron(env: str, value: str) -> Json:
        container = {"name": "w", "image": "penstock-worker:dev", "env": [{"name": env, "value": value}]}
        template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
        spec = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template}}}
        return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c"}, "spec": spec}

    kube.http("PATCH", "cronjobs/c?fieldManager=m1", cron("A", "1"), APPLY)
    kube.http("PATCH", "cronjobs/c?fieldManager=m2", cron("B", "2"), APPLY)

    spec: Any = kube.get("cronjobs/c")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert [e["name"] for e in spec["containers"][0]["env"]] == ["A", "B"]


def test_dry_run_stores_nothing(kube: Kube) -> None:
    assert _apply(kube, "m1", thing("s"), "&dryRun=All")[0] == 201
    assert kube.http("GET", "things/s")[0] == 404


def test_a_finalizer_holds_an_object(kube: Kube) -> None:
    item = thing("f")
    item["metadata"]["finalizers"] = ["try.dev/hold"]
    kube.apply(item)
    kube.ctl("delete", "thing", "f", "--wait=false")

    assert "deletionTimestamp" in kube.get("things/f")["metadata"]
    added = kube.http("PATCH", "things/f", {"metadata": {"finalizers": ["try.dev/hold", "try.dev/more"]}}, MERGE)
    assert added[0] == 422
    kube.http("PATCH", "things/f", {"metadata": {"finalizers": None}}, MERGE)
    assert kube.http("GET", "things/f")[0] == 404


def _owned(kube: Kube, name: str, uid: str) -> None:
    owner = {"apiVersion": "try.dev/v1", "kind": "Thing", "name": name, "uid": uid, "blockOwnerDeletion": True}
    body = {"metadata": {"name": f"of-{name}", "ownerReferences": [owner]}}
    assert kube.http("POST", "configmaps", body)[0] == 201


def test_what_is_owned_follows_its_owner(kube: Kube) -> None:
    for name, policy in (("bg", "Background"), ("fg", "Foreground")):
        kube.apply(thing(name))
        _owned(kube, name, kube.get(f"things/{name}")["metadata"]["uid"])
        kube.http("DELETE", f"things/{name}", {"propagationPolicy": policy})
        until(lambda name=name: kube.http("GET", f"configmaps/of-{name}")[0] == 404)  # type: ignore[misc]
        until(lambda name=name: kube.http("GET", f"things/{name}")[0] == 404)  # type: ignore[misc]


def test_an_orphan_stays_and_a_dangling_reference_does_not(kube: Kube) -> None:
    kube.apply(thing("o"))
    _owned(kube, "o", kube.get("things/o")["metadata"]["uid"])
    kube.http("DELETE", "things/o", {"propagationPolicy": "Orphan"})
    until(lambda: kube.http("GET", "things/o")[0] == 404)
    assert "ownerReferences" not in kube.get("configmaps/of-o")["metadata"]

    _owned(kube, "nobody", "00000000-0000-0000-0000-000000000000")
    until(lambda: kube.http("GET", "configmaps/of-nobody")[0] == 404)
