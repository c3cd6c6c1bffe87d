"""Values of a backend's options for the contract kit."""

from __future__ import annotations

from edgebench.backend import Option, Scalar


def good_values(option: Option) -> tuple[Scalar, ...]:
    """Values that the declaration of an option allows."""
    if option.choices:
        return option.choices
    if option.type == "bool":
        return (False, True)
    if option.minimum is not None:
        start = int(option.minimum) if option.type == "int" else option.minimum
        return (start, start + 1)
    return () if option.default is None else (option.default,)
