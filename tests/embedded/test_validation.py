"""What a wrong object is told: the API server's own words. Each was first seen on kube-apiserver 1.35."""

from typing import Any

import pytest

from embedded.harness import Kube, thing

_WORDS: list[tuple[dict[str, Any], str]] = [
    ({"s": "abcdefgh"}, "spec.s: Too long: may not be more than 5 bytes"),
    ({"s": ""}, 'spec.s: Invalid value: "": spec.s in body should be at least 1 chars long'),
    ({"s": "A"}, "spec.s: Invalid value: \"A\": spec.s in body should match '^[a-z]+$'"),
    ({"s": 1}, 'spec.s: Invalid value: "integer": spec.s in body must be of type string: "integer"'),
    ({"e": "z"}, 'spec.e: Unsupported value: "z": supported values: "a", "b"'),
    ({"num": 11}, "spec.num: Invalid value: 11: spec.num in body should be less than or equal to 10"),
    ({"num": 7}, "spec: Invalid value: seven is not allowed"),
    ({"l": []}, "spec.l: Invalid value: 0: spec.l in body should have at least 1 items"),
    ({"l": ["a", "b", "c"]}, "spec.l: Too many: 3: must have at most 2 items"),
    ({"set": ["x", "x"]}, 'spec.set[1]: Duplicate value: "x"'),
    ({"items": [{"name": "x"}, {"name": "x"}]}, 'spec.items[1]: Duplicate value: {"name":"x"}'),
    ({"items": [{"v": 1}]}, "spec.items[0].name: Required value"),
    ({"u": {}}, "spec.u: Invalid value: 0: spec.u in body should have at least 1 properties"),
    ({"d": "x"}, 'spec.d: Invalid value: "x": spec.d in body must be of type date-time: "x"'),
    ({"d": 7}, 'spec.d: Invalid value: "int64": spec.d in body must be of type date-time: "int64"'),
    ({"d": 0.5}, 'spec.d: Invalid value: "float64": spec.d in body must be of type date-time: "float64"'),
    ({"d": True}, 'spec.d: Invalid value: "": spec.d in body must be of type date-time: ""'),
    ({"d": {"x": 1}}, 'spec.d: Invalid value: "": spec.d in body must be of type date-time: ""'),
    ({"q": 1.5}, 'spec.q: Invalid value: "number": spec.q in body must be of type integer,string: "number"'),
    (
        {"one": {"a": "1", "b": "2"}},
        '"spec.one" must validate one and only one schema (oneOf). Found 2 valid alternatives',
    ),
]


@pytest.mark.parametrize(("spec", "words"), _WORDS)
def test_a_wrong_value_is_told(kube: Kube, spec: dict[str, Any], words: str) -> None:
    code, status = kube.http("POST", "things?dryRun=All", thing("a", **spec))

    assert (code, status["reason"]) == (422, "Invalid")
    assert words in status["message"]


def test_a_secret_must_be_base64(kube: Kube) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "no base64!"}}

    code, status = kube.http("POST", "secrets", secret)

    assert (code, status["reason"]) == (400, "BadRequest")
    assert "illegal base64 data" in status["message"]


def test_a_deletion_is_not_written_down(kube: Kube) -> None:
    kube.http("POST", "things", thing("a"))
    patch = {"metadata": {"deletionTimestamp": "2020-01-01T00:00:00Z"}}

    code, status = kube.http("PATCH", "things/a", patch, "application/merge-patch+json")

    assert code == 422
    assert status["details"]["causes"][0]["field"] == "metadata.deletionTimestamp"


def test_unknown_fields_are_pruned_warned_of_or_refused(kube: Kube) -> None:
    bogus = thing("a", bogus=1, free={"x": [1]})

    assert kube.http("POST", "things?dryRun=All", bogus)[1]["spec"] == {"s": "abc", "e": "a", "free": {"x": [1]}}
    code, status = kube.http("POST", "things?fieldValidation=Strict", bogus)
    assert (code, status["message"]) == (
        400,
        'Thing in version "v1" cannot be handled as a Thing: strict decoding error: unknown field "spec.bogus"',
    )


def test_defaults_are_filled_in_also_below_what_is_given(kube: Kube) -> None:
    created = kube.http("POST", "things?dryRun=All", thing("a", u={"x": {}}, e=None))[1]

    assert created["spec"] == {"s": "abc", "e": "a", "u": {"x": {"q": "z"}}}
    assert created["status"] == {"observedGeneration": -1}


def test_a_transition_rule_makes_a_field_immutable(kube: Kube) -> None:
    kube.apply(thing("a"))

    code, status = kube.http("PATCH", "things/a", {"spec": {"s": "b"}}, "application/merge-patch+json")

    assert (code, status["message"]) == (422, 'Thing.try.dev "a" is invalid: spec: Invalid value: s is immutable')


def test_names_and_labels(kube: Kube) -> None:
    assert (
        "a lowercase RFC 1123 subdomain must consist of" in kube.http("POST", "things", thing("Bad_Name"))[1]["message"]
    )
    kube.apply(thing("a"))
    patch = {"metadata": {"labels": {"l": "b d"}}}
    code, status = kube.http("PATCH", "things/a", patch, "application/merge-patch+json")
    assert code == 422
    assert "a valid label must be an empty string or consist of" in status["message"]


def test_status_and_spec_are_changed_apart(kube: Kube) -> None:
    kube.apply(thing("a"))
    both = {"spec": {"num": 9}, "status": {"observedGeneration": 4}}

    after_status = kube.http("PATCH", "things/a/status", both, "application/merge-patch+json")[1]
    after_spec = kube.http(
        "PATCH", "things/a", both | {"status": {"observedGeneration": 5}}, "application/merge-patch+json"
    )[1]

    assert "num" not in after_status["spec"]
    assert after_status["metadata"]["generation"] == 1
    assert after_spec["status"] == {"observedGeneration": 4}
    assert after_spec["metadata"]["generation"] == 2


def test_a_write_that_changes_nothing_is_none(kube: Kube) -> None:
    kube.apply(thing("a", num=1))
    kube.http("PATCH", "things/a", {"spec": {"num": 1}}, "application/merge-patch+json")
    before = kube.get("things/a")["metadata"]["resourceVersion"]  # a real server has stored the default of status now

    after = kube.http("PATCH", "things/a", {"spec": {"num": 1}}, "application/merge-patch+json")[1]

    assert after["metadata"]["resourceVersion"] == before


def test_stale_writes_conflict(kube: Kube) -> None:
    kube.apply(thing("a"))
    stale = {"metadata": {"resourceVersion": "1"}, "spec": {"num": 1}}

    code, status = kube.http("PATCH", "things/a", stale, "application/merge-patch+json")
    assert (code, status["reason"]) == (409, "Conflict")
    assert "the object has been modified" in status["message"]
    failed_test = [{"op": "test", "path": "/metadata/resourceVersion", "value": "1"}]
    assert kube.http("PATCH", "things/a", failed_test, "application/json-patch+json")[0] == 422


def test_an_immutable_config_map_stays(kube: Kube) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}, "immutable": True}
    kube.apply(config)

    code, status = kube.http("PATCH", "configmaps/c", {"data": {"a": "2"}}, "application/merge-patch+json")

    assert code == 422
    assert "field is immutable when `immutable` is set" in status["message"]
