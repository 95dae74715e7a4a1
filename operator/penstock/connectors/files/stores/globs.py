"""Which paths a glob names, in a time that grows with path times glob, however many `*` it has.

A glob is compared part by part. Only parts that are `**` may stand for several, and all that they may stand for is
followed at once; within a part, `fnmatch` never tries again what it has matched.
"""

import fnmatch
import re
from collections.abc import Callable, Sequence

_Part = re.Pattern[str] | None
"""What a part of a path has to match; None for any number of parts."""
_ANY = re.compile(".*", re.DOTALL)
_SOME = re.compile(".+", re.DOTALL)


def matcher(pattern: str | None, ignore: Sequence[str] = ()) -> Callable[[str], bool]:
    """Whether a path beneath the folder fits the glob: `*` within a folder, `**` across folders; None fits all.

    A path does not fit when one of its parts fits a pattern of `ignore`, unless the glob names that part itself.
    """
    fits = _glob(pattern)
    named = set((pattern or "").split("/"))
    ignored = [re.compile(fnmatch.translate(entry)) for entry in ignore]

    def left_out(path: str) -> bool:
        return any(entry.match(part) for part in path.split("/") if part not in named for entry in ignored)

    return lambda path: fits(path) and not left_out(path)


def _glob(pattern: str | None) -> Callable[[str], bool]:
    if pattern is None:
        return lambda _: True
    parts = [_part(part) for part in pattern.split("/")]
    if parts[-1] is None:  # something lies beneath the folder
        parts.append(_ANY)
    return lambda path: _fits(parts, path.split("/"))


def _part(written: str) -> _Part:
    if written == "**":
        return None
    return _SOME if written == "*" else re.compile(fnmatch.translate(written))


def _fits(patterns: Sequence[_Part], parts: Sequence[str]) -> bool:
    """Whether the parts of a path match the patterns, each but None exactly one part."""
    places = _with_skipped(patterns, {0})
    for part in parts:
        following = set()
        for place in places:
            pattern = patterns[place] if place < len(patterns) else _NOTHING
            if pattern is None:
                following.add(place)
            elif pattern.match(part):
                following.add(place + 1)
        places = _with_skipped(patterns, following)
    return len(patterns) in places


_NOTHING = re.compile(r"(?!)")


def _with_skipped(patterns: Sequence[_Part], places: set[int]) -> set[int]:
    """These places among the patterns, and those that lie behind patterns that may match no part at all."""
    reached = set()
    for start in places:
        place = start
        while place not in reached:
            reached.add(place)
            if place < len(patterns) and patterns[place] is None:
                place += 1
    return reached
