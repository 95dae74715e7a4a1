"""`penstock work`: one piece of work."""

import click


@click.command()
def work() -> None:
    """Execute the order in /etc/penstock. Exit code 0: done; 2: the order or its data must be changed; 3: try again.

    All paths are under PENSTOCK_POD_ROOT (default /).
    """
    from penstock.worker import run

    run.program()
