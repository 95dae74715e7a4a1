"""The metrics: each run is counted once, each object says what its status says, and what is asked for exists."""

import asyncio
import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from house import tree
from penstock.api.objects import Key
from penstock.control import metrics as metrics_module
from penstock.control.cluster.port import Ref
from penstock.control.metrics import Metrics
from penstock.control.reconcile import World, reconcile
from support import jobs, manifests, scene
from support.scene import Scene

ORDER = ("kind", "namespace", "name", "state", "reason", "outcome", "type", "cause", "object")
MONITORING = tree.ROOT / "deploy" / "monitoring"


def _reconciled(stage: Scene, metrics: Metrics) -> None:
    """Reconcile every object, with `metrics` beside it."""
    stage.see()
    world = World(stage.cluster, stage.store, stage.settings, stage.logs, metrics)
    for key in stage.store.object_keys():
        asyncio.run(reconcile(key, world, stage.now))


def _values(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """The samples of a metric, by the values of their labels."""
    families = text_string_to_metric_families(metrics.text().decode())
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return {
        tuple(sample.labels[label] for label in ORDER if label in sample.labels): sample.value for sample in samples
    }


def _loaded(metrics: Metrics) -> Scene:
    stage = scene.ready()
    stage.apply(manifests.dataset(freshness="2h"))
    stage.settle()
    stage.wait(60)
    stage.finish(stage.jobs("ingest")[0], jobs.report(loaded=3, quarantined=2))
    _reconciled(stage, metrics)
    return stage


def test_a_run_and_its_rows_are_counted_once_also_by_the_next_operator() -> None:
    first = Metrics()
    stage = _loaded(first)
    for metrics, expected in ((first, 1.0), (Metrics(), 0.0)):
        for _ in range(2):
            _reconciled(stage, metrics)
        assert sum(_values(metrics, "penstock_runs_total").values()) == expected
    assert _values(first, "penstock_runs_total") == {("Pipeline", "default", "cities", "Succeeded", ""): 1.0}
    rows = _values(first, "penstock_rows_total")
    assert rows["Pipeline", "default", "cities", "loaded"] == 3
    assert rows["Pipeline", "default", "cities", "quarantined"] == 2
    assert _values(first, "penstock_run_duration_seconds_count") == {("Pipeline",): 1.0}
    assert _values(first, "penstock_run_duration_seconds_sum") == {("Pipeline",): 60.0}


def test_objects_say_what_their_status_says_and_nothing_once_they_are_gone() -> None:
    metrics = Metrics()
    stage = _loaded(metrics)
    conditions = _values(metrics, "penstock_condition")
    assert conditions["Dataset", "default", "cities", "Ready"] == 1
    assert _values(metrics, "penstock_dataset_rows") == {("default", "cities"): 3.0}
    assert _values(metrics, "penstock_dataset_freshness_seconds") == {("default", "cities"): 7200.0}
    stage.cluster.remove(Ref("Dataset", "default", "cities"))
    metrics.forget(Key("Dataset", "default", "cities"))
    assert not [labels for labels in _values(metrics, "penstock_condition") if labels[0] == "Dataset"]


def test_runs_that_wait_are_counted_by_cause_and_object() -> None:
    stage = scene.ready()
    limited = manifests.source()
    limited["spec"]["maxConcurrentRuns"] = 1
    other = manifests.dataset("towns")
    stage.apply(limited, other)
    stage.settle()
    stage.finish(stage.jobs("migrate")[-1])
    stage.settle()
    stage.apply(manifests.pipeline("towns", datasets=[{"datasetRef": {"name": "towns"}, "sync": "incremental"}]))
    stage.settle()
    metrics = Metrics()
    _reconciled(stage, metrics)
    assert _values(metrics, "penstock_runs_active")["Pipeline", "default"] == 1
    waiting = {("Pipeline", "default", "MaxConcurrentRuns", "Source/cities"): 1.0}
    assert _values(metrics, "penstock_runs_waiting") == waiting
    assert len(_values(metrics, "penstock_oldest_waiting_run_timestamp_seconds")) == 1


# ── what is asked of them ──


def _labels() -> dict[str, set[str]]:
    """Every metric there is, with its labels, from an operator that has all of them."""
    metrics = Metrics(dict.fromkeys(metrics_module.OPERATOR_GAUGES, lambda: 1.0), {("GET", "200"): 1})
    stage = _loaded(metrics)
    stage.apply(manifests.pipeline("twin", runNonce="1"), manifests.pipeline(runNonce="2"))
    stage.settle()
    _reconciled(stage, metrics)
    metrics.reconciled(Key("Dataset", "default", "cities"), 0.1)
    families = text_string_to_metric_families(metrics.text().decode())
    return {sample.name: {*sample.labels} for family in families for sample in family.samples}


def _expressions(file: Path) -> list[str]:
    if file.suffix == ".json":
        board = json.loads(file.read_text())
        queries = [entry["query"] for entry in board["templating"]["list"] if entry["type"] == "query"]
        return [target["expr"] for panel in board["panels"] for target in panel["targets"]] + queries
    return [rule["expr"] for group in yaml.safe_load(file.read_text())["spec"]["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("name", ["rules.yaml", "dashboard.json"])
def test_alerts_and_dashboard_ask_for_metrics_and_labels_that_exist(name: str) -> None:
    there = _labels()
    for expression in _expressions(MONITORING / name):
        for metric, selectors in re.findall(r"(penstock_\w+)(?:\{([^}]*)\})?", expression):
            assert metric in there, expression
            assert {*re.findall(r"(\w+)=", selectors)} <= there[metric], expression
        grouped = {label for labels in re.findall(r"by \(([^)]*)\)", expression) for label in labels.split(", ")}
        asked = re.findall(r"penstock_\w+", expression)
        assert grouped <= set().union(*(there[metric] for metric in asked)), expression


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    page = (tree.ROOT / "docs" / "operating.md").read_text()
    groups = yaml.safe_load((MONITORING / "rules.yaml").read_text())["spec"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert re.findall(r"^#### (Penstock\w+)$", page, flags=re.MULTILINE) == [rule["alert"] for rule in rules]
    assert all(rule["annotations"]["runbook_url"].endswith(f"#{rule['alert'].lower()}") for rule in rules)
    for rule in rules:
        named = {*re.findall(r"\$labels\.(\w+)", rule["annotations"]["description"])}
        (metric, *_) = re.findall(r"penstock_\w+", rule["expr"]) or ["up"]
        assert not named or named <= _labels()[metric]


def test_every_metric_is_documented() -> None:
    page = (tree.ROOT / "docs" / "operating.md").read_text()
    for metric in _labels():
        base = re.sub(r"_(bucket|count|sum|created)$", "", metric)
        assert f"`{base}`" in page or f"`…{base.removeprefix('penstock_dataset')}`" in page, metric
