"""How numbers stand in messages."""


def count(number: int, noun: str) -> str:
    """So many of something: "1 row", "1,204 rows"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
