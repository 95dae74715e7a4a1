"""`penstock plan`: what manifests would change, and what would become of the data, before they are applied."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import yaml

from penstock.api import manifests, objects, validation
from penstock.api.documents import Unreadable
from penstock.api.manifests import Manifest
from penstock.cli import changes, changeviews, terminal
from penstock.cli.connection import Target
from penstock.language import words
from penstock.language.errors import InvalidSpec, ManyFaults

_EXAMPLES = """Examples:

\b
  penstock plan -f manifests/
  penstock plan -f manifests/ --against main-branch/manifests/ -o markdown
"""
BREAKING = 2
"""The exit code for a plan with a breaking effect, or, with --fail-on changes, with any change."""
_CLUSTER = "cluster: "
"""What positions in objects of the cluster begin with."""
_VIEWS = {"text": changeviews.text, "json": changeviews.as_json, "markdown": changeviews.markdown}


@click.command(epilog=_EXAMPLES)
@click.option("files", "-f", "--filename", multiple=True, required=True, type=click.Path(path_type=Path),
              metavar="DIR|FILE", help="A manifest or a folder of manifests; repeat for more.")  # fmt: skip
@click.option("-R", "--recursive", is_flag=True, help="Read subfolders as well.")
@click.option("--against", type=click.Path(path_type=Path),
              help="Compare with the manifests in this folder instead of a cluster.")  # fmt: skip
@click.option(
    "-o", "--output", type=click.Choice([*_VIEWS]), default="text", show_default=True, help="How to print it."
)
@click.option("--fail-on", type=click.Choice(["breaking", "changes", "never"]), default="breaking", show_default=True,
              help="When the exit code is 2.")  # fmt: skip
@click.option("-n", "--namespace", help="Default: the namespace of the kubeconfig's context.")
@click.option("--context", help="A context of the kubeconfig. Default: its current one.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="Default: KUBECONFIG, or ~/.kube/config.")
def plan(
    files: tuple[Path, ...], recursive: bool, against: Path | None, output: str, fail_on: str, **place: Any
) -> None:
    """Show which objects manifests would change, and what that does to the data. Nothing is applied.

    The manifests are compared with the objects in the cluster, or with other manifests (--against), which needs no
    cluster; what only a cluster can tell is then `unknown`. Exit code 0: nothing breaks. 2: something does, see
    --fail-on. 1: the manifests are not valid, or the cluster does not answer.
    """
    wanted, namespace = _read(files, recursive=recursive)
    if against is not None:
        before: Sequence[Mapping[str, Any]] = [each.object for each in _read((against,), recursive=recursive)[0]]
    else:
        if namespace and place["namespace"] not in (None, namespace):
            raise InvalidSpec(f"the manifests are of namespace {namespace}, and --namespace is {place['namespace']}")
        target = Target(place["kubeconfig"], place["context"], place["namespace"] or namespace)
        target.require()
        before = asyncio.run(_live(target))
    _check(wanted, () if against is not None else before)
    made = changes.between(before, [each.object for each in wanted], removes=against is not None)
    terminal.echo(_VIEWS[output](made))
    changed = any(change.action != "unchanged" for change in made)
    fails = {"breaking": any(change.breaking for change in made), "changes": changed, "never": False}[fail_on]
    sys.exit(BREAKING if fails else 0)


async def _live(target: Target) -> list[Mapping[str, Any]]:
    async with target.open() as cluster:
        namespace = target.namespace
        listings = await asyncio.gather(*(cluster.list(kind, namespace) for kind in objects.KINDS))
    return [
        {**item, "kind": kind} for kind, listing in zip(objects.KINDS, listings, strict=True) for item in listing.items
    ]


def _read(paths: tuple[Path, ...], *, recursive: bool) -> tuple[list[Manifest], str | None]:
    """Our objects in files, without their namespace, and that namespace, if one is named.

    Raises `InvalidSpec` where an object cannot be read, and for objects of several namespaces.
    """
    namespaces: set[str] = set()
    entries: list[Manifest] = []
    for entry in manifests.load(paths, recursive=recursive):
        if isinstance(entry, Unreadable):
            raise InvalidSpec(f"{entry.position}: {entry.message}")
        if entry.kind in objects.KINDS:
            namespaces |= {entry.namespace} - {""}
            entries.append(replace(entry, object=_without_namespace(entry.object)))
    if len(namespaces) > 1:
        raise InvalidSpec(f"the manifests are of the namespaces {', '.join(sorted(namespaces))}: plan each on its own")
    return entries, next(iter(namespaces), None)


def _without_namespace(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = {name: value for name, value in (manifest.get("metadata") or {}).items() if name != "namespace"}
    return {**manifest, "metadata": metadata}


def _check(wanted: Sequence[Manifest], live: Sequence[Mapping[str, Any]]) -> None:
    """Raise `InvalidSpec` with what is wrong in the manifests, also together with what stays in the cluster."""
    ours = {(each.kind, each.name) for each in wanted}
    there = [_as_manifest(each) for each in live]
    before = {(each.subject, str(each.finding)) for each in validation.validate(there).complaints}
    others = [each for each in there if (each.kind, each.name) not in ours]
    complaints = validation.validate([*wanted, *others]).complaints
    errors = [
        each
        for each in complaints
        # What stays in the cluster and is wrong already is nothing that this change does.
        if each.severity == "error"
        and not (each.position.file.startswith(_CLUSTER) and (each.subject, str(each.finding)) in before)
    ]
    if errors:
        heading = f"the manifests have {words.count(len(errors), 'error')}:"
        raise ManyFaults([heading, *(str(each) for each in errors[:20])])


def _as_manifest(live: Mapping[str, Any]) -> Manifest:
    """An object of the cluster as if it stood in a file."""
    kind, name = live["kind"], live["metadata"]["name"]
    plain = {"apiVersion": objects.API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": live.get("spec")}
    (made,) = manifests.loads(yaml.safe_dump(plain), f"{_CLUSTER}{kind} {name}")
    if isinstance(made, Unreadable):
        raise InvalidSpec(f"{kind} {name} of the cluster cannot be read: {made.message}")
    return made
