"""DuckDB: a database file on a claim, a Source of tables and queries, and a TableStore.

In: the path of a database, and which tables. Out: typed columns; a cell that Arrow cannot hold comes beside its column
with its exact text. Never: other files than the database, extensions, settings, the network; a Source writes nothing.
"""
