"""The bodies of requests: JSON, YAML or protobuf, bounded in size and depth before anything else reads them."""

from collections.abc import Iterator
from typing import Any

import orjson
import yaml

from localkube import errors, fieldtable

DEPTH = 100
"""How deep objects and lists may lie in one another."""
NODES = 200_000
"""How many values a YAML body may have, with aliases written out."""


class _Yaml(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: a bare date is text."""


_Yaml.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if tag != "tag:yaml.org,2002:timestamp"]
    for first, pairs in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def decoded(content_type: str, body: bytes) -> Any:
    """The value of a body; None for an empty one. Refused with 400 if it cannot be read or exceeds the bounds."""
    if not body:
        return None
    try:
        if body.startswith(fieldtable.MAGIC):
            value: Any = fieldtable.decode(body)
        elif content_type.endswith("yaml") and body[:1] != b"{":
            _check_events(yaml.parse(body, _Yaml))
            value = yaml.load(body, _Yaml)  # noqa: S506 - a safe loader, minus timestamps
        else:
            value = orjson.loads(body)
    except (ValueError, KeyError, TypeError, OverflowError, IndexError, yaml.YAMLError) as error:
        raise errors.bad_request(f"the request body cannot be read: {error}") from None
    _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    """Level by level, so that no depth is too much for this check itself."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > DEPTH:
            raise errors.bad_request(f"the request body cannot be read: more than {DEPTH} levels of objects and lists")
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        level = [item for item in inner if isinstance(item, dict | list)]


def _check_events(events: Iterator[yaml.Event]) -> None:
    """Refuse a YAML body of too many values, aliases written out, and one that contains itself.

    Each open collection counts the values in it; what an anchor names is remembered with its count once it is complete.
    """
    sizes: dict[str, int] = {}
    stack: list[tuple[str | None, int]] = []
    total = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise errors.bad_request(f"the request body cannot be read: *{event.anchor} contains itself")
            total += sizes[event.anchor]
        elif isinstance(event, yaml.CollectionStartEvent):
            stack.append((event.anchor, total))
            total += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = stack.pop()
            if anchor is not None:
                sizes[anchor] = total - before
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            if event.anchor is not None:
                sizes[event.anchor] = 1
        _check_size(total, len(stack))


def _check_size(values: int, levels: int) -> None:
    if values > NODES:
        raise errors.bad_request(f"the request body cannot be read: more than {NODES} values")
    if levels > DEPTH:
        raise errors.bad_request(f"the request body cannot be read: more than {DEPTH} levels of objects and lists")
