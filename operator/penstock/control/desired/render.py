"""Templates to manifests: the only importer of jinja2. Values go in through `tojson`; structure is never built here."""

import json
from functools import cache
from typing import Any

import jinja2
import yaml

from penstock.control.cluster.port import Manifest


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("penstock.control.desired"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - the output is YAML, and every value passes `tojson`
    )
    environment.filters["tojson"] = json.dumps  # jinja2's own escapes <, > and & for HTML
    return environment


def manifest(template: str, /, **values: Any) -> Manifest:
    """The object that a template makes of `values`. Raises `jinja2.UndefinedError` for a value that is missing."""
    text = _environment().get_template(f"{template}.yaml.j2").render(**values)
    rendered: Manifest = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader, in C where there is one
    return rendered


_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
