"""The flat form of the table: columns, Parquet and SQL."""
