"""PostgreSQL: a Source of tables and queries, read in one snapshot over COPY."""
