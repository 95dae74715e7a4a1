"""MySQL and MariaDB: tables and queries of a database, as a Source.

In: where the server is, and which tables. Out: typed columns; a cell that its type cannot hold comes beside it with its
exact text. Never: it writes nothing, and reads nothing outside of one read-only transaction.
"""
