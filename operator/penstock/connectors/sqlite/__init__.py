"""SQLite: a database file on a claim, a Source of tables and queries.

In: the path of a database, and which tables. Out: typed columns, by the affinity that SQLite gives a declared type; a
cell that is of another class than its column comes beside it with its exact text. Never: it writes nothing.
"""
