"""The Pod as the worker sees it: its order, its Secrets, its folders, its limits, and where the report goes."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from penstock.language.errors import InvalidSpec
from penstock.runs import order as orders
from penstock.runs import places
from penstock.runs.order import RunOrder

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_UNLIMITED = 1 << 48
"""What cgroup v1 says for "no limit" lies above this; no machine of ours does."""


@dataclass(frozen=True)
class Pod:
    """What the environment says. `memory` is in bytes, None where there is no limit."""

    root: Path
    run: str
    name: str
    memory: int | None
    processors: int
    attempt: str = "1"

    def path(self, absolute: str) -> Path:
        """The path in this Pod of an absolute path, with its links followed.

        Links are followed because a table's metadata holds absolute paths, and in the embedded mode every Pod has
        another root with links to the same claims.
        """
        return Path(os.path.realpath(self.root / absolute.lstrip("/")))

    @property
    def scratch(self) -> Path:
        """The folder for what need not outlive the Pod."""
        path = self.path(places.SCRATCH)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def secret(self, name: str, key: str) -> str | None:
        """A key of a Secret, None where the key does not exist. Raises InvalidSpec when the Secret is not there."""
        folder = self.path(f"{places.SECRETS}/{name}")
        if not folder.is_dir() or not any(folder.iterdir()):
            raise InvalidSpec(f"Secret {name} does not exist in this namespace. Create it.", "SecretMissing")
        file = folder / key
        return file.read_text(encoding="utf-8").strip() if file.is_file() else None

    def config_file(self, name: str, key: str) -> Path | None:
        """The file of a key of a ConfigMap; None where one of the two does not exist."""
        file = self.path(f"{places.CONFIG_MAPS}/{name}") / key
        return file if file.is_file() else None

    def order(self) -> RunOrder:
        """The order to carry out. Raises InvalidSpec when there is none or it is of another version."""
        file = self.path(places.ORDER)
        if not file.is_file():  # an earlier version of the operator wrote it without compression
            file = file.with_suffix("")
        try:
            return orders.decompress(file.read_bytes())
        except OSError as error:
            raise InvalidSpec(f"There is no order at {file}: {error.strerror}.") from None
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InvalidSpec(f"The order at {file} cannot be read: {where}: {first['msg']}.") from None
        except (ValueError, RecursionError) as error:
            raise InvalidSpec(f"The order at {file} cannot be read: {error}.") from None

    def leave(self, text: str) -> None:
        """Write the termination message: whole, or not at all where the place allows it."""
        target = self.path(places.TERMINATION_LOG)
        try:
            beside = target.with_name(f"{target.name}.{os.getpid()}")
            beside.write_text(text, encoding="utf-8")
            beside.replace(target)
        except OSError:  # in a real Pod the file is a bind mount, which cannot be replaced: one write of under a page
            target.write_text(text, encoding="utf-8")


def here(environment: Mapping[str, str] = os.environ) -> Pod:
    """The Pod this process runs in."""
    return Pod(
        root=Path(environment.get(places.POD_ROOT, "/")),
        run=environment.get(places.RUN_ID, "manual/0"),
        name=environment.get(places.POD_NAME, f"process-{os.getpid()}"),
        memory=_memory(environment.get(places.MEMORY_LIMIT, "")),
        processors=max(1, len(os.sched_getaffinity(0))),
        attempt=environment.get(places.ATTEMPT, "1"),
    )


def _memory(said: str) -> int | None:
    candidates = [said, *(_first_line(path) for path in _CGROUP_LIMITS)]
    limits = [int(text) for text in candidates if text.isdigit()]
    return min((limit for limit in limits[:1] if 0 < limit < _UNLIMITED), default=None)


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""
