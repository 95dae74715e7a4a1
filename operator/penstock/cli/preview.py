"""`penstock preview`: the first rows of a Dataset, good and bad, or of a Source, read by a worker in the cluster."""

import asyncio
import json
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from penstock.api import objects
from penstock.api.objects import Key
from penstock.cli import arguments, connection, terminal
from penstock.cli.connection import Target
from penstock.language import times, visible, words
from penstock.language.errors import InvalidSpec
from penstock.runs import places, summary
from penstock.runs import report as reports
from penstock.runs.report import Preview

if TYPE_CHECKING:
    from penstock.control.cluster.client import HttpCluster
    from penstock.control.cluster.port import Manifest
    from penstock.control.resolve import Graph

_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?")
_POLL_SECONDS = 0.2
_INDENT = 2
_BETWEEN = " \t\r\n:,"
"""What lies between names and values in JSON."""

_EXAMPLES = """Examples:

\b
  penstock preview flights
  penstock preview flights --only bad --rows 50
  penstock preview source/flights
  penstock preview subscription/delays
"""


@click.command(epilog=_EXAMPLES)
@click.argument("words", nargs=-1, required=True, metavar="[KIND/]NAME")
@click.option(
    "--rows", type=click.IntRange(1, 100), default=10, show_default=True, help="Largest number of rows to show."
)
@click.option(
    "--only", type=click.Choice(["good", "bad"]), help="For a Dataset: only its table, or only its quarantine."
)
@click.option(
    "--timeout", type=arguments.Duration(), default="2m", show_default=True, help="How long to wait for the worker."
)
@connection.command
async def preview(target: Target, words: tuple[str, ...], rows: int, only: str | None, timeout: int) -> None:  # noqa: ASYNC109 - an option's name
    """Show the first rows of a Dataset and of its quarantine, with the reasons; or of a Source or a Subscription.

    A NAME without a KIND is a Dataset; if there is none, it is a Source or a Subscription. Of a Subscription, the rows
    are shown that it would deliver now; nothing is delivered. A Job in the cluster reads the rows, with the
    settings and Secrets of the object. Sensitive values of a Dataset are masked. A Source has no masking.
    """
    console = terminal.console()
    async with target.open() as cluster:
        key = objects.key_of(
            await arguments.find(cluster, target.namespace, words, (("Dataset",), ("Source",), ("Subscription",)))
        )
        if key.kind != "Dataset" and only is not None:
            raise click.UsageError(f"--only is for a Dataset: a {key.kind} has no quarantine")
        parts = {"Source": ("source",), "Subscription": ("delivery",)}.get(key.kind, ("good", "bad"))
        for part in parts:
            if only not in (None, part):
                continue
            shown = await read_within(cluster, key, rows, timeout, quarantined=part == "bad")
            for renderable in _shown(key.name, part, shown, console):
                console.print(renderable)


async def read_within(
    cluster: "HttpCluster", key: Key, rows: int, seconds: int, *, quarantined: bool = False
) -> Preview:
    """What `read` returns. Raises `InvalidSpec` where that takes longer."""
    try:
        async with asyncio.timeout(seconds):
            return await read(cluster, key, rows, quarantined=quarantined)
    except TimeoutError:
        message = f"no rows after {seconds} s. See what its Pod waits for: kubectl get pods, kubectl describe pod"
        raise InvalidSpec(message) from None


async def read(cluster: "HttpCluster", key: Key, rows: int, *, quarantined: bool) -> Preview:
    """Have a Job read the first rows of a Dataset, its quarantine, a Source or a Subscription's next delivery.

    The operator deletes the Job later.
    """
    from penstock.control.desired import objects as standing
    from penstock.control.desired import orders, runs

    graph = await _graph(cluster, key)
    order = orders.preview(graph, rows, quarantined=quarantined)
    slot = f"preview/{uuid.uuid4().hex[:10]}"
    start = runs.Start(order, slot, f"{graph.identity}/{slot}", times.text(datetime.now(UTC)))
    await cluster.apply(standing.order_map(graph, order))
    return shown_in(await _log(cluster, await cluster.create(runs.job(graph, start))))


def shown_in(log: str) -> Preview:
    """The rows in a worker's log. Raises `InvalidSpec` where it shows none."""
    shown = reports.marked(log, places.PREVIEW_LINE)
    if shown is None:
        raise InvalidSpec(f"the log of the worker has no rows. Its log ends: {log[-300:]}")
    return Preview.model_validate_json(shown)


async def _graph(cluster: "HttpCluster", key: Key) -> "Graph":
    """The object with what it refers to, as the operator would resolve them."""
    from penstock.control import resolve
    from penstock.control.cluster.port import NotFound, Ref
    from penstock.control.cluster.store import Store
    from penstock.control.settings import Settings

    store = Store()
    try:
        manifest = await cluster.get(Ref(key.kind, key.namespace, key.name))
    except NotFound as error:
        raise InvalidSpec(f"there is no {key}") from error
    store.put(manifest)
    for kind in ("Destination", "Dataset") if key.kind == "Subscription" else ("Destination",):
        for other in (await cluster.list(kind, key.namespace)).items:
            store.put(other)
    graph = resolve.references(key, store, Settings(worker_image=await _image(cluster, key, manifest)))
    if graph is None:
        raise InvalidSpec(f"{key} does not exist")
    if graph.problem is not None:
        faults = graph.problem.message.split("\n")
        raise InvalidSpec(f"{key}: {'; '.join(faults)}")
    return graph


async def _image(cluster: "HttpCluster", key: Key, manifest: "Manifest") -> str:
    """The image of the object's workers: that of the newest Job that the operator made for it.

    Of a Subscription that has not delivered yet, that of the newest Job of its Dataset.
    """
    jobs = await _jobs(cluster, key)
    if not jobs and key.kind == "Subscription":
        name = ((manifest.get("spec") or {}).get("datasetRef") or {}).get("name")
        jobs = await _jobs(cluster, Key("Dataset", key.namespace, str(name)))
    if not jobs:
        raise InvalidSpec(f"the operator has not started a Job for {key} yet. Is the operator running?")
    newest = max(jobs, key=lambda job: str(job["metadata"]["creationTimestamp"]))
    image: str = newest["spec"]["template"]["spec"]["containers"][0]["image"]
    return image


async def _jobs(cluster: "HttpCluster", key: Key) -> "Sequence[Manifest]":
    selector = f"{objects.OWNER_KIND}={key.kind},{objects.OWNER_NAME}={key.name}"
    return (await cluster.list("Job", key.namespace, selector)).items


async def _log(cluster: "HttpCluster", job: dict[str, Any]) -> str:
    """The log of a Job's Pod, when it is over. Raises `InvalidSpec` with the worker's own words if it failed."""
    namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
    while True:
        pods = (await cluster.list("Pod", namespace, f"batch.kubernetes.io/job-name={name}")).items
        for pod in pods:
            phase = pod["status"].get("phase")
            if phase == "Succeeded":
                return await cluster.log(namespace, pod["metadata"]["name"])
            if phase == "Failed":
                raise InvalidSpec(_cause(pod))
        await asyncio.sleep(_POLL_SECONDS)


def _cause(pod: dict[str, Any]) -> str:
    for container in pod["status"].get("containerStatuses") or []:
        ended = (container.get("state") or {}).get("terminated") or {}
        report = summary.decode(ended.get("message") or "")
        if report is not None and report.message:
            return report.message
    return f"the worker failed. See its log: kubectl logs {pod['metadata']['name']}"


def _titled(name: str, part: str, shown: Preview) -> Text:
    if part == "source":
        heading = f"the first {words.count(len(shown.rows), 'row')} of {shown.where}"
        return Text.assemble((visible.line(name), "bold"), f": {visible.line(heading)}", style="green")
    whole = shown.total or 0
    if part == "delivery":
        some = f", the first {len(shown.rows)}" if len(shown.rows) < whole else ""
        return Text.assemble(
            (visible.line(name), "bold"), f" would deliver {words.count(whole, 'row')}{some}", style="green"
        )
    total = f"{words.count(whole, 'row')} in quarantine" if part == "bad" else words.count(whole, "row")
    some = f", the first {len(shown.rows)}" if len(shown.rows) < whole and part != "bad" else ""
    return Text.assemble(
        (visible.line(name), "bold"), f": {total}{some}", style="red" if part == "bad" and whole else "green"
    )


def by_rule(shown: Preview) -> RenderableType:
    """Bad rows as a table: how many break which rule of which field, and the first of them."""
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="dim")
    for heading in ("ROWS", "FIELD", "FIRST REASON", "FIRST ROW"):
        table.add_column(heading, justify="right" if heading == "ROWS" else "left", overflow="fold")
    for bad in shown.bad:
        why = bad.why.removeprefix(f"{bad.field}: ")
        place = bad.where.rpartition("/")[2]
        table.add_row(f"{bad.rows:,}", *(visible.line(cell) for cell in (bad.field or "", why, place)))
    return Padding(table, (0, 0, 0, _INDENT), expand=False)


def _shown(name: str, part: str, shown: Preview, console: Console) -> Iterator[RenderableType]:
    yield _titled(name, part, shown)
    if part != "bad":
        yield _good(shown, console)
    if shown.bad and part == "source":
        yield Text("Lines that are no rows:", style="red")
    if shown.bad:
        yield by_rule(shown)
    if part == "bad" and shown.rows:
        some = f"The first {len(shown.rows)}" if len(shown.rows) < (shown.total or 0) else "All of them"
        yield Text(f"{some}, as they were read:", style="dim")
        yield _bad(shown)


def _bad(shown: Preview) -> RenderableType:
    """Bad rows: where each was read and why it is bad, and below it the row as it was read."""
    locator, message, payload = (shown.columns.index(name) for name in ("locator", "message", "payload"))
    where = [visible.line((row[locator] or "").rpartition("/")[2]) for row in shown.rows]
    wide = max(map(len, where), default=0)
    parts: list[RenderableType] = []
    for place, row in zip(where, shown.rows, strict=True):
        parts.append(
            Padding(
                Text.assemble(f"{place:<{wide}}   ", (visible.line(row[message] or ""), "red")),
                (0, 0, 0, _INDENT),
                expand=False,
            )
        )
        parts.append(
            Padding(Text(visible.line(_pairs(row[payload] or "")), style="dim"), (0, 0, 0, 2 * _INDENT), expand=False)
        )
    return Group(*parts)


def _pairs(payload: str) -> str:
    """A payload that is a JSON object as `name=value` pairs, which can be broken into lines; any other as it is."""
    try:
        if not isinstance(json.loads(payload, parse_int=str), dict):
            return payload
        return " ".join(f"{name}={value}" for name, value in _members(payload))
    except (ValueError, RecursionError):  # no JSON, or no more of it than the worker shows
        return payload


def _members(payload: str) -> Iterator[tuple[str, str]]:
    """The members of a JSON object one by one, a name that occurs twice twice; texts without their quotes.

    Other values are as they are written, for people look for what was wrong: a number that was parsed and printed
    again may be another.
    """
    decode = json.JSONDecoder(parse_int=str).raw_decode
    end = payload.index("{") + 1
    while payload[begin := _next(payload, end)] != "}":
        name, end = decode(payload, begin)
        value, end = decode(payload, begin := _next(payload, end))
        yield name, value if isinstance(value, str) else payload[begin:end]


def _next(payload: str, end: int) -> int:
    """Where the next name or value begins, after what ended at `end`."""
    return next(place for place in range(end, len(payload)) if payload[place] not in _BETWEEN)


def _all_numbers(cells: Iterable[str | None]) -> bool:
    """Whether every cell that has a value is written as a number, as in a Source of text."""
    values = [cell for cell in cells if cell]
    return bool(values) and all(_NUMBER.fullmatch(value) for value in values)


def _good(shown: Preview, console: Console) -> RenderableType:
    """Rows as a table; where that is wider than the console, each as `name=value` pairs."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for index, column in enumerate(shown.columns):
        text_alone = shown.where is not None
        numbers = column in shown.numeric or (text_alone and _all_numbers(row[index] for row in shown.rows))
        table.add_column(visible.line(column), no_wrap=True, justify="right" if numbers else "left")
    for row in shown.rows:
        table.add_row(*(Text("null", style="dim") if value is None else Text(visible.line(value)) for value in row))
    if Measurement.get(console, console.options, table).maximum + _INDENT <= console.width:
        return Padding(table, (0, 0, 0, _INDENT), expand=False)
    records = Table.grid(padding=(0, 1))
    for number, row in enumerate(shown.rows, start=1):
        pairs = zip(shown.columns, row, strict=True)
        parts = (
            Text.assemble((visible.line(f"{name}="), "dim"), "null" if value is None else visible.line(value))
            for name, value in pairs
        )
        records.add_row(Text(f"{number:>{_INDENT + 1}}", style="dim"), Text(" ").join(parts))
    return records
