"""`penstock demo`: a demonstration of about a minute with real data and real kubectl; nothing to install."""

import asyncio
import hashlib
import json
import os
import shlex
import shutil
import signal
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from rich.text import Text

import penstock
from penstock.api.objects import Key
from penstock.cli import audit, feed, local, picture, preview, sample, terminal
from penstock.cli.connection import Target
from penstock.cli.local import Local
from penstock.cli.stage import Stage
from penstock.language import times
from penstock.language.errors import InvalidSpec

FIRST, SECOND = range(1, 7), range(7, 13)
"""Months whose files are there at the beginning, and those that arrive later."""

RETRY_SECONDS = 2.0
"""How long a killed worker's Job waits here; on a cluster it is 10 s."""

_FINISHED = ("Succeeded", "Failed", "Cancelled")


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".penstock/demo"),
    show_default=True,
    help="The folder of the demo's cluster. It is deleted first if it exists, and kept afterwards.",
)
@click.option("--data-only", type=click.Path(path_type=Path), metavar="DIR", help="Only write the flights, to DIR.")
def demo(folder: Path, data_only: Path | None) -> None:
    """Load a year of flights from a Source to a Destination, kill the worker, and check every row.

    Takes about a minute. Starts a small Kubernetes API and the operator on this machine, uses them with real kubectl,
    and stops both. Nothing keeps running; the folder stays, and `penstock up --folder` continues with it.
    """
    if data_only is not None:
        for path in sample.write(data_only):
            terminal.echo(str(path))
        return
    _made_anew(folder)
    if not local.run(folder, _tour, backoff=RETRY_SECONDS):
        raise click.Abort


async def _tour(started: Local) -> None:
    stage = Stage(terminal.console(), started.kubeconfig, started.folder)
    following = asyncio.create_task(stage.follow())
    try:
        await _welcome(stage, started)
        await _apply(stage, started)
        await _bad_rows(stage)
        await _kill(stage, started)
        await _delivery(stage, started)
        await _drift(stage, started)
        _farewell(stage)
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


async def _welcome(stage: Stage, started: Local) -> None:
    stage.say("\nPenstock moves data as manifests describe it, and accounts for every row. This takes about a minute.")
    stage.act("A Kubernetes API and the operator, on this machine")
    stage.say("No cluster is needed: one process is the API and the operator, and each worker is a process of its own.")
    stage.command(terminal.export(started.kubeconfig))
    written = await asyncio.to_thread(sample.write, _exports(started), FIRST)
    stage.say(f"\nThe data is half a year of real flights: {len(written)} CSV files, some of them gzipped.")


async def _apply(stage: Stage, started: Local) -> None:
    stage.act("Six manifests describe everything")
    manifests = started.folder / "manifests"
    await asyncio.to_thread(shutil.copytree, _examples(), manifests)
    await stage.kubectl("apply", "-f", terminal.file_argument(manifests), shown_as="apply -f examples/01-quickstart")
    await stage.kubectl("wait", "--for=condition=Ready", "penstock", "--all", "--timeout=90s")
    stage.say("\nThe Source was inspected, the table was made, and the Pipeline's first run is under way:")
    await stage.until(lambda: _over(stage, "Pipeline", "flights", 1), "the first run has ended")
    stage.outcome(_line(stage, "Pipeline", "flights"))
    _require(stage, "Pipeline", "flights")
    await stage.kubectl("get", "pipelines")
    await stage.kubectl("get", "datasets")


async def _bad_rows(stage: Stage) -> None:
    stage.act("What was not loaded, and why")
    stage.say("A bad row does not stop the good ones. It is kept in quarantine, complete, with its reason:")
    stage.command("penstock preview flights --only bad", remark="   # in part")
    async with Target(kubeconfig=stage.kubeconfig, given="default").open() as cluster:
        shown = await preview.read(cluster, Key("Dataset", "default", "flights"), 1, quarantined=True)
    stage.show(preview.by_rule(shown))
    run = _run(stage, "Pipeline", "flights")
    stage.good(
        f"{run['rowsRead']:,} rows read = {run['rowsLoaded']:,} loaded + {run['rowsQuarantined']:,} in quarantine. "
        "Checked in every run; otherwise it fails."
    )


async def _kill(stage: Stage, started: Local) -> None:
    stage.act("kill -9 in the middle of a load")
    await asyncio.to_thread(sample.write, _exports(started), SECOND)
    stage.say("The files of the other six months have arrived. We request a run and kill its worker while it writes:")
    before = _parquet_files(started)
    await stage.kubectl("patch", "pipeline", "flights", "--type=merge", "-p", '{"spec":{"runNonce":"second"}}')
    written = await stage.poll(lambda: len(_parquet_files(started) - before) >= 2, seconds=60)
    pid = _worker(started) if written else None
    if pid is None:
        raise InvalidSpec(f"no worker started to write. See {started.folder}/operator.log")
    os.kill(pid, signal.SIGKILL)
    half = len(_parquet_files(started) - before)
    stage.command(f"kill -9 {pid}", "bold red", f"   # with {half} data files written")
    stage.say("\nReaders see none of it. The Job tries again with the plan that the first attempt recorded:")
    await stage.until(lambda: _over(stage, "Pipeline", "flights", 2), "the second run has ended")
    stage.outcome(_line(stage, "Pipeline", "flights"))
    _require(stage, "Pipeline", "flights")
    job = _run(stage, "Pipeline", "flights")["job"]
    await stage.kubectl("get", "pods", "-l", f"job-name={job}", "--sort-by=.metadata.creationTimestamp")
    await _audited(stage, started)


async def _audited(stage: Stage, started: Local) -> None:
    stage.say("\nAn independent check reads the files and the table with DuckDB and plain Iceberg, without Penstock:")
    warehouse = started.volumes / "default" / "lake" / "warehouse"
    counts = await asyncio.to_thread(audit.audit, _exports(started), warehouse, "flights")
    table = Table(box=None, padding=(0, 3, 0, 0))
    for heading in ("", "rows", "checksum over every value"):
        table.add_column(heading, justify="right" if heading == "rows" else "left", header_style="dim")
    table.add_row("in the files, without bad rows", f"{counts.files.rows:,}", f"{counts.files.checksum:09}")
    table.add_row("in the table", f"{counts.table.rows:,}", f"{counts.table.checksum:09}")
    stage.show(table)
    if not counts.balanced:
        raise InvalidSpec(f"the counts of the files and of the table differ: {counts}")
    stage.good(f"{counts.lines:,} = {counts.table.rows:,} + {counts.bad:,}. No row is lost, duplicated or changed.")


async def _delivery(stage: Stage, started: Local) -> None:
    stage.act("A partner gets a file, and a manifest with its checksum")
    first = times.parse(stage.status("Subscription", "delays")["deliveries"][-1]["at"]) - stage.began_at
    stage.say(
        f"The Subscription delivered as soon as there was data, {first.total_seconds():.0f} s after the start,",
        "and does so daily. We request one more, now that the year is complete:",
    )
    await stage.kubectl("patch", "subscription", "delays", "--type=merge", "-p", '{"spec":{"runNonce":"today"}}')
    await stage.until(lambda: _asked(stage, "Subscription", "delays", "today"), "the delivery has ended")
    _require(stage, "Subscription", "delays")
    delivered = stage.status("Subscription", "delays")["deliveries"][0]
    outbox = started.volumes / "default" / "outbox"
    manifest = outbox / str(delivered["manifest"]).partition("/volumes/outbox/")[2]
    document = json.loads(await asyncio.to_thread(manifest.read_text))
    stage.command(f"cat {terminal.short(manifest)}", remark="   # in part")
    for file in document["files"]:
        stage.show("\n".join(f"{name}: {file[name]}" for name in ("name", "rows", "bytes", "sha256")))
        content = await asyncio.to_thread((manifest.parent / file["name"]).read_bytes)
        if hashlib.sha256(content).hexdigest() != file["sha256"]:
            raise InvalidSpec(f"{file['name']} is not as its manifest says")
    stage.good(
        "The file's checksum is as the manifest says. The manifest is written last and in one piece: "
        "a reader that starts from it never sees a partial delivery."
    )


async def _drift(stage: Stage, started: Local) -> None:
    stage.act("Manual changes are reverted")
    stage.say("Somebody edits what the operator made:")
    schedule = ("get", "cronjob", "flights-pipeline-0", "-o", "jsonpath={.spec.schedule}")
    patch = '{"spec":{"schedule":"0 0 1 1 *"}}'
    began = time.monotonic()
    await stage.kubectl("patch", "cronjob", "flights-pipeline-0", "--type=merge", "-p", patch)
    await _until_printed(stage, schedule, "15 3 * * *")
    stage.good(f'back to "15 3 * * *" after {time.monotonic() - began:.1f} s: restored from the manifest')
    stage.say("\nThe manifest itself changes, as it would in a pull request:")
    pipeline = started.folder / "manifests" / "5-pipeline.yaml"
    text = await asyncio.to_thread(pipeline.read_text)
    changed = text.replace("15 3 * * *", "45 5 * * *").replace("runNonce: first", "runNonce: second")
    await asyncio.to_thread(pipeline.write_text, changed)
    for style, sign, old in (("red", "-", "15 3 * * *"), ("green", "+", "45 5 * * *")):
        stage.show(Text(f'{sign}  schedule: ["{old}"]', style=style))
    began = time.monotonic()
    given = terminal.file_argument(terminal.relative(pipeline))
    await stage.kubectl("apply", "-f", given, shown_as=f"apply -f {shlex.quote(given)}")
    await _until_printed(stage, schedule, "45 5 * * *")
    stage.good(f'the CronJob says "45 5 * * *" after {time.monotonic() - began:.1f} s')


async def _until_printed(stage: Stage, command: tuple[str, ...], wanted: str) -> None:
    for _ in range(100):
        if await stage.kubectl(*command, show=False) == wanted:
            return
        await asyncio.sleep(0.05)
    raise InvalidSpec(f"{' '.join(command)} does not become {wanted}")


def _farewell(stage: Stage) -> None:
    stage.act("How the objects are connected")
    stage.show(picture.of(stage.objects, datetime.now(UTC), stage.console.width - 2))
    stage.console.print()
    stage.good(f"Done in {stage.elapsed:.0f} s. Nothing keeps running.")
    place, activation = terminal.short(stage.folder), terminal.activation()
    stage.say("\nTo continue with the same cluster:")
    stage.show("\n".join(filter(None, (activation, f"penstock up --folder {place}"))))
    stage.say("\nand in another terminal, to look around:")
    stage.show(
        "\n".join(filter(None, (activation, terminal.export(stage.kubeconfig))))
        + "\nkubectl get penstock                  # all five kinds"
        "\nkubectl describe pipeline flights     # its conditions, runs and events"
        "\npenstock get                          # the diagram above"
        "\npenstock preview flights              # rows, good and bad"
        "\npenstock run flights --wait           # no file is new, so none is read"
    )


# ── what the acts ask ──


def _over(stage: Stage, kind: str, name: str, runs: int) -> bool:
    runs_so_far = stage.status(kind, name).get("runs") or []
    return len(runs_so_far) >= runs and runs_so_far[0]["state"] in _FINISHED


def _asked(stage: Stage, kind: str, name: str, nonce: str) -> bool:
    runs_so_far = stage.status(kind, name).get("runs") or []
    return any(run["id"].endswith(f"/nonce/{nonce}") and run["state"] in _FINISHED for run in runs_so_far)


def _run(stage: Stage, kind: str, name: str) -> dict[str, Any]:
    run: dict[str, Any] = stage.status(kind, name)["runs"][0]
    return run


def _line(stage: Stage, kind: str, name: str) -> str:
    return f"{kind} {name}: {feed.outcome(_run(stage, kind, name))}"


def _require(stage: Stage, kind: str, name: str) -> None:
    if _run(stage, kind, name)["state"] != "Succeeded":
        raise InvalidSpec(_line(stage, kind, name))


def _exports(started: Local) -> Path:
    return started.volumes / "default" / "exports" / "flights"


def _parquet_files(started: Local) -> set[Path]:
    return set((started.volumes / "default" / "lake" / "warehouse").rglob("*.parquet"))


def _worker(started: Local) -> int | None:
    """The process of the newest load that is running."""
    pods = [pod for pod in started.pods.glob("default_flights-ingest-*") if not (pod / "ended").exists()]
    with suppress(FileNotFoundError, ValueError):
        newest = max(pods, key=lambda pod: (pod / "started").stat().st_mtime)
        return int(json.loads((newest / "started").read_text())["pid"])
    return None


def _examples() -> Path:
    """The quickstart's manifests, in the source tree that we run from."""
    folder = Path(penstock.__file__).parents[2] / "examples" / "01-quickstart"
    if not folder.is_dir():
        raise InvalidSpec("the demo's manifests are in the source tree. Clone the repository and run: make demo")
    return folder


def _made_anew(folder: Path) -> None:
    """Remove what an earlier tour left; nothing that is not a tour's."""
    if folder.exists() and any(folder.iterdir()) and not (folder / "cluster.db").exists():
        raise InvalidSpec(f"{folder} contains files that are not of a demo. Choose another --folder.")
    shutil.rmtree(folder, ignore_errors=True)
