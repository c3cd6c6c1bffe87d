"""The Python API: what `import edgebench` offers, and what the command line is built on (docs/python.md)."""
