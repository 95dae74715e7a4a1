"""What first-time users get wrong in the five kinds: each message names the line's field, the fault and the remedy."""

import pytest

from penstock.api import manifests, validation
from penstock.language.errors import InvalidSpec

_DATASET = "destinationRef: {name: lake}, table: t"
_FIELD = f"{_DATASET}, schema: {{fields: [{{name: a, type: string, %s}}]}}"
_PIPELINE = "sourceRef: {name: s}, datasets: [{datasetRef: {name: d}, sync: full}]"
_FILES = 'connector: {files: {url: "https://example.org/a.csv", format: %s}}'
_BOOLEAN = "must be a string; without quotes YAML reads yes, no, on, off, y, n, true and false as booleans"
_KEYS = "unknown field; without quotes YAML reads the keys yes, no, on, off, y and n as true and false"


@pytest.mark.parametrize(
    ("kind", "spec", "message"),
    [
        ("Source", "connector: files", "spec.connector: must be an object, not a string: write {files: {…}}"),
        ("Source", "connector:", "spec.connector: must be an object, not empty (null): its member is one of duckdb, "),
        ("Source", "connector: {}", "spec.connector: choose exactly one of duckdb, files, "),
        ("Source", _FILES % "csv", "spec.connector.files.format: must be an object, not a string: write {csv: {}}"),
        ("Source", _FILES % "{csv: {}, json: {}}", "spec.connector.files.format: choose exactly one of "),
        ("Source", _FILES % r"{csv: {delimiter: \t}}", 'a tab is written "\\t", in double quotes'),
        ("Source", _FILES % "{csv: {delimiter: tab}}", 'a tab is written "\\t", in double quotes'),
        ("Source", _FILES % '{csv: {header: "yes"}}', 'header: must be true or false, and "yes" in quotes is a string'),
        (
            "Source",
            "connector: {postgres: {host: h, database: d, user: u}}",
            "spec.connector.postgres.user: unknown field; credentials are in a Secret that spec.auth names",
        ),
        ("Source", f"{_FILES % '{csv: {}}'}, n: 1", f"spec.false: {_KEYS}"),
        ("Destination", "connector: {lake: {}}", "spec.connector.lake.warehouse: is missing. "),
        ("Destination", 'connector: {lake: {warehouse: "s3://b/w"}}', "needs a catalog: add `catalog.postgres`"),
        ("Dataset", _FIELD % "enum: [NO]", f"spec.schema.fields[0].enum[0]: {_BOOLEAN}"),
        ("Dataset", _FIELD % "y: 1", f"spec.schema.fields[0].true: {_KEYS}"),
        ("Dataset", _FIELD % "minimum: -1.5", 'minimum: must be a string: write it in quotes, "-1.5"'),
        ("Dataset", f"{_DATASET}, schema: {{fields: [{{name: n, type: lon}}]}}", f"fields[0].name: {_BOOLEAN}"),
        ("Dataset", f"{_DATASET}, schema: {{fields: [{{name: n, type: lon}}]}}", '"lon" is not one of our types; did '),
        ("Dataset", f"{_DATASET}, schema: {{fields: [a]}}", "fields[0]: must be an object with name and type, not a s"),
        ("Dataset", f"{_DATASET}, schema: {{fields: {{a: string}}}}", 'not an object: begin each entry with "- "'),
        ("Dataset", f"{_DATASET}, schema: {{feilds: []}}", "spec.schema.feilds: unknown field; did you mean fields?"),
        (
            "Dataset",
            f"{_DATASET}, schema: {{fields: [{{name: a, type: decimal(12,2)}}]}}",
            'in quotes, "decimal(12,2)"',
        ),
        *[
            (
                "Dataset",
                f"{_DATASET}, schema: {{fields: [{{name: a, type: string}}], onTypeMismatch: {null}}}",
                'spec.schema.onTypeMismatch: is empty: without quotes YAML reads null as no value. Write "null" in quo',
            )
            for null in ("null", "~", "")
        ],
        ("Dataset", f"{_DATASET}, primaryKey: [a]", "spec.primaryKey: unknown field; it belongs in schema"),
        ("Pipeline", "sourceRef: s, datasets: [d]", "spec.sourceRef: must be an object, not a string: write {name: s}"),
        ("Pipeline", "sourceRef: s, datasets: [d]", "datasets[0]: must be an object with datasetRef and sync, not a s"),
        ("Pipeline", f"{_PIPELINE}, schedule: [6am]", '"6am" is not a schedule: it has 1 field and needs 5'),
        ("Pipeline", f"{_PIPELINE}, runNonce: 1", 'spec.runNonce: must be a string: write it in quotes, "1"'),
        ("Pipeline", f"{_PIPELINE}, deadline: 3600", "A duration is written 90s, 15m, 1h30m, 30d"),
        ("Subscription", "datasetRef: d, destinationRef: {name: o}", "spec.datasetRef: must be an object, not a strin"),
        (
            "Subscription",
            "datasetRef: {name: d}, destinationRef: {name: o}, cadence: often",
            'spec.cadence: "often" is not one of once, hourly, daily, weekly, monthly',
        ),
    ],
)
def test_a_mistake_is_named_with_its_remedy(kind: str, spec: str, message: str) -> None:
    (manifest,) = manifests.loads(
        f"apiVersion: penstock.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {{{spec}}}\n", "x.yaml"
    )
    assert isinstance(manifest, manifests.Manifest)
    with pytest.raises(InvalidSpec) as refused:
        manifests.parse(manifest.object)
    assert message in refused.value.message


def test_a_field_whose_name_is_no_string_is_counted() -> None:
    fields = "[{name: a, type: string}, {name: n, type: string, from: f()}]"
    (manifest,) = manifests.loads(
        "apiVersion: penstock.dev/v1alpha1\nkind: Dataset\nmetadata: {name: x}\n"
        f"spec: {{{_DATASET}, schema: {{fields: {fields}}}}}\n",
        "x.yaml",
    )

    def refuse(_expression: str, subject: str) -> None:
        raise InvalidSpec(f"{subject}: no")

    verdict = validation.validate([manifest], expressions=refuse)
    assert "field 2: no" in "\n".join(str(complaint) for complaint in verdict.complaints)
