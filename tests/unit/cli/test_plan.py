"""`penstock plan`: what changes, what becomes of the data, what cannot be known, and for what it fails."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from house import tree
from penstock.cli import changes, changeviews
from penstock.cli.changes import ObjectChange
from penstock.cli.plan import plan
from support import manifests
from support.manifests import FIELDS, Manifest

SET = [manifests.source(), manifests.lake(), manifests.dataset(), manifests.pipeline()]
READERS = [manifests.outbox(), manifests.subscription()]


def _table(*fields: Manifest, status: Manifest | None = None, **spec: Any) -> Manifest:
    made = manifests.dataset(**spec)
    made["spec"]["schema"] = {"fields": [*fields] or FIELDS}
    return made | {"status": status or {}}


def _dataset(before: Manifest, after: Manifest, *others: Manifest) -> ObjectChange:
    made = changes.between([*SET, *READERS, *others, before], [after], removes=False)
    (change,) = [each for each in made if each.kind == "Dataset"]
    return change


ID, CITY, AMOUNT = FIELDS


@pytest.mark.parametrize(
    ("fields", "message", "breaking"),
    [
        (
            [*FIELDS, {"name": "x", "type": "date"}],
            "column x (date) is added; rows that are there have no value",
            False,
        ),
        ([*FIELDS, {"name": "x", "type": "date", "required": True}], "which is required, is added: refused", True),
        ([ID, CITY], "column amount (double) is dropped: refused, because the table has 1,200 rows", True),
        ([ID, CITY | {"type": "int"}, AMOUNT], "column city is retyped from string to int: refused", True),
        ([ID, CITY | {"required": True}, AMOUNT], "column city becomes required: refused", True),
        ([ID | {"required": False}, CITY, AMOUNT], "column id is not required any more", False),
        (
            [ID, CITY | {"name": "town", "renamedFrom": "city", "from": "city"}, AMOUNT],
            "city is renamed to town",
            False,
        ),
        ([CITY, ID, AMOUNT], "the columns have another order", False),
        ([ID, CITY, AMOUNT | {"minimum": "1"}], "amount: read or checked by other rules", False),
    ],
)
def test_each_change_of_a_schema_has_its_effect(fields: list[Manifest], message: str, breaking: bool) -> None:
    change = _dataset(_table(status={"rows": 1200, "bytes": 5000}), _table(*fields))
    assert message in " ".join(effect.message for effect in change.effects)
    assert change.breaking is breaking
    assert change.affected == ("Pipeline cities", "Subscription cities")


@pytest.mark.parametrize(("rows", "breaking"), [(0, False), (1, True), (None, True)])
def test_an_empty_table_takes_every_change_and_one_that_nobody_knows_may_not(rows: int | None, breaking: bool) -> None:
    status = {} if rows is None else {"rows": rows}
    change = _dataset(_table(status=status), _table(ID, CITY))
    assert change.breaking is breaking
    assert ("rows: unknown" in change.effects[0].message) is (rows is None)


def test_figures_that_only_a_cluster_has_are_unknown_without_one() -> None:
    added = _table(*FIELDS, {"name": "x", "type": "date"})
    text = changeviews.text([_dataset(_table(), added)])
    assert "rows in the table: unknown" in text
    assert "bytes rewritten: 0" in text
    assert "rows that keep their values until they are loaded again: unknown" in text
    known = changeviews.text([_dataset(_table(status={"rows": 1200}), added)])
    assert "rows in the table: 1,200" in known
    assert "loaded again: 1,200" in known


def test_a_widened_column_is_written_again_where_the_system_does_that() -> None:
    narrow, wide = ID | {"type": "int"}, ID | {"type": "long"}
    status = {"rows": 3, "bytes": 5000}
    assert _dataset(_table(narrow, status=status), _table(wide)).bytes_rewritten == 0
    postgres = manifests.of("Destination", "lake", {"connector": {"postgres": {"host": "h", "database": "d"}}})
    change = changes.between([postgres, _table(narrow, status=status)], [_table(wide)], removes=False)[0]
    assert change.bytes_rewritten == 5000


def test_a_table_that_is_not_as_the_cluster_says_is_pointed_out() -> None:
    failed = {"type": "SchemaCurrent", "status": "False", "message": "amount is in the table only"}
    change = _dataset(
        _table(status={"conditions": [failed], "rows": 1}), _table(*FIELDS, {"name": "x", "type": "date"})
    )
    assert any("does not have the schema in the cluster: amount is" in effect.message for effect in change.effects)


@pytest.mark.parametrize(
    ("after", "message", "breaking"),
    [
        (manifests.pipeline(identity="other"), "loaded again", True),
        (manifests.pipeline(runNonce="2"), "a run starts at once", False),
        (manifests.pipeline(schedule=["0 3 * * *"]), "runs at other times", False),
        (manifests.pipeline(suspend=True), "nothing new is started", False),
        (manifests.pipeline(datasets=[{"datasetRef": {"name": "b"}, "sync": "incremental"}]), "its rows stay", True),
        (manifests.source(url="file:///volumes/in/other/"), "another place", False),
        (manifests.subscription(settings={"suffix": "x"}), "other columns, other rows or another form", False),
        (manifests.dataset(table="other"), "table is immutable", True),
        (manifests.dataset(writeMode="replace"), "written by replace instead of append", False),
    ],
)
def test_changes_of_each_kind_have_their_effects(after: Manifest, message: str, breaking: bool) -> None:
    made = changes.between([*SET, *READERS], [after], removes=False)
    assert message in " ".join(effect.message for effect in made[0].effects)
    assert made[0].breaking is breaking


def test_equal_manifests_change_nothing_however_they_are_written() -> None:
    explicit = manifests.dataset(writeMode="append", suspend=False)
    made = changes.between(SET, [explicit], removes=False)
    assert [each.action for each in made] == ["unchanged"]
    assert changeviews.summary(made) == "1 unchanged"


def test_an_object_that_the_cluster_has_and_that_is_not_valid_does_not_end_the_plan() -> None:
    odd = {**manifests.pipeline(), "spec": {"sourceRef": {"name": "cities"}, "old": 1}}
    made = changes.between([*SET[:3], odd], [manifests.pipeline(), manifests.dataset()], removes=False)
    assert [(each.kind, each.action) for each in made] == [("Dataset", "unchanged"), ("Pipeline", "change")]


def test_markdown_stays_in_its_cells() -> None:
    change = ObjectChange("Dataset", "a", "change", (changes.FieldChange("x", '"`|<b>```"', None),),
                          (changes.Effect("a|b<c>`"),))  # fmt: skip
    text = changeviews.markdown([change])
    assert "a\\|b&lt;c>'" in text
    assert text.count("```") == 2


# ── the command ──


def _folder(path: Path, *objects: Manifest) -> Path:
    path.mkdir()
    (path / "all.yaml").write_text(yaml.safe_dump_all(objects))
    return path


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(plan, [str(argument) for argument in arguments], catch_exceptions=True)


@pytest.mark.parametrize(
    ("after", "fail_on", "code"),
    [
        (SET, "changes", 0),
        ([*SET, *READERS], "breaking", 0),
        ([*SET, *READERS], "changes", 2),
        ([*SET[:2], _table(ID), SET[3]], "breaking", 2),
        ([*SET[:2], _table(ID), SET[3]], "never", 0),
        (SET[:3], "breaking", 2),
    ],
)
def test_the_exit_code_says_whether_something_breaks(
    tmp_path: Path, after: list[Manifest], fail_on: str, code: int
) -> None:
    before, new = _folder(tmp_path / "before", *SET), _folder(tmp_path / "after", *after)
    assert _run("-f", new, "--against", before, "--fail-on", fail_on).exit_code == code


def test_json_has_null_for_what_is_unknown(tmp_path: Path) -> None:
    before, after = _folder(tmp_path / "before", *SET), _folder(tmp_path / "after", *SET[:2], _table(ID), SET[3])
    result = json.loads(_run("-f", after, "--against", before, "-o", "json").output)
    (changed,) = [each for each in result["changes"] if each["action"] == "change"]
    assert (result["breaking"], changed["rows"], changed["affected"]) == (True, None, ["Pipeline cities"])


def test_manifests_that_are_not_valid_and_several_namespaces_are_errors(tmp_path: Path) -> None:
    before = _folder(tmp_path / "before", *SET)
    bad = _folder(tmp_path / "bad", manifests.dataset(writeMode="apend"))
    assert "writeMode" in str(_run("-f", bad, "--against", before).exception)
    faults = _folder(tmp_path / "faults", manifests.dataset(writeMode="apend", table=1))
    lines = str(_run("-f", faults, "--against", before).exception).splitlines()
    assert [lines[0], len(lines)] == ["the manifests have 2 errors:", 3], "each error is a line"
    two = [
        {**each, "metadata": {**each["metadata"], "namespace": name}} for each, name in zip(SET, "abcd", strict=False)
    ]
    assert "namespaces a, b, c, d" in str(_run("-f", _folder(tmp_path / "two", *two), "--against", before).exception)


def _ci_commands() -> list[str]:
    page = (tree.ROOT / "docs" / "plan.md").read_text()
    github, gitlab = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, flags=re.S))
    steps = [step.get("run", "") for step in github["jobs"]["plan"]["steps"]] + gitlab["plan"]["script"]
    return [step for step in steps if step.startswith("penstock plan")]


@pytest.mark.parametrize("command", _ci_commands())
def test_the_commands_of_the_ci_examples_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("change", "main"):
        Path(folder).mkdir()
        _folder(tmp_path / folder / "manifests", *SET)
    _folder(tmp_path / "manifests", *SET)
    line, _, target = command.partition(" > ")
    result = _run(*shlex.split(line)[2:])
    assert result.exit_code == 0
    assert result.output.startswith("### Penstock plan: " if target else "4 unchanged")
