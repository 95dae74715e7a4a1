"""PostgreSQL: a Source of tables and queries, read in one snapshot over COPY, and a TableStore.

In: the rows of tables, views and queries as CSV; staged rows of Datasets as binary COPY. Out: chunks of Arrow columns;
committed tables with their quarantine and the ledger. Never: rows that are seen before their commit.
"""
