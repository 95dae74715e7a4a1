"""Programs built once from a pinned Go module of ours into a cache outside the checkout."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

BUILD_SECONDS = 1800
"""Four times what it takes; a module proxy that does not answer would be waited for without end."""


class Missing(Exception):
    """A program cannot be had on this machine; the message says which and how to get it."""


def binary(module: Path, package: str, name: str, *flags: str) -> Path:
    """The program `package` of the Go module in the folder `module`, kept by the hash of the module's files.

    Raises `Missing` where there is no Go toolchain or the build fails.
    """
    program = _place(module, name)
    folder = program.parent
    if program.exists():
        return program
    if shutil.which("go") is None:
        raise Missing(f"{name} is not here, and no Go toolchain (1.25 or later) to build it with")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs at once would build the same
        if program.exists():
            return program
        unfinished = folder / f"{name}.unfinished"
        command = ["go", "build", "-mod=readonly", *flags, "-o", str(unfinished), package]
        try:
            built = subprocess.run(
                command, cwd=module, capture_output=True, text=True, check=False, timeout=BUILD_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise Missing(f"{name} was not built within {BUILD_SECONDS} s") from None
        if built.returncode != 0:
            raise Missing(f"{name} does not build: {built.stderr[-500:]}")
        return unfinished.rename(program)


def built(module: Path, name: str) -> Path | None:
    """The program of the Go module in the folder `module`, if it was built before."""
    program = _place(module, name)
    return program if program.exists() else None


def _place(module: Path, name: str) -> Path:
    files = sorted(path for path in module.iterdir() if path.suffix in (".go", ".mod", ".sum"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "penstock" / f"{name}-{digest}" / name
