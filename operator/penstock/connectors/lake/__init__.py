"""Apache Iceberg tables: a TableStore."""
