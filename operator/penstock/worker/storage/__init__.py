"""Files at URLs: found, read in order, written. The one door to file systems, web servers and object stores.

In: a place and credentials. Out: files as they were found, streams of exactly those versions, files put whole.
Never: a handle that two threads share: DuckDB over a shared handle gave wrong rows, silently.
"""

from penstock.worker.storage.ahead import SMALL, ahead
from penstock.worker.storage.choice import at
from penstock.worker.storage.port import BLOCK, FULL, Found, Open, Store, matcher, trouble

__all__ = ["BLOCK", "FULL", "SMALL", "Found", "Open", "Store", "ahead", "at", "matcher", "trouble"]
