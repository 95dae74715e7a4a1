"""`penstock crds`: what is generated from the models, written or compared."""

from pathlib import Path

import click

from penstock.api import crds as definitions
from penstock.api import reference
from penstock.cli import terminal


@click.command(epilog="Examples:\n\n\b\n  penstock crds -o - | kubectl apply -f -\n  penstock crds --check")
@click.option("--check", is_flag=True, help="Write nothing; exit code 1 if a file does not match the models.")
@click.option(
    "-o", "--output", default="crds", show_default=True, metavar="DIR|-", help="The folder to write to; - prints them."
)
@click.option("--docs", metavar="DIR", help="Also write (or check) the reference pages.")
def crds(check: bool, output: str, docs: str | None) -> None:
    """Write the CustomResourceDefinitions of the five kinds, generated from their models."""
    if output == "-":
        terminal.echo("---\n".join(definitions.files().values()), end="")
        return
    if check:
        definitions.check(Path(output))
        if docs:
            reference.check(Path(docs), *_data_pages())
        return
    changed = definitions.write(Path(output)) + (reference.write(Path(docs), *_data_pages()) if docs else [])
    for path in changed:
        terminal.console().print(f"wrote {path}")


def _data_pages() -> list[tuple[str, str]]:
    """Names and texts of the pages about what the worker does."""
    from penstock.connectors.files.formats import matrix  # needs the worker's dependencies

    return [("parquet.md", matrix.page())]
