"""Reading: a file's bytes become chunks of rows, each row with its place in the file, each row counted.

In: a stream of one version of one file, and its format. Out: chunks, in order: well-formed rows as Arrow columns, and
the lines that are no rows, with why. Never: typing, rules, or a row that is neither in the one nor in the other.

`records` cuts bytes at record ends and counts, without parsing; `csvrows` and `jsonlines` parse what was cut. Two
counts that have to agree.
"""

from penstock.connectors.files.formats.block import Work
from penstock.connectors.files.formats.formats import Reader, Room, reader
from penstock.worker.ports.chunks import ANY, Chunk, Columns

__all__ = ["ANY", "Chunk", "Columns", "Reader", "Room", "Work", "reader"]
