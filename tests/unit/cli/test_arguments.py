"""Objects by name, and lengths of time."""

import asyncio

import click
import pytest

from penstock.api.objects import API_VERSION
from penstock.cli import arguments
from penstock.language.errors import InvalidSpec
from support.fakecluster import FakeCluster

THERE = ("Source/flights", "Dataset/flights", "Pipeline/flights", "Subscription/delays", "Source/web", "Destination/b")


def _find(*words: str, there: tuple[str, ...] = THERE, tiers: arguments.Tiers = arguments.WHAT_RUNS) -> str:
    async def found() -> str:
        cluster = FakeCluster()
        for kind, name in (entry.split("/") for entry in there):
            metadata = {"name": name, "namespace": "default"}
            await cluster.create({"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": {}})
        manifest = await arguments.find(cluster, "default", words, tiers)
        return f"{manifest['kind']}/{manifest['metadata']['name']}"

    return asyncio.run(found())


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("flights", "Pipeline/flights"),
        ("delays", "Subscription/delays"),
        ("web", "Source/web"),
        ("b", "Destination/b"),
        ("source/flights", "Source/flights"),
        ("pds flights", "Dataset/flights"),
        ("subscriptions.penstock.dev/delays", "Subscription/delays"),
    ],
)
def test_a_name_finds_what_runs_and_else_the_one_other(words: str, found: str) -> None:
    assert _find(*words.split()) == found


def test_a_dataset_is_found_where_only_datasets_are_meant() -> None:
    assert _find("flights", tiers=(("Dataset",),)) == "Dataset/flights"
    with pytest.raises(InvalidSpec, match="this command does not take a Pipeline; it takes a Dataset"):
        _find("pipeline/flights", tiers=(("Dataset",),))


def test_a_name_of_two_is_told_with_both_forms() -> None:
    with pytest.raises(InvalidSpec, match='"a" is the name of 2 objects; say which: pipeline/a or subscription/a'):
        _find("a", there=("Pipeline/a", "Subscription/a", "Dataset/a"))
    with pytest.raises(InvalidSpec, match="say which: source/a, destination/a or dataset/a"):
        _find("a", there=("Source/a", "Destination/a", "Dataset/a"))


def test_a_name_of_none_is_told_with_the_nearest() -> None:
    with pytest.raises(InvalidSpec) as raised:
        _find("delay")
    assert raised.value.message == (
        'there is no Pipeline, Subscription, Source, Destination or Dataset "delay" in namespace default; '
        "did you mean delays?"
    )
    with pytest.raises(InvalidSpec, match="there is no Pipeline default/web"):
        _find("pipeline/web")
    with pytest.raises(InvalidSpec, match=r"in namespace default$"):
        _find("x", there=())


def test_two_names_are_told_how_one_object_is_named() -> None:
    with pytest.raises(InvalidSpec) as raised:
        _find("flights", "bom")
    assert raised.value.message == (
        '"flights" is not a Penstock kind; choose from source, destination, dataset, pipeline, subscription. '
        "Name one object: NAME, KIND/NAME or KIND NAME"
    )
    with pytest.raises(InvalidSpec, match=r"did you mean pipeline\? Name one object: NAME"):
        _find("pipelin/flights")


@pytest.mark.parametrize("words", ["pipeline/", "/x", "a/b/c"])
def test_anything_else_is_wrong_usage(words: str) -> None:
    with pytest.raises(click.UsageError, match="Name one object: NAME, KIND/NAME or KIND NAME"):
        _find(words)


@pytest.mark.parametrize(("given", "seconds"), [("30s", 30), ("5m", 300), ("1h30m", 5400), ("1d", 86_400)])
def test_a_duration_is_written_as_for_kubectl(given: str, seconds: int) -> None:
    assert arguments.Duration().convert(given, None, None) == seconds


@pytest.mark.parametrize("given", ["30", "0s", "", "5 m", "-1s"])
def test_what_is_no_duration_is_told(given: str) -> None:
    with pytest.raises(click.BadParameter, match="write 30s, 5m or 1h30m"):
        arguments.Duration().convert(given, None, None)
