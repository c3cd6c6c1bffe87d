"""Benchmarks of edgebench itself; no tests. `make perf` runs them all."""
