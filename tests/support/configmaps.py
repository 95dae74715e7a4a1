"""ConfigMaps as a Pod has them mounted."""

from pathlib import Path

from penstock.runs import places


def put(root: Path, name: str, **keys: str) -> None:
    """Put a ConfigMap into the Pod whose `/` is this folder."""
    folder = root / places.CONFIG_MAPS.lstrip("/") / name
    folder.mkdir(parents=True, exist_ok=True)
    for key, value in keys.items():
        (folder / key).write_text(value, encoding="utf-8")
