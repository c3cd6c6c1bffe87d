"""Backends, one file or folder per runtime; found by edgebench.registry."""
