"""Lists installed distributions from their metadata, without importing them."""

from __future__ import annotations


def installed_version(*distributions: str) -> str | None:
    """The version of the first of these distributions that is installed; None: none is."""
    import importlib.metadata  # here: a worker that asks for no version need not pay for it

    for distribution in distributions:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None
