"""Loads of Datasets that start a run, and Pipelines that would start each other without end."""

from collections.abc import Callable, Hashable, Iterable
from typing import Annotated, Self, TypeVar

from pydantic import Field, model_validator

from penstock.language.model import Model
from penstock.language.scalars import Name, ShortText, Time

K = TypeVar("K", bound=Hashable)
D = TypeVar("D", bound=Hashable)


class DatasetRef(Model):
    """A Dataset in this namespace."""

    name: Annotated[Name, Field(description="Name of the Dataset.")]


class After(Model):
    """A Dataset whose loads start a run."""

    dataset_ref: Annotated[DatasetRef, Field(description="The Dataset.")]


class Trigger(Model):
    """What starts a run by itself."""

    after: Annotated[
        list[After],
        Field(
            min_length=1,
            max_length=16,
            description="Run when one of these Datasets has been loaded. Loads that come while a run waits or runs "
            "start one run afterwards, if that run began before them. A run that begins after a load handles it, "
            "whatever started the run. A load that ended before this field was set starts a run, too.",
        ),
    ]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names = self.names
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f'after: the Dataset "{twice}" occurs twice')
        return self

    @property
    def names(self) -> list[str]:
        """The names of the Datasets."""
        return [entry.dataset_ref.name for entry in self.after]


class HandledLoad(Model):
    """The newest load of a Dataset that a run has handled."""

    dataset: Annotated[ShortText, Field(description="Name of the Dataset.")]
    load: Annotated[Time, Field(description="The `status.lastLoadTime` that it had when the run began; RFC 3339.")]


def cycle(start: K, writes: Callable[[K], Iterable[D]], followers: Callable[[D], Iterable[K]]) -> list[K] | None:
    """The Pipelines through which a run of `start` would start another run of it, in order; None if there are none.

    `writes` tells the Datasets that a Pipeline loads, `followers` the Pipelines that run after a load of a Dataset.
    """
    came_from: dict[K, K] = {}
    ahead = [start]
    for pipeline in ahead:
        for dataset in writes(pipeline):
            for follower in followers(dataset):
                if follower == start:
                    return _path(came_from, start, pipeline)
                if follower not in came_from:
                    came_from[follower] = pipeline
                    ahead.append(follower)
    return None


def _path(came_from: dict[K, K], start: K, end: K) -> list[K]:
    path = [end]
    while path[-1] != start:
        path.append(came_from[path[-1]])
    return path[::-1]


def cycle_in_words(names: list[str]) -> str:
    """What is wrong with a cycle of Pipelines, and what to do."""
    if len(names) == 1:
        return (
            "the Pipeline loads a Dataset that it runs after, so each run would start another; remove it from `after`"
        )
    chain = ", ".join(names)
    return (
        f"the Pipelines {chain} start each other without end, because each loads a Dataset that the next one runs "
        "after, and the last one loads one for the first; remove one of them from `after`"
    )
