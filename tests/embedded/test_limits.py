"""Bodies that attack the embedded server are refused at once, and its files are their user's alone."""

import itertools
import stat
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import orjson
import pytest

from embedded import harness
from localkube import bodies, errors
from support import localnode

_ALIASES = "a: &a [x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in itertools.pairwise("abcdefghij")
)
_MERGES = "b0: &b0 {x: 1}\n" + "".join(
    f"b{number + 1}: &b{number + 1} {{<<: [*b{number}, *b{number}]}}\n" for number in range(30)
)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("yaml", _ALIASES),
        ("yaml", _MERGES),
        ("yaml", "a: &a [*a]"),
        ("yaml", "a: " + "[" * 100_000),
        ("yaml", "[" * 101 + "]" * 101),
        ("yaml", "a: " + "9" * 5_000),
        ("yaml", "a: !!python/object:os.system {}"),
        ("json", "[" * 100_000),
        ("json", "[" * 101 + "]" * 101),
        ("json", '{"a":' * 900 + "1" + "}" * 900),
        ("json", '{"a": NaN}'),
        ("json", b'{"a": "\xff"}'),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_body_beyond_the_bounds_is_a_bad_request(kind: str, body: str | bytes) -> None:
    began = time.monotonic()
    with pytest.raises(errors.Refused) as refused:
        bodies.decoded(f"application/{kind}", body.encode() if isinstance(body, str) else body)
    assert refused.value.code == 400
    assert time.monotonic() - began < 20


def test_aliases_within_the_bounds_are_read() -> None:
    assert bodies.decoded("application/yaml", b"a: &a {k: 1}\nb: {<<: *a}\nc: *a") == {
        "a": {"k": 1},
        "b": {"k": 1},
        "c": {"k": 1},
    }


def test_depth_within_the_bounds_is_read() -> None:
    text = b"[" * bodies.DEPTH + b"]" * bodies.DEPTH
    assert bodies.decoded("application/json", text) == orjson.loads(text)


def _post(kubeconfig: Path, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    access = localnode.access(kubeconfig)
    given = {"Authorization": f"Bearer {access.token}", "Content-Type": "application/json"} | headers
    url = f"{access.server}/api/v1/namespaces/default/configmaps"
    request = urllib.request.Request(url, body, given)  # noqa: S310 - https, our own server
    try:
        with urllib.request.urlopen(request, context=access.tls(), timeout=20) as answer:  # noqa: S310
            return answer.status, orjson.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, orjson.loads(error.read())


def test_a_body_that_is_too_large_is_413(kubeconfig: Path) -> None:
    code, status = _post(kubeconfig, b'{"data": "' + b"x" * (4 << 20) + b'"}')
    assert (code, status["reason"]) == (413, "RequestEntityTooLarge")


@pytest.mark.parametrize("token", ["", "Bearer", "Bearer x", "Bearer \xff\xfe", "Basic eDp5", "Bearer é"])
def test_a_wrong_token_is_401(kubeconfig: Path, token: str) -> None:
    code, status = _post(kubeconfig, b"{}", Authorization=token)
    assert (code, status["reason"]) == (401, "Unauthorized")


def test_a_deep_body_is_400_over_http(kubeconfig: Path) -> None:
    assert _post(kubeconfig, b'{"data":' * 900 + b"1" + b"}" * 900)[0] == 400


def _modes(folder: Path) -> dict[str, int]:
    names = [folder, *(path for path in folder.iterdir() if not path.is_symlink())]
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in names}


def test_the_folder_and_its_files_are_private_at_each_start(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    server = harness.Embedded.start(folder)
    modes = _modes(folder)
    server.stop()
    assert {"cluster.db", "token", "kubeconfig", "port", "lock", "server.pem"} <= modes.keys()
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}
    folder.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o755 if path.is_dir() else 0o644)
    server = harness.Embedded.start(folder)
    modes = _modes(folder)
    server.stop()
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}
