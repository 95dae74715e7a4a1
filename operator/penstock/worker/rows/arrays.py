"""Conversions of Arrow arrays that several modules need."""

import pyarrow as pa


def one(column: pa.ChunkedArray) -> pa.Array:
    """The column as one array, without a copy where it is in one piece."""
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined
