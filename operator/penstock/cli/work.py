"""`penstock work`: one piece of work."""

import click


@click.command()
def work() -> None:
    """Carry out the order in /etc/penstock, report, and exit: 0 done, 2 the order is at fault, 3 try again.

    All paths lie beneath PENSTOCK_POD_ROOT (default /).
    """
    from penstock.worker import run

    run.program()
