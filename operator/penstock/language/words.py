"""How numbers stand in messages, and how messages are put together."""

from collections.abc import Sequence


def count(number: int, noun: str) -> str:
    """So many of something: "1 row", "1,204 rows"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def choice(options: Sequence[str]) -> str:
    """The options, of which one is to be chosen: "append", "append or upsert", "replace, upsert or snapshot"."""
    return " or ".join([", ".join(options[:-1]), options[-1]]) if options[1:] else "".join(options)


def without_subject(message: str, subject: str) -> str:
    """A message without the subject that it begins with, for a sentence that names the subject already.

    "Source cities: no such host" is "no such host" after "Source cities is not reachable".
    """
    return message.removeprefix(f"{subject}: ")
