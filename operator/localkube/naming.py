"""Names and labels: what Kubernetes allows, in its words (apimachinery: pkg/util/validation)."""

import re
import secrets
from collections.abc import Iterator

import orjson

from localkube.errors import Problem
from localkube.objects import Json

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_VALUE = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_KEY = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # no vowels, nothing that looks like another: Kubernetes' choice

ADVICE = "prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers"
_WORDS_LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    f"with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
_WORDS_DOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    f"and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_DOMAIN}')"
)
_WORDS_VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    f"'{_VALUE}')"
)
_WORDS_KEY = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    f"character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_KEY}')"
)
_WORDS_QUALIFIED = (
    _WORDS_KEY.replace("name part", "a valid label key")
    + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
)


def generated(prefix: str) -> str:
    """A name after a generateName, of at most 63 characters."""
    return prefix[:58] + "".join(secrets.choice(_LETTERS) for _ in range(5))


def unqualified(item: Json, old: Json | None) -> Iterator[Problem]:
    """New finalizers that do not say whose they are: errors in built-in kinds, else worth a warning."""
    allowed = ("foregroundDeletion", "orphan", *_finalizers(old))
    for number, name in enumerate(_finalizers(item)):
        if "/" not in name and name not in allowed:
            text = "name is neither a standard finalizer name nor is it fully qualified"
            yield Problem.invalid(f"metadata.finalizers[{number}]", f'"{name}"', text)


def untimely(item: Json, old: Json | None) -> Iterator[Problem]:
    """Another's UID, a deletion that is only written down, and finalizers added to what is being deleted."""
    for key in ("uid", "deletionTimestamp", "deletionGracePeriodSeconds"):
        if old is not None and item["metadata"].get(key) != old["metadata"].get(key):
            shown = orjson.dumps(item["metadata"][key]).decode()
            yield Problem.invalid(f"metadata.{key}", shown, "field is immutable")
    added = sorted(set(_finalizers(item)) - set(_finalizers(old)))
    if old is not None and "deletionTimestamp" in old["metadata"] and added:
        listed = ", ".join(f'"{one}"' for one in added)
        text = "no new finalizers can be added if the object is being deleted, found new finalizers "
        yield Problem.forbidden("metadata.finalizers", f"{text}[]string{{{listed}}}")


def _finalizers(item: Json | None) -> list[str]:
    return list(((item or {}).get("metadata") or {}).get("finalizers") or ())


def problems(item: Json, is_namespace: bool) -> Iterator[Problem]:
    """What is wrong with an object's name, labels and annotations."""
    meta = item["metadata"]
    yield from _name(meta.get("name", ""), is_namespace)
    yield from _owners(meta.get("ownerReferences") or [])
    for key, value in (meta.get("labels") or {}).items():
        yield from _key(key, "metadata.labels")
        if len(value) > 63:
            yield Problem.invalid("metadata.labels", f'"{value}"', "must be no more than 63 bytes")
        elif not re.fullmatch(_VALUE, value):
            yield Problem.invalid("metadata.labels", f'"{value}"', _WORDS_VALUE)
    for key in meta.get("annotations") or {}:
        yield from _key(key, "metadata.annotations")
    if sum(len(k) + len(v) for k, v in (meta.get("annotations") or {}).items()) > 256 << 10:
        yield Problem("metadata.annotations", "FieldValueTooLong", "Too long: may not be more than 262144 bytes")


def _owners(references: list[Json]) -> Iterator[Problem]:
    controllers = [f"{one.get('kind')}/{one.get('name')}" for one in references if one.get("controller")]
    for one in references:
        for key in ("apiVersion", "kind", "name", "uid"):
            if not one.get(key):
                yield Problem.invalid(
                    f"metadata.ownerReferences.{key}",
                    '""',
                    "version must not be empty" if key == "apiVersion" else "must not be empty",
                )
    if len(controllers) > 1:
        order = ("apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion")
        shown = orjson.dumps([{key: one[key] for key in order if key in one} for one in references]).decode()
        text = 'Only one reference can have Controller set to true. Found "true" in references for '
        yield Problem.invalid("metadata.ownerReferences", shown, text + " and ".join(controllers[:2]))


def is_name(text: str) -> bool:
    """Whether an object may have the name: a subdomain of RFC 1123."""
    return len(text) <= 253 and re.fullmatch(_DOMAIN, text) is not None


def label_problems(text: str, path: str) -> Iterator[Problem]:
    """What makes a text no RFC 1123 label, such as the name of a container or a volume must be."""
    if not text:
        yield Problem.required(path)
        return
    shown = orjson.dumps(text).decode()
    if len(text) > 63:
        yield Problem.invalid(path, shown, "must be no more than 63 characters")
    if not re.fullmatch(_LABEL, text):
        words = "must not contain dots" if re.fullmatch(_DOMAIN, text) else _WORDS_LABEL
        yield Problem.invalid(path, shown, words)


def _name(name: str, is_namespace: bool) -> Iterator[Problem]:
    limit, pattern, words = (63, _LABEL, _WORDS_LABEL) if is_namespace else (253, _DOMAIN, _WORDS_DOMAIN)
    if not name:
        yield Problem.required("metadata.name", "name or generateName is required")
    elif len(name) > limit:
        yield Problem.invalid("metadata.name", f'"{name}"', f"must be no more than {limit} characters")
    elif not re.fullmatch(pattern, name):
        yield Problem.invalid("metadata.name", f'"{name}"', words)


def _key(key: str, path: str) -> Iterator[Problem]:
    prefix, slash, name = key.rpartition("/")
    if "/" in prefix:
        yield Problem.invalid(path, f'"{key}"', _WORDS_QUALIFIED)
        return
    if slash and not re.fullmatch(_DOMAIN, prefix.lower()):
        yield Problem.invalid(path, f'"{key}"', f"prefix part {_WORDS_DOMAIN}")
    if not name:
        yield Problem.invalid(path, f'"{key}"', "name part must be non-empty")
    if len(name) > 63:
        yield Problem.invalid(path, f'"{key}"', "name part must be no more than 63 bytes")
    elif not re.fullmatch(_KEY, name):
        yield Problem.invalid(path, f'"{key}"', _WORDS_KEY)
