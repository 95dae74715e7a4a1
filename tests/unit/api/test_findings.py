"""What people are told of a wrong spec: the field, the fault, the remedy."""

from typing import Any

import pytest

from penstock.api import findings, manifests
from penstock.language.errors import InvalidSpec


def _told(kind: str, spec: Any) -> list[str]:
    with pytest.raises(InvalidSpec) as refused:
        manifests.parse({"kind": kind, "spec": spec})
    return refused.value.message.splitlines()


def _pipeline(**changes: Any) -> dict[str, Any]:
    entry = {"datasetRef": {"name": "flights"}, "sync": "incremental"}
    return {"sourceRef": {"name": "flights"}, "datasets": [entry]} | changes


def _dataset(**field: Any) -> dict[str, Any]:
    fields = [{"name": "carrier", "type": "string"} | field]
    return {"destinationRef": {"name": "lake"}, "table": "flights", "schema": {"fields": fields}}


def test_a_good_spec_is_typed() -> None:
    spec = manifests.parse({"kind": "Pipeline", "spec": _pipeline()})
    assert spec.to_object()["datasets"] == [{"datasetRef": {"name": "flights"}, "sync": "incremental"}]


def test_a_word_that_is_not_a_choice_is_told_with_the_choices_and_the_nearest() -> None:
    entry = {"datasetRef": {"name": "flights"}, "sync": "incrementl"}
    assert _told("Pipeline", _pipeline(datasets=[entry])) == [
        'spec.datasets[0].sync: "incrementl" is not one of full, incremental; did you mean incremental?'
    ]


@pytest.mark.parametrize(
    ("unknown", "answer"),
    [
        ("scedule", "did you mean schedule?"),
        ("time_zone", "did you mean timeZone?"),
        ("runnonce", "did you mean runNonce?"),
        (
            "zzz",
            "choose from sourceRef, identity, datasets, schedule, timeZone, trigger, runNonce",
        ),
    ],
)
def test_an_unknown_field_is_told_with_the_nearest_known_one(unknown: str, answer: str) -> None:
    (line,) = _told("Pipeline", _pipeline(**{unknown: 1}))
    assert line.startswith(f"spec.{unknown}: unknown field; {answer}")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"retries": "3"}, 'spec.retries: must be a whole number, and "3" in quotes is a string'),
        ({"suspend": "no"}, 'spec.suspend: must be true or false, and "no" in quotes is a string'),
        ({"runNonce": 5}, 'spec.runNonce: must be a string: write it in quotes, "5"'),
        (
            {"schedule": "15 * * * *"},
            'spec.schedule: must be a list, not a string: write it in brackets, ["15 * * * *"]',
        ),
        ({"sourceRef": "flights"}, "spec.sourceRef: must be an object, not a string: write {name: flights}"),
        ({"retries": 11}, "spec.retries: 11 is too large; at most 10"),
        ({"runNonce": False}, f"spec.runNonce: {findings.BOOLEAN_FOR_STRING}"),
        ({"datasets": {}}, 'spec.datasets: must be a list, not an object: begin each entry with "- "'),
        (
            {"deadline": "1 h"},
            'spec.deadline: "1 h" is not accepted here. A duration is written 90s, 15m, 1h30m, 30d, and is a second at '
            "least",
        ),
        ({"deadline": "999d"}, "spec.deadline: 999d is too long; at most 366d"),
        (
            {"sourceRef": {"name": "flights", "namespace": "ops"}},
            "spec.sourceRef.namespace: unknown field; references stay in the namespace of the object, so leave it out",
        ),
        ({"timeZone": "UTC"}, "spec: timeZone goes with a schedule"),
        ({"sourceRef": {}}, "spec.sourceRef.name: is missing. Name of the Source."),
    ],
)
def test_a_wrong_value_is_told_with_its_remedy(changes: dict[str, Any], line: str) -> None:
    assert _told("Pipeline", _pipeline(**changes)) == [line]


def test_a_wrong_schedule_is_refused_with_its_field_and_an_example() -> None:
    (line,) = _told("Pipeline", _pipeline(schedule=["99 * * * *"]))
    assert line == (
        'spec.schedule[0]: "99 * * * *" is not a schedule: the minute: "99" is above 59; for instance "15 * * * *"'
    )


@pytest.mark.parametrize("duration", ["0s", "0d0h", "00m", "0h30m", "s"])
def test_a_duration_is_a_second_at_least(duration: str) -> None:
    (line,) = _told("Pipeline", _pipeline(deadline=duration))
    assert line.startswith("spec.deadline: ")


@pytest.mark.parametrize("duration", ["1s", "1h0m0s", "90m", "366d"])
def test_a_duration_may_have_parts_that_are_nothing(duration: str) -> None:
    assert manifests.parse({"kind": "Pipeline", "spec": _pipeline(deadline=duration)})


@pytest.mark.parametrize(
    ("kind", "connector"),
    [
        ("Source", {"files": {"url": "s3://KEY:hush@bucket/x/", "format": {"csv": {}}}}),
        ("Source", {"files": {"url": "s3://hush@bucket/x/", "format": {"csv": {}}}}),
        ("Source", {"files": {"url": "https://there.example/x.csv?token=hush", "format": {"csv": {}}}}),
        ("Source", {"files": {"url": "https://there.example/x.csv#hush", "format": {"csv": {}}}}),
        ("Source", {"files": {"url": "ftp://KEY:hush@bucket/x/?hush", "format": {"csv": {}}}}),
        ("Source", {"files": {"url": f"s3://KEY:hush@bucket/{'x' * 2048}", "format": {"csv": {}}}}),
        ("Source", {"files": {"url": "s3://b/", "endpointUrl": "http://KEY:hush@minio:9000", "format": {"csv": {}}}}),
        ("Destination", {"files": {"url": "s3://KEY:hush@bucket/x/"}}),
        ("Destination", {"files": {"url": "s3://b/", "format": "s3://KEY:hush@bucket/x/?hush"}}),
        ("Destination", {"lake": {"warehouse": "file:///volumes/l/w?hush", "volume": {"claimName": "l"}}}),
    ],
)
def test_a_url_with_credentials_is_refused_and_they_are_not_repeated(kind: str, connector: dict[str, Any]) -> None:
    assert "hush" not in str(_told(kind, {"connector": connector}))


def test_a_url_with_credentials_is_told_where_they_belong() -> None:
    assert _told("Destination", {"connector": {"files": {"url": "s3://KEY:hush@bucket/x/"}}}) == [
        "spec.connector.files.url: a URL has no user and no password before its host; put them into a Secret and name "
        "it in auth"
    ]


def test_a_signed_url_is_refused_with_what_to_do_and_its_signature_is_not_repeated() -> None:
    files = {"url": "https://there.example/x.csv.gz?sig=hush", "format": {"csv": {}}}
    (finding,) = _told("Source", {"connector": {"files": files}})
    assert "Leave it out and name a Secret in auth" in finding
    assert "write the URL of the bucket" in finding
    assert "hush" not in finding


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ({"delimiter": "é"}, '.delimiter: "é" is not accepted here. It is one ASCII character, and no line end'),
        ({"quote": "\n"}, '.quote: "\\n" is not accepted here. It is one ASCII character, and no line end'),
        ({"delimiter": '"'}, ": delimiter must differ from quote and escape"),
        ({"delimiter": "\\", "escape": "\\"}, ": delimiter must differ from quote and escape"),
    ],
)
def test_characters_of_csv_that_cannot_be_told_apart_are_refused(form: dict[str, str], line: str) -> None:
    files = {"url": "s3://bucket/", "format": {"csv": form}}
    assert _told("Source", {"connector": {"files": files}}) == [f"spec.connector.files.format.csv{line}"]


def test_a_path_may_have_an_at_sign() -> None:
    files = {"url": "s3://bucket/me@example/", "format": {"csv": {}}}
    assert manifests.parse({"kind": "Source", "spec": {"connector": {"files": files}}})


def test_requests_are_not_above_limits() -> None:
    resources = {"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"cpu": "1500m", "memory": "1024Mi"}}
    assert _told("Dataset", _dataset() | {"worker": {"resources": resources}}) == [
        "spec.worker.resources: requests.cpu 2 is more than limits.cpu 1500m"
    ]


def _fields(*fields: dict[str, Any]) -> list[str]:
    return _told("Dataset", {"destinationRef": {"name": "lake"}, "table": "flights", "schema": {"fields": [*fields]}})


def test_no_fault_of_a_field_hides_another() -> None:
    assert _fields({"name": "id", "type": "int", "enum": ["x"], "minimum": "y"}) == [
        'spec.schema.fields[0]: enum "x" is not a whole number of 32 bits',
        'spec.schema.fields[0]: minimum "y" is not a whole number of 32 bits',
    ]
    assert _fields({"name": "at", "type": "date", "formats": ["%q", "dd.mm.yyyy", "%d.%m.%Y", "%Y%"]}) == [
        'spec.schema.fields[0]: formats: "%q" is no directive of strptime, in "%q"; for instance "%d.%m.%Y"',
        'spec.schema.fields[0]: formats: "dd.mm.yyyy" has no directive, such as %Y, %m and %d: no date is written so',
        'spec.schema.fields[0]: formats: "%" is no directive of strptime, in "%Y%"; for instance "%d.%m.%Y"',
    ]


def test_a_name_that_stands_twice_is_told_beside_other_faults_and_alone() -> None:
    twice = 'spec.schema.fields[1]: the name "A" occurs twice (case does not count)'
    assert _fields({"name": "a", "type": "varchar"}, {"name": "A", "type": "int"}) == [
        'spec.schema.fields[0].type: "varchar" is not one of our types; did you mean string?',
        twice,
    ]
    assert _fields({"name": "a", "type": "int"}, {"name": "A", "type": "int"}) == [twice]


def test_a_column_is_renamed_to_one_field_from_a_name_that_is_free() -> None:
    long = {"type": "long"}
    assert _fields({"name": "a", "renamedFrom": "B", **long}, {"name": "b", **long}) == [
        'spec.schema.fields[0].renamedFrom: "B" is still the name of a field, so no column can be renamed from it'
    ]
    assert _fields({"name": "a", "renamedFrom": "z", **long}, {"name": "b", "renamedFrom": "z", **long}) == [
        'spec.schema.fields[1].renamedFrom: "z" occurs twice as renamedFrom; one column becomes one field'
    ]


def test_a_pattern_without_words_of_its_own_is_told_by_the_field_s_documentation() -> None:
    for word in ("decimal(9)", "decimal(0,0)"):
        (line,) = _told("Dataset", _dataset(type=word))
        assert line.startswith(f'spec.schema.fields[0].type: "{word}" is not accepted here. The column\'s type, by its')


def test_another_system_s_word_for_a_type_is_translated() -> None:
    (line,) = _told("Dataset", _dataset(type="VARCHAR"))
    assert line == 'spec.schema.fields[0].type: "VARCHAR" is not one of our types; did you mean string?'


@pytest.mark.parametrize(
    ("field", "told"),
    [
        (
            {"type": "int", "minimum": "10", "maximum": "5"},
            'minimum "10" is above maximum "5", so no value would be good',
        ),
        ({"type": "int", "minimum": "zero"}, 'minimum "zero" is not a whole number of 32 bits'),
        ({"type": "date", "maximum": "31.12.2020"}, 'maximum "31.12.2020" is not a date, written 2026-01-31'),
        ({"type": "decimal(5,2)", "maximum": "1000"}, 'maximum "1000" is not a decimal(5,2)'),
        ({"type": "long", "enum": ["1", "two"]}, 'enum "two" is not a whole number of 64 bits'),
        (
            {"type": "decimal(10,12)", "minimum": "x"},
            "decimal(10,12) is not a type: at most 10 of its 10 digits can be behind the point",
        ),
    ],
)
def test_a_bound_is_of_its_column_s_type(field: dict[str, Any], told: str) -> None:
    assert _told("Dataset", _dataset(**field)) == [f"spec.schema.fields[0]: {told}"]


def test_a_percentage_written_as_a_number_is_told_how_to_be_written() -> None:
    (line,) = _told("Dataset", _dataset() | {"quality": {"maxBadRatio": 0.05}})
    assert line.startswith('spec.quality.maxBadRatio: must be a string. A percentage is written "5%"')


def test_a_union_without_or_with_two_members_is_told_with_its_members() -> None:
    (line,) = _told("Source", {"connector": {"files": {"url": "s3://a/", "format": {}}}})
    assert line == "spec.connector.files.format: choose exactly one of csv, json, parquet, excel"


def test_an_unknown_kind_is_told_with_the_nearest() -> None:
    with pytest.raises(InvalidSpec, match=r'kind: "Pipline" is not a Penstock kind; did you mean Pipeline\?'):
        manifests.parse({"kind": "Pipline"})


def test_a_missing_spec_is_told() -> None:
    assert _told("Source", None) == ["spec: must be an object with connector, not empty (null)"]


def test_at_most_five_faults_are_listed() -> None:
    lines = _told("Pipeline", {f"unknown{number}": 1 for number in range(9)})
    assert len(lines) == 6
    assert lines[-1] == "… and 6 more"


@pytest.mark.parametrize("system", ["bigquery", "rest", "singer"])
def test_a_system_of_a_later_version_is_said_to_be_one(system: str) -> None:
    (line,) = _told("Source", {"connector": {system: {}}})
    assert line.startswith(f"spec.connector.{system}: is not in this version; ")
    assert "files" in line


def test_an_empty_connector_names_what_there_is() -> None:
    (line,) = _told("Source", {"connector": {}})
    assert "files" in line
