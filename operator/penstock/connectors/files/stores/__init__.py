"""Files at URLs: listed, read in order, written. The one door to file systems, web servers and object stores.

In: a place and credentials. Out: files as they were stored, streams of exactly those versions, files put whole.
Never: a handle that two threads share: DuckDB over a shared handle gave wrong rows, silently.
"""

from penstock.connectors.files.stores.ahead import SMALL, ahead
from penstock.connectors.files.stores.choice import at, objects
from penstock.connectors.files.stores.port import BLOCK, FULL, ObjectStore, Open, Store, StoredFile, trouble

__all__ = [
    "BLOCK",
    "FULL",
    "SMALL",
    "ObjectStore",
    "Open",
    "Store",
    "StoredFile",
    "ahead",
    "at",
    "objects",
    "trouble",
]
