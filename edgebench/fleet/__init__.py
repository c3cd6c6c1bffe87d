"""Runs on many boards: Dask carries short tasks of plain arguments, and each board measures by a process of its own."""
