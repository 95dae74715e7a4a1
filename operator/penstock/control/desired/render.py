"""Templates to manifests: the only importer of jinja2. Values go in through `tojson`; structure is never built here.

Since a template's structure cannot depend on its values, it is rendered and parsed once, with a mark in the place of
each value. Filling in the values afterwards gives the same as rendering anew, without the parsing, which was most of
what a reconciliation cost.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import jinja2
import yaml
from jinja2 import meta

from penstock.control.cluster.port import Manifest

_MARK = "\0"


def manifest(template: str, /, **values: Any) -> Manifest:
    """The object that a template makes of `values`.

    Raises `jinja2.UndefinedError` for a value that is missing, and `TypeError` for one that the template does not use.
    """
    names, skeleton = _skeleton(template)
    if missing := names - values.keys():
        raise jinja2.UndefinedError(f"{template}: no value for {', '.join(sorted(missing))}")
    if surplus := values.keys() - names:
        raise TypeError(f"{template}: does not use {', '.join(sorted(surplus))}")
    filled: Manifest = _filled(skeleton, values)
    return filled


@cache
def _skeleton(template: str) -> tuple[frozenset[str], Manifest]:
    """The names that a template uses, and its object with a mark in the place of each value."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("penstock.control.desired"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - the output is YAML, and every value passes `tojson`
    )
    environment.filters["tojson"] = json.dumps  # jinja2's own escapes <, > and & for HTML
    name = f"{template}.yaml.j2"
    assert environment.loader is not None  # noqa: S101 - given above
    source, _, _ = environment.loader.get_source(environment, name)
    names = meta.find_undeclared_variables(environment.parse(source))
    text = environment.get_template(name).render({name: f"{_MARK}{name}" for name in names})
    return frozenset(names), yaml.safe_load(text)


def _filled(part: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(part, dict):
        return {key: _filled(member, values) for key, member in part.items()}
    if isinstance(part, list):
        return [_filled(member, values) for member in part]
    if isinstance(part, str) and part.startswith(_MARK):
        return values[part.removeprefix(_MARK)]
    return part
