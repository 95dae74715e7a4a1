"""What a run reads, decided once and then never changed: retries read the same versions of the same inputs. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any

from penstock.api import checks
from penstock.language import words
from penstock.language.errors import InvalidSpec
from penstock.language.model import Model
from penstock.language.traits import WriteMode
from penstock.runs.order import DatasetOrder
from penstock.worker.ports import source
from penstock.worker.ports.ledger import InputEntry
from penstock.worker.ports.source import Input


class PlannedInput(Model):
    """One version of one input. `id` is what its rows will carry. `size` is in bytes, -1 where it is not known."""

    id: int
    name: str
    version: str
    size: int
    parts: list[Any]
    """Opaque to all but the Source."""


class Plan(Model):
    """The recorded plan of one run for one Dataset."""

    mode: WriteMode
    inputs: list[PlannedInput]
    """In the order of reading: of two rows with one key in an upsert, that of the later input is the later one."""
    state: Any = None
    """The stream's state after this run, where the Source knew it before reading."""
    vanished: list[int] = []
    """Ids of inputs that were refused and that the Source no longer has: their quarantine entries leave."""


def check(dataset: DatasetOrder) -> None:
    """Raise InvalidSpec unless sync and writeMode go together."""
    if dataset.write_mode not in checks.WRITE_MODES_OF.get(dataset.sync or "", ()):
        modes = checks.WRITE_MODES_OF.items()
        message = (
            f"Dataset {dataset.owner.name}: sync {dataset.sync} does not go with writeMode {dataset.write_mode}. "
            f"Use {', or '.join(f'sync: {sync} with writeMode: {words.choice(able)}' for sync, able in modes)}."
        )
        raise InvalidSpec(message)


def choose(
    dataset: DatasetOrder, offered: source.Plan, entries: Iterable[InputEntry], schema: str, where: str
) -> list[Input]:
    """What of the offered inputs is to be read: all by sync full, what is new or changed by sync incremental.

    `entries` are those of this identity and stream, `schema` the hash of the Dataset's schema. An input that was
    refused is read again when it or the schema has changed. `where` names the Source and its place, for messages.
    Raises InvalidSpec (ResourceNotFound) when sync full has nothing to read: a table is never emptied by a typo.
    """
    check(dataset)
    if dataset.sync == "full":
        if not offered.inputs:
            raise InvalidSpec(f"{where} has no matching input; the table stays as it is.", "ResourceNotFound")
        return [*offered.inputs]
    done = {(entry.name, entry.version) for entry in entries if entry.state == "loaded" or entry.schema == schema}
    return [each for each in offered.inputs if not each.version or (each.name, each.version) not in done]


def make(dataset: DatasetOrder, chosen: Sequence[Input], ids: range, state: Any) -> Plan:
    """The plan to record, with an id for each chosen input."""
    inputs = [
        PlannedInput(id=number, name=each.name, version=each.version, size=each.size, parts=[*each.parts])
        for number, each in zip(ids, chosen, strict=True)
    ]
    return Plan(mode=dataset.write_mode, inputs=inputs, state=state)


def check_not_doubled(dataset: DatasetOrder, plan: Plan, entries: Iterable[InputEntry], identity: str) -> None:
    """Raise InvalidSpec (AlreadyLoaded) if another identity has loaded rows of one of the plan's inputs before.

    Whichever version of it: an input's name is the same for all that read it. Inputs without a version are never the
    same as another.
    """
    if plan.mode != "append":
        return
    every = [*entries]
    planned = {each.name for each in plan.inputs if each.version}
    others = {
        entry.identity: entry.name
        for entry in every
        if entry.identity != identity and entry.name in planned and entry.rows
    }
    if not others:
        return
    other, name = min(others.items())
    own = any(entry.identity == identity for entry in every)
    message = (
        f"Dataset {dataset.owner.name}: identity {other} has loaded {name} already, and its rows would be loaded "
        f"twice. Nothing was committed to {dataset.owner.name}. "
    ) + (
        "Choose a glob or a Source without that file, or load another Dataset."
        if own or len(others) > 1
        else f"If this Pipeline takes that one's place, set `identity: {other}`; else choose a glob or a Source "
        "without that file, or load another Dataset."
    )
    raise InvalidSpec(message, "AlreadyLoaded")


def check_first_by_cursor(
    dataset: DatasetOrder, plan: Plan, entries: Iterable[InputEntry], loader: tuple[str, str]
) -> None:
    """Raise InvalidSpec (AlreadyLoaded) if an append that begins without a mark would load rows a second time.

    `loader` are the identity and the stream. Its own rows may come from full loads, those of another from a Pipeline
    that this one was renamed from.
    """
    names = {each.name for each in plan.inputs}
    doubled = [
        entry for entry in entries if entry.rows and ((entry.identity, entry.stream) == loader or entry.name in names)
    ]
    if plan.mode != "append" or not names or not doubled:
        return
    other = doubled[0].identity
    remedy = "Load into a new Dataset, or use writeMode upsert."
    if other != loader[0]:
        remedy = f"If this Pipeline takes that one's place, set `identity: {other}`; else load into another Dataset."
    message = (
        f"Dataset {dataset.owner.name}: identity {other} has loaded rows of {doubled[0].name} already, and without a "
        f"mark of the cursor all of them would be loaded again. Nothing was committed. {remedy}"
    )
    raise InvalidSpec(message, "AlreadyLoaded")


def vanished(offered: source.Plan, entries: Iterable[InputEntry]) -> list[int]:
    """Ids of the refused inputs that a Source which lists all of its inputs no longer has; no row came from them.

    `entries` are those of this identity and stream. Where there is a state, the Source does not list all.
    """
    if offered.state is not None:
        return []
    names = {each.name for each in offered.inputs}
    return [entry.id for entry in entries if entry.state == "refused" and entry.name not in names]


def leaving(
    plan: Plan, entries: Sequence[InputEntry], loader: tuple[str, str], refused: set[int], *, whole: bool = False
) -> list[int]:
    """Ids of the inputs whose quarantine entries leave with the plan's commit, and their rows, but for an upsert.

    `entries` are all of the Dataset. `loader` are the identity and the stream of the plan; `whole` is whether it is of
    sync full; `refused` are ids of planned inputs that could not be read.

    In a replace all inputs leave, in a snapshot none. Otherwise a version that was read replaces all earlier ones. A
    version that was refused replaces only earlier refused ones: the rows of a version that was loaded stay. Refused
    inputs that have vanished leave. In an upsert with sync full, an input without a version is the same as the earlier
    one of that name.
    """
    if plan.mode == "replace":
        return [entry.id for entry in entries]
    if plan.mode == "snapshot":
        return []
    read = {each.name for each in plan.inputs if (each.version or whole) and each.id not in refused}
    unread, gone = {each.name for each in plan.inputs if each.id in refused}, frozenset(plan.vanished)
    return [
        entry.id
        for entry in entries
        if (entry.identity, entry.stream) == loader
        and (entry.name in read or entry.id in gone or (entry.name in unread and entry.state == "refused"))
    ]
