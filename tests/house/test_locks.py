"""What is installed: pinned by hash, from wherever the installer is configured to look, and from no address of ours."""

import re
from pathlib import Path

import pytest

from house import tree

LOCKS = sorted((tree.ROOT / "requirements").glob("*.txt"))

# Hosts of package, image and module registries. Where things come from is the business of whoever installs.
_REGISTRIES = re.compile(
    r"(pypi\.org|pythonhosted\.org|npmjs\.(org|com)|docker\.io/|ghcr\.io|quay\.io|gcr\.io|crates\.io|rubygems\.org|"
    r"proxy\.golang\.org|deb\.debian\.org)"
)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_pins_every_package_by_version_and_hash_and_names_no_address(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    assert "://" not in text
    assert "--find-links" not in text
    packages = re.findall(r"^(\S+) ?.*\\\n +--hash=sha256:", text, flags=re.MULTILINE)
    named = re.findall(r"^[A-Za-z0-9]", text, flags=re.MULTILINE)
    assert packages
    assert len(packages) == len(named)
    assert all("==" in package for package in packages)


def test_no_committed_file_names_the_host_of_a_registry() -> None:
    here = tree.ROOT / "tests" / "house" / "test_locks.py"
    named = []
    for path in tree.committed():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if path != here and _REGISTRIES.search(text):
            named.append(str(path.relative_to(tree.ROOT)))
    assert not named
