"""Every kubectl command that our users type, as they type it. Not here: Jobs (test_jobs), conflicts (test_apply)."""

import json
import subprocess
import time

from embedded import harness
from embedded.harness import Kube, thing


def test_apply_creates_then_changes_then_leaves_alone(kube: Kube) -> None:
    assert "created" in kube.apply(thing("one", num=1))
    assert "unchanged" in kube.apply(thing("one", num=1))
    assert "configured" in kube.apply(thing("one", num=2))

    stored = kube.get("things/one")

    assert stored["spec"] == {"s": "abc", "num": 2, "e": "a"}
    assert stored["status"] == {"observedGeneration": -1}
    assert stored["metadata"]["generation"] == 2


def test_diff_shows_what_apply_would_change(kube: Kube) -> None:
    kube.apply(thing("one", num=1))

    printed = kube.ctl("diff", "-f", "-", stdin=json.dumps(thing("one", num=2)), ok=False)

    assert "-  num: 1" in printed
    assert "+  num: 2" in printed


def test_apply_of_built_ins_removes_what_was_left_out(kube: Kube) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1", "b": "2"}}
    kube.apply(config)
    kube.apply(config | {"data": {"a": "3"}})

    assert kube.get("configmaps/c")["data"] == {"a": "3"}


def test_get_prints_the_columns_of_the_definition(kube: Kube) -> None:
    kube.apply(thing("one", num=7 - 1))
    status = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    kube.ctl("patch", "thing", "one", "--subresource=status", "--type=merge", "-p", json.dumps(status))

    header, row = kube.ctl("get", "tries", "-o", "wide").splitlines()

    wide = ["NUM", "NOTREADY", "KINDS", "MAP", "NUL", "FLAG", "PART", "ITEM"]
    assert header.split() == ["NAME", "S", "READY", *wide, "AGE"]
    assert row.split()[:5] == ["one", "abc", "True", "6", "Ready"]


def test_get_selects_by_label_and_field(kube: Kube) -> None:
    for name, letters in (("one", "abc"), ("two", "xyz")):
        kube.apply(thing(name) | {"spec": {"s": letters}})
    kube.ctl("label", "thing", "one", "team=ops")

    assert kube.ctl("get", "th", "-l", "team in (ops)", "-o", "name") == "thing.try.dev/one\n"
    assert kube.ctl("get", "th", "-l", "!team", "-o", "name") == "thing.try.dev/two\n"
    assert kube.ctl("get", "th", "--field-selector", "spec.s=xyz", "-o", "name") == "thing.try.dev/two\n"
    assert "field label not supported: spec.num" in kube.ctl("get", "th", "--field-selector", "spec.num=1", ok=False)


def test_get_watches(kube: Kube) -> None:
    command = [str(harness.KUBECTL), "--kubeconfig", str(kube.kubeconfig), "-n", kube.namespace, "get", "th", "-w"]
    with subprocess.Popen([*command, "--output-watch-events"], stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        time.sleep(0.5)
        kube.apply(thing("one"))
        kube.ctl("delete", "thing", "one")
        lines = [watching.stdout.readline().split() for _ in range(3)]
        watching.kill()

    assert lines[0][:2] == ["EVENT", "NAME"]
    assert [line[:2] for line in lines[1:]] == [["ADDED", "one"], ["DELETED", "one"]]


def test_wait_for_condition_jsonpath_and_deletion(kube: Kube) -> None:
    kube.apply(thing("one"))
    status = {"status": {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]}}
    kube.ctl("patch", "thing", "one", "--subresource=status", "--type=merge", "-p", json.dumps(status))

    kube.ctl("wait", "thing/one", "--for=condition=Ready", "--timeout=5s")
    kube.ctl("wait", "thing/one", "--for=jsonpath={.status.observedGeneration}=1", "--timeout=5s")
    kube.ctl("delete", "thing", "one", "--wait=false")
    kube.ctl("wait", "thing/one", "--for=delete", "--timeout=5s")


def test_explain_reads_like_the_schema(kube: Kube) -> None:
    assert "The letters." in kube.ctl("explain", "thing.spec.s")
    printed = kube.ctl("explain", "thing.spec")
    assert "s\t<string> -required-" in printed
    assert "items\t<[]Object>" in printed
    assert "metadata\t<ObjectMeta>" in kube.ctl("explain", "thing")


def test_describe_shows_events(kube: Kube) -> None:
    kube.apply(thing("one"))
    uid = kube.get("things/one")["metadata"]["uid"]
    about = {"kind": "Thing", "name": "one", "namespace": kube.namespace, "uid": uid, "apiVersion": "try.dev/v1"}
    event = {
        "metadata": {"generateName": "one."},
        "involvedObject": about,
        "reason": "Tried",
        "message": "it was tried",
    }
    assert kube.http("POST", "events", event | {"type": "Normal"})[0] == 201

    assert "it was tried" in kube.ctl("describe", "thing", "one")
    assert "it was tried" in kube.ctl("events", "--for=thing/one")


def test_create_sends_protobuf_and_is_understood(kube: Kube) -> None:
    kube.ctl("create", "configmap", "c", "--from-literal=key=value")
    kube.ctl("create", "secret", "generic", "s", "--from-literal=key=value")

    assert kube.get("configmaps/c")["data"] == {"key": "value"}
    assert kube.get("secrets/s")["data"] == {"key": "dmFsdWU="}
    assert 'configmaps "c" already exists' in kube.ctl("create", "configmap", "c", ok=False)


def test_patch_label_annotate_edit_the_metadata_only(kube: Kube) -> None:
    kube.apply(thing("one"))
    kube.ctl("label", "thing", "one", "a=b")
    kube.ctl("annotate", "thing", "one", "c=d")
    kube.ctl("annotate", "thing", "one", "c-")
    kube.ctl("patch", "thing", "one", "--type=json", "-p", '[{"op":"test","path":"/spec/s","value":"abc"}]')

    meta = kube.get("things/one")["metadata"]

    assert meta["labels"] == {"a": "b"}
    assert meta["generation"] == 1


def test_delete_of_a_namespace_empties_it(kube: Kube) -> None:
    kube.ctl("create", "namespace", f"{kube.namespace}-x")
    inside = Kube(kube.kubeconfig, f"{kube.namespace}-x")
    inside.apply(thing("one"))
    inside.ctl("create", "configmap", "c")

    kube.ctl("delete", "namespace", inside.namespace, "--timeout=20s")

    assert inside.http("GET", f"/api/v1/namespaces/{inside.namespace}")[0] == 404
    assert "not found" in inside.ctl("create", "configmap", "c", ok=False)


def test_version_and_discovery(kube: Kube) -> None:
    assert "v1.35" in kube.ctl("version")
    assert "things" in kube.ctl("api-resources", "--api-group=try.dev")
    assert {"jobs", "cronjobs"} <= set(
        kube.ctl("api-resources", "--api-group=batch", "-o", "name").replace(".batch", "").split()
    )
