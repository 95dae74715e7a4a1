"""How the five kinds hang together, drawn."""

import io
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from penstock.api.objects import Key
from penstock.cli import picture
from penstock.cli.picture import World

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def _object(kind: str, name: str, namespace: str = "default", /, **spec: Any) -> dict[str, Any]:
    ready = {"type": "Ready", "status": "True", "reason": "Succeeded", "message": ""}
    return {
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
        "status": {"conditions": [ready]},
    }


def _ref(name: str) -> dict[str, str]:
    return {"name": name}


SOURCE = _object("Source", "src")
LAKE = _object("Destination", "lake")
OUTBOX = _object("Destination", "outbox")
DATASET = _object("Dataset", "set", destinationRef=_ref("lake"))
PIPELINE = _object("Pipeline", "pipe", sourceRef=_ref("src"), datasets=[{"datasetRef": _ref("set")}])
SUBSCRIPTION = _object("Subscription", "sub", datasetRef=_ref("set"), destinationRef=_ref("outbox"))
EVERYTHING = [SOURCE, LAKE, OUTBOX, DATASET, PIPELINE, SUBSCRIPTION]


def _names(*manifests: dict[str, Any]) -> list[tuple[str, ...]]:
    return [tuple(key.name if key else "" for key in path) for path in picture.paths(World.of(manifests))]


def _drawn(*manifests: dict[str, Any]) -> list[str]:
    console = Console(file=io.StringIO(), width=120, color_system=None)
    console.print(picture.of(manifests, NOW))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_data_flows_from_source_to_destination() -> None:
    assert _names(*EVERYTHING) == [("src", "pipe", "set", "sub", "outbox"), ("", "", "", "", "lake")]


def test_a_source_with_two_pipelines_begins_two_paths() -> None:
    second = _object("Pipeline", "pipe2", sourceRef=_ref("src"), datasets=[])
    assert _names(SOURCE, PIPELINE, second, DATASET) == [("src", "pipe", "set", "", ""), ("src", "pipe2", "", "", "")]


def test_every_object_that_lies_on_no_path_is_there_once() -> None:
    assert _names(SOURCE, DATASET, OUTBOX) == [
        ("src", "", "", "", ""),
        ("", "", "set", "", ""),
        ("", "", "", "", "outbox"),
    ]


def test_what_does_not_exist_is_drawn_where_it_should_be() -> None:
    assert _names(PIPELINE, SUBSCRIPTION) == [("src", "pipe", "set", "sub", "outbox")]
    assert "does not exist" in "\n".join(_drawn(PIPELINE))


def test_a_broken_spec_is_drawn_as_far_as_it_goes() -> None:
    assert _names(_object("Pipeline", "pipe"), _object("Subscription", "sub")) == []
    assert World.of([PIPELINE]).datasets(Key("Pipeline", "default", "pipe")) == [Key("Dataset", "default", "set")]


def test_the_picture_is_aligned() -> None:
    assert _drawn(*EVERYTHING) == [
        "SOURCE     PIPELINE     DATASET       SUBSCRIPTION     DESTINATION",
        "● src  ──▶ ● pipe   ──▶ ● set     ──▶ ● sub        ──▶ ● outbox",
        "                          in lake",
        "                                                       ● lake",
        "",
        "● healthy",
    ]


def test_what_stands_above_is_not_said_again() -> None:
    more = _object("Subscription", "sub2", datasetRef=_ref("set"), destinationRef=_ref("outbox"))
    drawn = _drawn(*EVERYTHING, more)
    assert sum("src" in line for line in drawn) == 1
    assert sum("sub" in line for line in drawn) == 2


def test_a_dataset_of_two_pipelines_is_drawn_once_and_named_again() -> None:
    second = _object("Pipeline", "pipe2", sourceRef=_ref("src"), datasets=[{"datasetRef": _ref("set")}])
    assert _names(*EVERYTHING, second)[:2] == [("src", "pipe", "set", "sub", "outbox"), ("src", "pipe2", "set", "", "")]
    drawn = _drawn(*EVERYTHING, second)
    assert drawn[3] == "       ──▶ ● pipe2  ──▶ ↑ set"
    assert sum("in lake" in line for line in drawn) == 1
    assert drawn[-1] == "● healthy   ↑ shown above"


def test_a_destination_of_two_subscriptions_is_drawn_once_and_named_again() -> None:
    more = _object("Subscription", "sub2", datasetRef=_ref("set"), destinationRef=_ref("outbox"))
    drawn = _drawn(*EVERYTHING, more)
    assert [line.split("▶")[-1].strip() for line in drawn if "outbox" in line] == ["● outbox", "↑ outbox"]


def test_the_legend_explains_the_marks_that_are_there() -> None:
    off, new = _object("Source", "off", suspend=True), {**_object("Source", "new"), "status": {}}
    assert _drawn(SOURCE, off, new)[-1] == "● healthy   ◐ in progress or waiting   ○ suspended"
    assert _drawn(PIPELINE)[-1] == "● healthy   ✗ needs attention"


def test_troubles_stand_below_with_their_message() -> None:
    broken = _object("Source", "src")
    broken["status"]["conditions"] = [
        {"type": kind, "status": "False", "reason": "Timeout", "message": "no answer from s3://exports"}
        for kind in ("Reachable", "Discovered")
    ]
    drawn = _drawn(broken)
    assert sum("no answer" in line for line in drawn) == 1
    assert "✗ Source src Timeout" in drawn
    assert "  no answer from s3://exports" in drawn


def test_what_a_pod_waits_for_stands_below_and_is_not_marked_as_wrong() -> None:
    waiting = _object("Source", "src")
    told = {"type": "Reachable", "status": "Unknown", "reason": "Waiting", "message": "Pod src-1 waits: no claim"}
    waiting["status"]["conditions"].append(told)
    drawn = _drawn(waiting)
    assert "◐ Source src Waiting" in drawn
    assert "  Pod src-1 waits: no claim" in drawn
    assert not any("✗" in line for line in drawn)


def test_what_two_objects_say_alike_is_said_once() -> None:
    said = {"status": "False", "reason": "TooManyBadRows", "message": "1 of 1 rows are bad"}
    dataset, pipeline = _object("Dataset", "set"), _object("Pipeline", "pipe")
    dataset["status"]["conditions"] = [{"type": "QualityOK", **said}]
    pipeline["status"]["conditions"] = [{"type": "LastRunSucceeded", **said}]
    drawn = _drawn(dataset, pipeline)
    assert "✗ Dataset set, Pipeline pipe TooManyBadRows" in drawn
    assert sum("1 of 1 rows" in line for line in drawn) == 1


def test_each_namespace_has_its_own_picture() -> None:
    drawn = _drawn(SOURCE, _object("Source", "other", "team"))
    assert [line for line in drawn if line in ("default", "team")] == ["default", "team"]
