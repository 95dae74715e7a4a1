"""What is wrong in the same way with several systems: what brings a `Fault` about."""

from collections.abc import Callable
from typing import Any


def with_settings(**settings: object) -> Callable[[Any], None]:
    """The connector with these settings in the place of its own."""

    def bring_about(adapter: Any) -> None:
        adapter.connector |= settings

    return bring_about


def select_two_tables(adapter: Any) -> None:
    """The Source names the tables that the others take away, or forbid."""
    adapter.connector["tables"] = {"include": ["orders", "people"]}


def drop_a_table(adapter: Any) -> None:
    """One of the tables that the Source names is not there."""
    adapter.execute("DROP TABLE orders")
    select_two_tables(adapter)


def ask_a_query_that_writes(adapter: Any) -> None:
    """A query that is no SELECT."""
    adapter.connector["queries"] = [{"name": "q", "sql": "DELETE FROM orders"}]
