"""Makes `operator/localkube/fields.json` from k8s.io/api and k8s.io/apimachinery (Apache-2.0).

    python tests/support/fieldsfile.py

with the Go module cache that the build of the control plane fills (see `controlplane`). `fieldtable` tells its form.
"""

import os
import re
from pathlib import Path
from typing import Any

import orjson

from localkube import fieldtable

VERSION = "0.35.4"
FILE = Path(fieldtable.__file__).parent / "fields.json"
_FILES = ["api@v{0}/core/v1", "api@v{0}/batch/v1", "api@v{0}/coordination/v1", "apimachinery@v{0}/pkg/apis/meta/v1"]
_FIELD = re.compile(r"(optional|repeated)? ?(map<string, ([\w.]+)>|[\w.]+) (\w+) = (\d+);")


def _messages(cache_folder: Path, version: str) -> dict[str, dict[str, list[Any]]]:
    messages: dict[str, dict[str, list[Any]]] = {}
    for pattern in _FILES:
        text = (cache_folder / pattern.format(version) / "generated.proto").read_text()
        package = re.search(r"^package (.+);", text, re.MULTILINE)
        for found in re.finditer(r"^message (\w+) \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL):
            messages[f"{package[1]}.{found[1]}"] = _fields(found[2], str(package[1]))  # type: ignore[index]
        for found in re.finditer(r"^// \+structType=atomic\nmessage (\w+)", text, re.MULTILINE):
            messages[f"{package[1]}.{found[1]}"][""] = [0, ""]  # type: ignore[index]
    kept: dict[str, dict[str, list[Any]]] = {}
    waiting = list(fieldtable.KINDS)
    while waiting:
        name = waiting.pop()
        if name not in kept and name not in fieldtable.SCALARS:
            kept[name] = messages[name]
            waiting += [entry[1].lstrip("[]{}") for field, entry in kept[name].items() if field]
    return dict(sorted(kept.items()))


def _fields(text: str, package: str) -> dict[str, list[Any]]:
    fields: dict[str, list[Any]] = {}
    comments: list[str] = []
    for line in map(str.strip, text.splitlines()):
        if line.startswith("//"):
            comments.append(line)
        elif found := _FIELD.match(line):
            kind = found[3] or found[2]
            kind = kind[1:] if kind.startswith(".") else kind if kind in fieldtable.SCALARS else f"{package}.{kind}"
            prefix = "{}" if found[3] else "[]" if found[1] == "repeated" else ""
            fields[found[4]] = [int(found[5]), prefix + kind, *_list_type(comments)]
            comments = []
    return fields


def _list_type(comments: list[str]) -> list[Any]:
    marks = [line.removeprefix("// +").split("=", 1) for line in comments if re.match(r"// \+\w+=", line)]
    keys = [value for name, value in marks if name == "listMapKey"]
    merge = [value for name, value in marks if name == "patchMergeKey"]
    kinds = [value for name, value in marks if name in ("listType", "mapType", "structType")]
    if kinds and kinds[0] in ("atomic", "set"):
        return [kinds[0], *merge]
    return [keys or merge, *merge] if keys or merge else []


def sources() -> Path:
    """Where the .proto files are, if they are."""
    return Path(os.environ.get("GOMODCACHE", Path.home() / "go" / "pkg" / "mod")) / "k8s.io"


def text(folder: Path) -> str:
    """The whole file; a message a line, so that differences between versions can be read."""
    messages = _messages(folder, VERSION)
    rows = [f"{orjson.dumps(name).decode()}: {orjson.dumps(fields).decode()}" for name, fields in messages.items()]
    return "{\n" + ",\n".join(rows) + "\n}\n"


if __name__ == "__main__":
    FILE.write_text(text(sources()))
