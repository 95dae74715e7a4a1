"""What DuckDB's failures mean."""

import duckdb
import pytest

from penstock.connectors.duckdb import faults
from penstock.language.errors import InvalidSpec


def test_a_commit_that_ran_out_of_memory_is_not_a_fault_of_the_manifest() -> None:
    message = (
        "TransactionContext Error: Failed to commit: failed to pin block of size 1.0 MiB (170.3 MiB/170.6 MiB used)"
    )
    with pytest.raises(duckdb.OutOfMemoryException), faults.translated("a.duckdb"):
        raise duckdb.TransactionException(message)
    with pytest.raises(InvalidSpec), faults.translated("a.duckdb"):
        raise duckdb.TransactionException("TransactionContext Error: Failed to commit: a conflict")
