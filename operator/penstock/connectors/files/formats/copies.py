"""Local copies of files that are read in jumps, not from their beginning to their end."""

import shutil
import tempfile
from pathlib import Path

from penstock.connectors.files.stores import BLOCK, Open, StoredFile


def local_copy(opened: Open, stored: StoredFile, scratch: Path, suffix: str) -> Path:
    """A copy of the file in `scratch`, whose name ends in `suffix`. Raises what `opened` raises."""
    with tempfile.NamedTemporaryFile(dir=scratch, suffix=suffix, delete=False) as copy, opened(stored) as stream:
        try:
            shutil.copyfileobj(stream, copy, BLOCK)
        except BaseException:
            Path(copy.name).unlink(missing_ok=True)
            raise
    return Path(copy.name)
