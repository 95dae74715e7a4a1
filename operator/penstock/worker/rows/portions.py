"""How many rows are computed at once, where expressions may make long texts of them."""

LONGEST_TEXT = 1 << 20
"""Bytes of a text that a guarded function may make, as many as a row may have."""
MOST_TEXTS = 64
"""Texts of LONGEST_TEXT bytes that one row may make."""
_AT_ONCE = 16
"""Such texts that the rows computed at once may make. Each processor has that many, and a few copies of them."""
MOST_BYTES = _AT_ONCE * LONGEST_TEXT
"""Bytes of text in one answer."""


def rows_at_once(texts: int) -> int | None:
    """How many rows surely fit into memory, where each may make so many long texts; None for any number."""
    return max(1, _AT_ONCE // texts) if texts else None
