"""A set of manifests, judged before any cluster sees it."""

import pytest

from penstock.api import manifests, validation
from penstock.api.validation import Verdict
from penstock.language.errors import InvalidSpec

SOURCE = """
apiVersion: penstock.dev/v1alpha1
kind: Source
metadata: {name: flights}
spec: {connector: {files: {url: "s3://exports/", format: {csv: {}}}}}
"""
LAKE = """
apiVersion: penstock.dev/v1alpha1
kind: Destination
metadata: {name: lake}
spec: {connector: {lake: {warehouse: "file:///volumes/lake/w", volume: {claimName: lake}}}}
"""
OUTBOX = """
apiVersion: penstock.dev/v1alpha1
kind: Destination
metadata: {name: outbox}
spec: {connector: {files: {url: "s3://outbox/"}}}
"""
DATASET = """
apiVersion: penstock.dev/v1alpha1
kind: Dataset
metadata: {name: flights}
spec:
  destinationRef: {name: lake}
  table: flights
  schema: {fields: [{name: carrier, type: string}]}
"""
PIPELINE = """
apiVersion: penstock.dev/v1alpha1
kind: Pipeline
metadata: {name: flights}
spec:
  sourceRef: {name: flights}
  datasets: [{datasetRef: {name: flights}, sync: incremental}]
"""
SUBSCRIPTION = """
apiVersion: penstock.dev/v1alpha1
kind: Subscription
metadata: {name: daily}
spec:
  datasetRef: {name: flights}
  destinationRef: {name: outbox}
  fields: [{name: carrier}]
"""
EVERYTHING = (SOURCE, LAKE, OUTBOX, DATASET, PIPELINE, SUBSCRIPTION)


def _judged(*texts: str, complete: bool = False) -> Verdict:
    return validation.validate(manifests.loads("---".join(texts), "f.yaml"), complete=complete)


SQLITE = """
apiVersion: penstock.dev/v1alpha1
kind: Source
metadata: {name: flights}
spec: {connector: {sqlite: {path: /volumes/shop/shop.db, volume: {claimName: shop}}}}
"""


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("sync: full, cursor: id", "cursor goes with sync incremental"),
        ("sync: incremental, delay: 1m", "delay goes with cursor"),
        ("sync: incremental, lookback: 1m", "lookback goes with cursor"),
        ("sync: incremental, cursor: id, delay: soon", "delay"),
        ("sync: incremental, cursor: id, lookback: -1", "lookback"),
    ],
)
def test_what_goes_with_a_cursor(entry: str, words: str) -> None:
    (complaint,) = _told(SQLITE, LAKE, DATASET, PIPELINE.replace("sync: incremental", f"stream: t, {entry}"))
    assert words in complaint


def _told(*texts: str) -> list[str]:
    return [str(complaint) for complaint in _judged(*texts).complaints]


def test_a_right_and_complete_set_has_no_fault() -> None:
    verdict = _judged(*EVERYTHING, complete=True)
    assert (verdict.complaints, len(verdict.checked), verdict.others) == ([], 6, 0)


def test_other_kinds_are_left_to_kubectl() -> None:
    verdict = _judged("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n")
    assert (verdict.complaints, verdict.others) == ([], 1)


def test_lists_are_taken_apart_and_keep_their_places() -> None:
    text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: penstock.dev/v1alpha1\n  kind: Source\n  metadata: {}\n"
    assert _told(text) == [
        "f.yaml:4: error: Source: spec: is missing",
        "f.yaml:6: error: Source: metadata.name: is missing",
    ]


def test_a_fault_is_told_where_it_stands() -> None:
    assert _told(SOURCE, DATASET, LAKE, PIPELINE.replace("incremental", "incrementl")) == [
        'f.yaml:25: error: Pipeline flights: spec.datasets[0].sync: "incrementl" is not one of full, incremental; '
        "did you mean incremental?"
    ]


@pytest.mark.parametrize("complete", [False, True])
def test_a_reference_to_what_is_not_there_is_a_warning_unless_the_set_is_complete(complete: bool) -> None:
    astray = PIPELINE.replace("sourceRef: {name: flights}", "sourceRef: {name: flight}")
    verdict = _judged(SOURCE, LAKE, DATASET, astray, complete=complete)
    (complaint,) = verdict.complaints
    assert complaint.severity == ("error" if complete else "warning")
    assert str(complaint.finding) == (
        'spec.sourceRef.name: there is no Source "flight" in these files; did you mean flights?'
    )


def test_references_stay_in_their_namespace() -> None:
    elsewhere = SOURCE.replace("{name: flights}", "{name: flights, namespace: other}", 1)
    assert len(_told(elsewhere, LAKE, DATASET, PIPELINE)) == 1


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (
            (SOURCE, LAKE, DATASET + "  writeMode: replace\n", PIPELINE),
            "spec.datasets[0].sync: sync incremental goes with writeMode append or upsert, and Dataset flights has "
            "replace. Change one of the two.",
        ),
        (
            (SOURCE, LAKE, DATASET, PIPELINE.replace("[{", "[{stream: fligths, ")),
            'spec.datasets[0].stream: the Source has no stream "fligths"; did you mean flights?',
        ),
        (
            (SOURCE, LAKE, DATASET, PIPELINE.replace("[{", "[{cursor: id, ")),
            "spec.datasets[0].cursor: Source flights is files, which finds by itself what is new; remove `cursor`",
        ),
        (
            (SQLITE, LAKE, DATASET, PIPELINE.replace("[{", "[{stream: t, ")),
            "spec.datasets[0].cursor: sync incremental with Source flights, which is sqlite, needs `cursor`: a column "
            "whose value grows with each new or changed row, such as updated_at",
        ),
        (
            (SQLITE, LAKE, DATASET, PIPELINE.replace("[{", "[{stream: t, cursor: id, lookback: 1h, ")),
            "spec.datasets[0].lookback: lookback reads rows again, so it needs writeMode upsert, and Dataset flights "
            "has append. Use `delay`, or change the Dataset's writeMode.",
        ),
        (
            (LAKE, OUTBOX, DATASET.replace("{name: lake}", "{name: outbox}")),
            "spec.destinationRef.name: Destination outbox is files, which holds no tables. "
            "Name a Destination with connector.duckdb or connector.lake or connector.postgres.",
        ),
        (
            (LAKE, DATASET, SUBSCRIPTION.replace("{name: outbox}", "{name: lake}")),
            "spec.destinationRef.name: Destination lake is lake, which receives no deliveries. "
            "Name a Destination with connector.duckdb or connector.files or connector.postgres.",
        ),
        (
            (LAKE, OUTBOX, DATASET, SUBSCRIPTION.replace("{name: carrier}", "{name: carier}")),
            'spec.fields[0].name: Dataset flights has no field "carier"; did you mean carrier?',
        ),
    ],
)
def test_what_does_not_go_together_is_told(texts: tuple[str, ...], told: str) -> None:
    (complaint,) = _judged(*texts).complaints
    assert str(complaint.finding) == told


def test_the_same_object_twice_is_told_with_both_places() -> None:
    assert _told(SOURCE, SOURCE) == [
        "f.yaml:9: error: Source flights: metadata.name: the same object stands at f.yaml:2, too"
    ]


@pytest.mark.parametrize("table", ["flights", "flights_quarantine"])
def test_a_table_belongs_to_one_dataset_and_so_does_that_of_its_bad_rows(table: str) -> None:
    rival = DATASET.replace("name: flights}", "name: rival}").replace("table: flights", f"table: {table}")
    told = f'the table "{table}" belongs to Dataset flights (f.yaml:7); choose another table'
    assert _told(LAKE, DATASET, rival) == [f"f.yaml:20: error: Dataset rival: spec.table: {told}"]


def test_two_destinations_of_one_warehouse_are_one_place() -> None:
    other = LAKE.replace("{name: lake}", "{name: other}", 1)
    rival = DATASET.replace("name: flights}", "name: rival}").replace("{name: lake}", "{name: other}")
    assert len(_told(LAKE, other, DATASET, rival)) == 1
    assert _told(LAKE, other.replace("lake/w", "lake/x"), DATASET, rival) == []


def _errors(*texts: str) -> list[str]:
    return [str(each) for each in _judged(*texts).complaints if each.severity == "error"]


def test_two_subscriptions_into_one_folder_are_told_with_both_places() -> None:
    rival = SUBSCRIPTION.replace("{name: daily}", "{name: rival}")
    assert _errors(OUTBOX, SUBSCRIPTION, rival) == [
        "f.yaml:18: error: Subscription rival: spec.settings.suffix: Subscription daily (f.yaml:7) delivers into the "
        "same folder, s3://outbox/, and each would replace the other's deliveries; choose another suffix"
    ]
    assert _errors(OUTBOX, SUBSCRIPTION, rival + "  settings: {suffix: /rival/}\n") == []


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("filter: {recency: 30d}", "spec.fields[0].filter.recency: recency goes with date, timestamp and timestamptz"),
        ('filter: {range: {min: "1"}}', "spec.fields[0].filter.range: a range goes with numbers, dates and times"),
        ("filter: {}", "spec.fields[0].filter: a filter needs at least one of"),
        ("filter: {include: [NO]}", "spec.fields[0].filter.include[0]: must be a string"),
        ("filter: {isNull: true, notNull: true}", "spec.fields[0].filter: isNull goes with expression alone"),
        ("filter: {sinse: P1D}", "spec.fields[0].filter.sinse: unknown field"),
        ('filter: {expression: ""}', "spec.fields[0].filter.expression:"),
    ],
)
def test_a_filter_that_cannot_work_is_an_error_at_its_field(rules: str, said: str) -> None:
    wrong = SUBSCRIPTION.replace("{name: carrier}", f"{{name: carrier, {rules}}}")
    [error] = _errors(LAKE, OUTBOX, DATASET, wrong)
    assert said in error


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("deduplication: {by: [carier]}", 'spec.deduplication.by[0]: Dataset flights has no field "carier"'),
        ("frequency: {by: [carrier, carrier], min: 2}", 'spec.frequency.by[1]: the field "carrier" occurs twice'),
        ("frequency: {by: [carrier]}", "spec.frequency: frequency needs min or max"),
        ("frequency: {by: [carrier], min: 3, max: 2}", "spec.frequency: min 3 is above max 2"),
        ("deduplication: {by: [carrier], period: P0D}", 'spec.deduplication.period: "P0D" has a length of zero'),
    ],
)
def test_rules_that_cannot_work_are_errors_at_their_field(rules: str, said: str) -> None:
    [error] = _errors(LAKE, OUTBOX, DATASET, f"{SUBSCRIPTION}  {rules}\n")
    assert said in error


RECEIVING = """
apiVersion: penstock.dev/v1alpha1
kind: Destination
metadata: {name: outbox}
spec:
  connector: {postgres: {host: db, database: shop}}
  auth: {basic: {secretRef: {name: login}}}
"""


@pytest.mark.parametrize(
    ("destination", "settings", "expected"),
    [
        (
            OUTBOX,
            "{table: t}",
            "spec.settings.table: settings.table is not possible with Destination outbox, which is ",
        ),
        (RECEIVING, "{}", "spec.settings.table: Destination outbox is postgres, which receives tables; name the table"),
        (RECEIVING, "{table: t, suffix: a}", "spec.settings.suffix: settings.suffix is not possible with Destination"),
        (RECEIVING, "{table: t, format: {csv: {}}}", "spec.settings.format: settings.format is not possible with"),
        (RECEIVING, "{table: Penstock_runs}", 'spec.settings.table: "Penstock_runs" begins with "penstock_"'),
        (RECEIVING, f"{{table: {'t' * 64}}}", f'spec.settings.table: "{"t" * 64}" is longer than 63 bytes'),
    ],
)
def test_the_settings_of_a_delivery_go_with_what_its_destination_receives(
    destination: str, settings: str, expected: str
) -> None:
    [line] = _errors(destination, f"{SUBSCRIPTION}  settings: {settings}\n")
    assert f"Subscription daily: {expected}" in line
    assert _errors(RECEIVING, f"{SUBSCRIPTION}  settings: {{table: t}}\n") == []


@pytest.mark.parametrize(("name", "why"), [("c" * 64, "is longer than 63 bytes"), ("xmin", "is a column that every")])
def test_a_delivered_column_has_a_name_that_the_table_can_have(name: str, why: str) -> None:
    renamed = SUBSCRIPTION.replace("{name: carrier}", f"{{name: carrier, as: {name}}}")
    [line] = _errors(DATASET, RECEIVING, f"{renamed}  settings: {{table: t}}\n")
    assert f'spec.fields: "{name}" {why}' in line


def test_one_table_is_of_one_subscription_or_dataset() -> None:
    first = f"{SUBSCRIPTION}  settings: {{table: t}}\n"
    rival = first.replace("{name: daily}", "{name: rival}")
    [line] = _errors(RECEIVING, first, rival)
    assert "spec.settings.table: Subscription daily (f.yaml:9) delivers into the same table, t, and each would" in line
    own = DATASET.replace("{name: lake}", "{name: outbox}").replace("table: flights", "table: t")
    for table in ("t", "t_quarantine"):
        [line] = _errors(RECEIVING, own, first.replace("table: t", f"table: {table}"))
        assert f'spec.settings.table: the table "{table}" belongs to Dataset flights (f.yaml:' in line


@pytest.mark.parametrize(
    ("access", "budget", "said"),
    [
        ("", '{amount: "1", currency: USD, period: daily}', "spec.budget: Dataset flights has no access.pricePer"),
        (
            "USD",
            '{amount: "1", currency: EUR, period: daily}',
            "spec.budget.currency: the price of Dataset flights is ",
        ),
        ("USD", '{amount: "-1", currency: USD, period: daily}', "spec.budget.amount: "),
        ("USD", '{amount: "1", currency: usd, period: daily}', "spec.budget.currency: "),
        ("USD", '{amount: "1", currency: USD, period: weekly}', "spec.budget.period: "),
        ("USD", "{amount: 1.5, currency: USD, period: daily}", "spec.budget.amount: must be a string"),
    ],
)
def test_a_budget_that_cannot_work_is_an_error(access: str, budget: str, said: str) -> None:
    price = f'  access: {{pricePerThousand: {{amount: "1.50", currency: {access}}}}}\n' if access else ""
    [error] = _errors(LAKE, OUTBOX, DATASET + price, f"{SUBSCRIPTION}  budget: {budget}\n")
    assert said in error


@pytest.mark.parametrize(
    ("offered", "rules", "said"),
    [
        ("[carier]", "", 'f.yaml:10: error: Dataset flights: spec.access.fields[0]: there is no field "carier"'),
        ("[flight]", "", 'spec.fields[0].name: access.fields of Dataset flights does not offer the field "carrier"'),
        ("[carrier]", "  frequency: {by: [tail], min: 2}\n", "spec.frequency.by[0]: access.fields of Dataset flights"),
    ],
)
def test_a_subscription_of_what_is_not_offered_is_an_error(offered: str, rules: str, said: str) -> None:
    dataset = f"{DATASET}  access: {{fields: {offered}}}\n".replace(
        "{name: carrier, type: string}", "{name: carrier, type: string}, {name: flight, type: int}"
    )
    errors = _errors(LAKE, OUTBOX, dataset, SUBSCRIPTION + rules)
    assert any(said.partition("error: ")[2] in error or said in error for error in errors), errors


def test_two_destinations_may_be_one_folder() -> None:
    inner = OUTBOX.replace("{name: outbox}", "{name: inner}").replace("s3://outbox/", "s3://outbox/daily/")
    rival = SUBSCRIPTION.replace("{name: daily}", "{name: rival}").replace("{name: outbox}", "{name: inner}")
    outer = SUBSCRIPTION + "  settings: {suffix: daily}\n"
    assert len(_errors(OUTBOX, inner, outer, rival)) == 1
    assert _errors(OUTBOX, inner, SUBSCRIPTION, rival) == []


def test_expressions_are_judged_by_who_can_even_beside_other_faults() -> None:
    def judge(written: str, where: str) -> None:
        raise InvalidSpec(f"{where}: {written} is none")

    wrong = DATASET.replace("{name: carrier, type: string}", '{name: carrier, type: text, from: "foo("}')
    found = validation.validate(manifests.loads(wrong, "f.yaml"), expressions=judge).complaints
    assert [str(each.finding) for each in found if each.severity == "error"] == [
        'spec.schema.fields[0].type: "text" is not one of our types; did you mean string?',
        "spec.schema.fields[0].from: field carrier: foo( is none",
    ]


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ("{name: Flights}", 'metadata.name: "Flights" is not a name: lower-case letters, digits, - and .'),
        ("{name: 2024}", 'metadata.name: must be a string: write it in quotes, "2024"'),
        ("{name: a, label: {}}", "metadata.label: unknown field; did you mean labels?"),
        ("[]", "metadata: must be an object"),
        (f"{{name: {'a' * 64}}}", "metadata.name: has 64 characters; at most 63"),
    ],
)
def test_metadata_is_checked_as_the_api_server_would(metadata: str, told: str) -> None:
    (line,) = _told(SOURCE.replace("{name: flights}", metadata, 1))
    assert line.endswith(told)


def test_a_misspelled_group_is_not_left_to_kubectl() -> None:
    assert _told(SOURCE.replace("penstock.dev", "penstok.dev")) == [
        'f.yaml:2: error: Source flights: apiVersion: "penstok.dev/v1alpha1" is not served; write penstock.dev/v1alpha1'
    ]


def test_a_document_that_cannot_be_read_is_a_fault() -> None:
    assert _told("a: 1\n  b: 2\n") == ["f.yaml:2: error: is not YAML: mapping values are not allowed here"]
    assert _told("- 1\n")[0].endswith("is not an object: apiVersion, kind, metadata and spec are expected")


WAREHOUSE = """
apiVersion: penstock.dev/v1alpha1
kind: Destination
metadata: {name: lake}
spec:
  connector: {postgres: {host: db.example.org, database: shop, sslMode: verify-full}}
  auth: {basic: {secretRef: {name: writer}}}
"""
LONG = "x" * 64


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("table: flights", f"table: {LONG[:53]}", "spec.table: "),
        ("table: flights", "table: penstock_runs", "spec.table: "),
        ("name: carrier", f"name: {LONG}", "spec.schema.fields[0].name: "),
        ("name: carrier", "name: XMIN", "spec.schema.fields[0].name: "),
    ],
)
def test_names_that_a_system_cannot_have_are_refused(before: str, after: str, said: str) -> None:
    """The same in a lake is right."""
    dataset = DATASET.replace(before, after, 1)
    assert dataset != DATASET
    assert _told(LAKE, dataset) == []
    (complaint,) = _judged(WAREHOUSE, dataset).complaints
    assert str(complaint.finding).startswith(said)


def test_the_longest_names_that_a_system_can_have_are_right() -> None:
    names = DATASET.replace("name: carrier", f"name: {LONG[:63]}", 1).replace("table: flights", f"table: {LONG[:52]}")
    assert _told(WAREHOUSE, names) == []


def test_more_fields_than_a_system_has_columns_are_refused() -> None:
    """The most that are allowed leave room for lineage and for the part of staging."""
    fields = ", ".join(f"{{name: f{number}, type: long}}" for number in range(1591))
    wide = DATASET.replace("{name: carrier, type: string}", fields)
    (complaint,) = _judged(WAREHOUSE, wide).complaints
    assert "allows 1,590 fields, and there are 1,591" in str(complaint.finding)


@pytest.mark.parametrize("schema", ["pg_catalog", "information_schema", "pg_temp"])
def test_a_schema_of_the_system_is_refused(schema: str) -> None:
    (said,) = _told(WAREHOUSE.replace("database: shop", f"database: shop, schema: {schema}"))
    assert "belongs to PostgreSQL itself" in said


AFTER = "\n  trigger: {after: [{datasetRef: {name: %s}}]}\n"


def test_pipelines_that_start_each_other_are_errors_each_at_its_trigger() -> None:
    other = PIPELINE.replace("name: flights}\nspec", "name: other}\nspec").replace(
        "name: flights}, sync", "name: more}, sync"
    )
    more = DATASET.replace("flights", "more")
    texts = (SOURCE, LAKE, DATASET, more, PIPELINE.rstrip() + AFTER % "more", other.rstrip() + AFTER % "flights")
    verdict = _judged(*texts)
    assert [complaint.subject for complaint in verdict.complaints] == ["Pipeline flights", "Pipeline other"]
    assert all("start each other without end" in complaint.finding.message for complaint in verdict.complaints)
    own = _judged(SOURCE, LAKE, DATASET, PIPELINE.rstrip() + AFTER % "flights")
    assert [str(complaint.finding.path[:3]) for complaint in own.complaints] == ["('spec', 'trigger', 'after')"]
    missing = _judged(SOURCE, LAKE, DATASET, PIPELINE.rstrip() + AFTER % "flight", complete=True)
    assert [complaint.finding.path[-1] for complaint in missing.complaints] == ["name"]
