"""The commands by name. Each is imported when it is asked for, so that one's dependencies are not another's matter."""

import importlib
import importlib.util
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

import penstock
from penstock.api import findings
from penstock.cli import terminal
from penstock.language import visible
from penstock.language.errors import PenstockError

# In the order in which a newcomer meets them; each is the module of its name, and a function in it.
COMMANDS: Mapping[str, str] = {
    "demo": "Run a demonstration with real data, in a minute.",
    "up": "Start a small Kubernetes with Penstock on this machine.",
    "infer": "Propose the manifests that load a Source.",
    "validate": "Check manifests without a cluster.",
    "plan": "Show what manifests would change, and the effect on the data.",
    "get": "Show all Penstock objects, their state and connections.",
    "run": "Run a Pipeline or a Subscription now.",
    "cancel": "Cancel the runs of a Pipeline or a Subscription.",
    "logs": "Show the log of the newest run of an object.",
    "preview": "Show the first rows of a Dataset, a Source or a Subscription.",
    "forecast": "Show how much a Subscription would deliver now, and its cost.",
    "deliveries": "Show what a Subscription has delivered.",
    "crds": "Write the CustomResourceDefinitions.",
    "operate": "Run the operator; its Deployment starts this.",
    "work": "Run a worker; the operator's Jobs start this.",
}

_EXTRAS: Mapping[str, str] = {"operate": "operator", "work": "worker"}


class Commands(click.Group):
    """Finds a command by importing its module; prints errors as sentences, without a traceback."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parse the options before the command."""
        with _visible_errors():
            return super().make_context(info_name, args, parent, **extra)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in their order, not the alphabet's."""
        del ctx  # click's signature
        return [name for name in COMMANDS if importlib.util.find_spec(f"penstock.cli.{name}")]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the arguments begin with; for a misspelled one, the nearest."""
        if args and not args[0].startswith("-") and args[0] not in (names := self.list_commands(ctx)):
            ctx.fail(f'there is no command "{args[0]}"; {findings.suggestion(args[0], names)}')
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, if there is one."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = getattr(importlib.import_module(f"penstock.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what the user must change ends it with exit code 1 and one sentence."""
        try:
            with _visible_errors():
                return super().invoke(ctx)
        except PenstockError as error:
            raise click.ClickException(error.message) from error
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package == "penstock":
                raise
            extra = _EXTRAS.get(ctx.invoked_subcommand or "", "operator,worker,embedded")
            raise click.ClickException(
                f"{package} is not installed here. This command needs: pip install 'penstock[{extra}]'"
            ) from error


@contextmanager
def _visible_errors() -> Iterator[None]:
    """Make what click quotes of the command line visible in its errors; print a defect of ours with its traceback."""
    try:
        yield
    except click.ClickException as error:
        vars(error)["message"] = visible.text(error.message)  # click marks the attribute as final
        raise
    except (PenstockError, ModuleNotFoundError, click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        terminal.echo("".join(traceback.format_exception(error)), err=True, end="")
        raise click.ClickException("this is a defect of Penstock; please report it with the lines above") from error


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(penstock.__version__, prog_name="penstock")
def main() -> None:
    """Penstock moves data on Kubernetes, with five kinds of manifests and one operator. Every row is counted."""
