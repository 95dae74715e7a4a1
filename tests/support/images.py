"""The two targets of our Dockerfile as archives, built without a registry and kept by the hash of what goes in.

buildah builds them, on the Dockerfile's base where a registry can be reached, else on a base that debootstrap makes
(once: 45 s). pip in there reaches its index as pip on this machine does. A base and its layers stay in the cache, so
that a change of our code costs seconds. All of it lies outside the checkout.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support import gobuild

ROOT = Path(__file__).parent.parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "penstock" / "images"

TARGETS = ("operator", "worker")
TAG = "dev"  # as in deploy/: any but `latest`, which would be pulled
PAUSE = "localhost/pause:1"

SLIM = "@".join(re.findall(r"^ARG BASE=(.+):.+@(sha256:[0-9a-f]{64})$", (ROOT / "Dockerfile").read_text(), re.M)[0])
"""The base that users have, by its digest: a reference with both tag and digest cannot be pulled by buildah."""
BOOTSTRAPPED = "localhost/penstock-base:bookworm"
SUITE = "bookworm"
PACKAGES = "python3,python3-venv,ca-certificates"

INPUTS = ("Dockerfile", ".dockerignore", "pyproject.toml", "README.md", "LICENSE", "requirements", "operator")
PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout")
KEPT = 2  # the archives of so many versions of our code: 1 GB each
BUILD_SECONDS = 1800


def archives() -> list[Path]:
    """Docker-archives: `penstock-operator:dev`, `penstock-worker:dev` and PAUSE. Raises `gobuild.Missing`."""
    folder = CACHE / _digest()
    wanted = [folder / f"{target}.tar" for target in TARGETS]
    with _alone():
        pause = _pause()
        if not all(archive.exists() for archive in wanted):
            _build(folder)
        folder.touch()
        _forget(folder)
    return [pause, *wanted]


def _pause() -> Path:
    """The archive of the image that holds a Pod's namespaces open: a static busybox, asleep."""
    archive = CACHE / "pause.tar"
    if archive.exists():
        return archive
    busybox = shutil.which("busybox")
    if busybox is None:
        raise gobuild.Missing("busybox is not on PATH (Debian: apt-get install busybox-static)")
    with _builder() as builder:
        context = builder.scratch / "pause"
        context.mkdir()
        shutil.copy(busybox, context / "busybox")
        (context / "Dockerfile").write_text('FROM scratch\nCOPY busybox /\nENTRYPOINT ["/busybox", "sleep", "inf"]\n')
        builder.run("bud", "--isolation=chroot", f"--tag={PAUSE}", str(context))
        builder.export(PAUSE, archive)
    return archive


def _digest() -> str:
    """A hash of everything that the Dockerfile copies, and of how we build it."""
    digest = hashlib.sha256(f"{SLIM} {SUITE} {PACKAGES}".encode())
    for name in INPUTS:
        place = ROOT / name
        files = sorted(place.rglob("*")) if place.is_dir() else [place]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"\n{file.relative_to(ROOT)}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def _build(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with _builder() as builder:
        base = _base(builder)
        for target in TARGETS:
            name = f"penstock-{target}:{TAG}"
            options = ["--layers", "--network=host", "--isolation=chroot", f"--build-arg=BASE={base}"]
            builder.run("bud", *options, *builder.pip_options(), f"--target={target}", f"--tag={name}", str(ROOT))
            builder.export(name, folder / f"{target}.tar")
        builder.run("rmi", "--prune")


def _forget(current: Path) -> None:
    """Delete the archives of older versions of our code."""
    versions = sorted((path for path in CACHE.glob("*/worker.tar")), key=lambda path: path.parent.stat().st_mtime)
    for archive in versions[:-KEPT]:
        if archive.parent != current:
            shutil.rmtree(archive.parent)


def _base(builder: "_Builder") -> str:
    """An image with Python in it: the Dockerfile's if it can be had, else one made of Debian's packages."""
    if pulled := builder.told("pull", "--quiet", f"docker://{SLIM}"):
        return pulled  # by its id
    if builder.told("inspect", "--type=image", BOOTSTRAPPED):
        return BOOTSTRAPPED
    if shutil.which("debootstrap") is None:
        raise gobuild.Missing(
            f"{SLIM} cannot be pulled, and debootstrap is not here (Debian: apt-get install debootstrap)"
        )
    tree = builder.scratch / "base" / "tree"
    tree.mkdir(parents=True)
    _run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(tree))
    for leftover in ("var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(tree / leftover)
    (tree.parent / "Dockerfile").write_text("FROM scratch\nCOPY tree /\n")
    builder.run("bud", f"--tag={BOOTSTRAPPED}", str(tree.parent))
    return BOOTSTRAPPED


@dataclass(frozen=True)
class _Builder:
    """buildah with its images in our cache."""

    driver: str
    scratch: Path

    def run(self, *arguments: str) -> None:
        _run(*self._command(*arguments))

    def told(self, *arguments: str) -> str:
        """What it prints; nothing where it fails."""
        done = subprocess.run(self._command(*arguments), capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    def export(self, name: str, archive: Path) -> None:
        """An image as a file, which is there when it is whole."""
        unfinished = archive.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)  # buildah adds to an archive only if it can, and it cannot
        self.run("push", name, f"docker-archive:{unfinished}:{name}")
        unfinished.rename(archive)

    def pip_options(self) -> list[str]:
        """Mount what pip needs: the certificates that this machine trusts, and where its index is. Neither stays in."""
        certificates = os.environ.get("PIP_CERT") or ssl.get_default_verify_paths().cafile
        settings = _pip_settings()
        mounts = []
        if certificates:
            inside = "/etc/ssl/certs/ca-certificates.crt"
            settings["cert"] = inside
            mounts = [f"--volume={Path(certificates).resolve()}:{inside}:ro"]
        configuration = self.scratch / "pip.conf"
        lines = [f"{key} = {value}" for key, value in settings.items()]
        configuration.write_text("\n".join(["[global]", *lines, ""]))
        return [*mounts, f"--volume={configuration}:/etc/pip.conf:ro"]

    def _command(self, *arguments: str) -> list[str]:
        stored = [f"--root={CACHE / 'storage'}-{self.driver}", f"--runroot={self.scratch / 'run'}"]
        return ["buildah", f"--storage-driver={self.driver}", *stored, *arguments]


@contextlib.contextmanager
def _builder() -> Iterator[_Builder]:
    """buildah with overlay where the kernel and the cache's file system allow it: vfs copies 5 GB for the same."""
    if shutil.which("buildah") is None:
        raise gobuild.Missing("buildah is not on PATH (Debian: apt-get install buildah)")
    with tempfile.TemporaryDirectory(prefix="penstock-build-") as scratch:
        overlay = _Builder("overlay", Path(scratch))
        yield overlay if overlay.told("info") else _Builder("vfs", Path(scratch))


def _pip_settings() -> dict[str, str]:
    """Where pip on this machine finds packages; what stands in the environment goes first, as pip has it."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    entries = (line.partition("=") for line in listed.splitlines())
    found = [(name.rpartition(".")[2], value.strip("'"), name.startswith(":env:")) for name, _, value in entries]
    return {key: value for key, value, _ in sorted(found, key=lambda entry: entry[2]) if key in PIP_SETTINGS}


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One at a time: two test runs at once would build the same."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=BUILD_SECONDS)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
