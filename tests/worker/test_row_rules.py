"""Checks of fields and rules of rows: which rows are bad, which are loaded with a warning, and what is said of them."""

import os
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from penstock.api import manifests, validation
from penstock.api.fields import SchemaField
from penstock.api.quality import RowRule
from penstock.language.errors import InvalidSpec
from penstock.worker.rows import origins, rowrules
from worker import judging
from worker.pods import a_pod, csv, field

SEEDS = range(int(os.environ.get("PENSTOCK_FUZZ_SEEDS", "4")))
CANARY = "zanzibar"


def rule(name: str, expression: str, severity: str | None = None) -> dict[str, Any]:
    """A rule as a manifest has it."""
    return {"name": name, "expression": expression, **({"severity": severity} if severity else {})}


FLIGHTS = [
    field("tail", "string", sensitive=True, check="length(tail) < 8"),
    field("departed", "timestamp"),
    field("arrived", "timestamp"),
    field("delay", "int", check="delay > -100 AND delay < 1000"),
]
RULES = [
    rule("arrives_later", "arrived >= departed"),
    rule("sane-delay", "delay < 600", "warn"),
    rule("fits", "(delay::decimal(9,0) * 2147483647)::int > -2147483648", "warn"),
]


def test_a_row_that_breaks_a_check_or_a_rule_is_bad(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pod = a_pod(tmp_path, *FLIGHTS, form=csv(), quality={"maxBadRatio": "100%", "rules": RULES})
    rows = [
        "N1,2026-01-01 10:00:00,2026-01-01 11:00:00,0",
        f"{CANARY},2026-01-01 10:00:00,2026-01-01 11:00:00,1",
        "N3,2026-01-01 10:00:00,2026-01-01 09:00:00,0",
        ",,,",
        "N5,2026-01-01 10:00:00,,700",
        f"{CANARY},2026-01-01 10:00:00,2026-01-01 09:00:00,5000",
        "N7,yesterday,2026-01-01 09:00:00,5000",
    ]
    (pod.data / "a.csv").write_text("tail,departed,arrived,delay\n" + "\n".join(rows) + "\n")
    report = pod.work()
    assert sorted(row["delay"] or 0 for row in pod.rows()) == [0, 0, 700]
    bad = {row["position"]: (row["stage"], row["field"], row["reason"], row["message"]) for row in pod.bad()}
    assert bad == {
        3: ("quality", "tail", "CheckFailed", "tail does not pass its check"),
        4: ("quality", None, "arrives_later", "the row breaks the rule arrives_later"),
        7: (
            "quality",
            "tail",
            "CheckFailed",
            "tail does not pass its check; delay does not pass its check; the row breaks the rule arrives_later",
        ),
        8: ("shape", "departed", "WrongType", bad[8][3]),
    }
    entry = report.datasets[0]
    assert [(each.rule, each.rows, each.places) for each in entry.warnings] == [
        ("sane-delay", 1, ["file:///volumes/data/a.csv:6"]),
        ("fits", 1, ["file:///volumes/data/a.csv:6"]),
    ]
    assert entry.counts.balanced
    assert CANARY not in report.model_dump_json() + str(pod.bad()) + caplog.text


@pytest.mark.parametrize("seed", SEEDS)
def test_rules_give_the_same_answer_however_the_values_were_read(seed: int, tmp_path: Path) -> None:
    """Plain cells are read by Arrow, others by SQL; Python judges the rule."""
    chance = random.Random(seed)
    fields = [field("c0", "int", check="c0 % 7 <> 0"), field("c1", "int", from_="c1::int + 0"), field("c2", "string")]
    rules = [rule("ordered", "c0 <= c1"), rule("known", "c2 IN ('a', 'b')", "warn")]
    numbers = [[chance.choice([None, chance.randint(0, 30)]) for _ in range(400)] for _ in range(2)]
    words = [chance.choice([None, "a", "b", "c"]) for _ in range(400)]
    ways = ["{}", " {}", "+{}", "{}.0"]
    odd = [None if number is None else chance.choice(ways).format(number) for number in numbers[0]]
    plain = [None if number is None else str(number) for number in numbers[1]]
    table = pa.table({"c0": pa.array(odd, pa.string()), "c1": pa.array(plain, pa.string()), "c2": words})
    good, bad = judging.rows(table, tmp_path, fields, rules)
    for row, (first, second, _) in enumerate(zip(*numbers, words, strict=True)):
        reasons = ["CheckFailed"] if first is not None and first % 7 == 0 else []
        reasons += ["ordered"] if first is not None and second is not None and first > second else []
        assert [bad[row]["reason"]] == reasons[:1] if reasons else row in good, (first, second)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("nobody > 1", 'rule r: there is no field "nobody"; the fields are n, word, day.'),
        ("wrd = 'x'", 'rule r: there is no field "wrd"; did you mean "word"?'),
        ("n + 1", "rule r: n + 1 is INTEGER, and a rule is true or false. Write a comparison."),
        ("1 < 2", "rule r: 1 < 2 names no field of the Dataset."),
        ("n.x = 1", 'rule r: there is no field "n.x"; the fields are n, word, day.'),
        ("n >", "rule r: n > is not an SQL expression"),
        ("word > 1 AND upper(n) = 'A'", "cannot be computed"),
        ("random() < n", "rule r: "),
        ("day + 'x' > 1", "cannot be computed"),
    ],
)
def test_what_cannot_be_a_rule(expression: str, said: str) -> None:
    columns = (field("n", "int"), field("word", "string"), field("day", "date"))
    fields = [SchemaField.model_validate(each) for each in columns]
    with pytest.raises(InvalidSpec) as refused:
        rowrules.question(fields, [RowRule.model_validate(rule("r", expression))])
    assert said in refused.value.message


MANIFEST = """
apiVersion: penstock.dev/v1alpha1
kind: Dataset
metadata: {name: flights}
spec:
  destinationRef: {name: lake}
  table: flights
  schema:
    fields:
      - {name: delay, type: int, check: "delai > 1"}
      - {name: tail, type: string, check: "length(tail) < 8"}
  quality:
    rules:
      - {name: good, expression: "delay < 10"}
      - name: bad
        expression: delay + 1
"""


def test_validate_names_the_line_of_a_wrong_rule() -> None:
    verdict = validation.validate(
        manifests.loads(MANIFEST, "f.yaml"), expressions=origins.check_expression, rules=rowrules.check
    )
    assert [str(each) for each in verdict.complaints if each.severity == "error"] == [
        "f.yaml:10: error: Dataset flights: spec.schema.fields[0].check: field delay: check: there is no field "
        '"delai"; did you mean "delay"?',
        "f.yaml:16: error: Dataset flights: spec.quality.rules[1].expression: rule bad: delay + 1 is INTEGER, and a "
        "rule is true or false. Write a comparison.",
    ]
