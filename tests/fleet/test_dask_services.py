"""A worker that waits for its scheduler: what it says, and when it gives up."""

from __future__ import annotations

import asyncio
import warnings

import pytest

from edgebench.errors import UsageError
from edgebench.fleet.dask_services import NAME_TAKEN_S, Attempts, quieten


def test_what_may_differ_between_boards_is_no_warning_of_dask() -> None:
    """Python and numpy may; Dask would print a table of them over the live view."""
    pytest.importorskip("distributed", reason="needs the extra fleet")
    with warnings.catch_warnings(record=True) as caught:
        quieten()
        warnings.warn("Mismatched versions found\n\n+-----+", UserWarning, stacklevel=1)
    assert caught == []


def wrapped(cause: Exception) -> RuntimeError:
    """As Dask raises it."""
    error = RuntimeError("Worker failed to start.")
    error.__cause__ = cause
    return error


def test_each_reason_is_said_once() -> None:
    told: list[str] = []
    attempts = Attempts("tcp://127.0.0.1:1", "pi", told.append)
    for _ in range(3):
        attempts.failed(wrapped(OSError("refused")))
    attempts.failed(TimeoutError())
    for time in ("1", "2"):
        attempts.failed(wrapped(ValueError(f"{{'message': 'name taken, pi', 'time': {time}}}")))
    assert told == [
        "waiting for tcp://127.0.0.1:1: OSError: refused",
        "waiting for tcp://127.0.0.1:1: nothing answers there",
        "waiting for tcp://127.0.0.1:1: the name 'pi' is taken there",
    ]


def test_silence_behind_tls_may_be_a_foreign_certificate() -> None:
    told: list[str] = []
    Attempts("tls://desk:8786", "pi", told.append).failed(wrapped(asyncio.CancelledError()))  # type: ignore[arg-type]
    assert told == [
        "waiting for tls://desk:8786: nothing answers there, or it has certificates of another `edgebench fleet certs`"
    ]


def test_name_of_another_board_is_refused_once_no_reboot_explains_it() -> None:
    now = [0.0]
    attempts = Attempts("tls://desk:8786", "pi", lambda _: None, lambda: now[0])
    attempts.failed(wrapped(ValueError("name taken, pi")))
    now[0] = NAME_TAKEN_S
    attempts.failed(wrapped(ValueError("name taken, pi")))
    now[0] += 1
    with pytest.raises(UsageError, match="another board is called 'pi' at tls://desk:8786"):
        attempts.failed(wrapped(ValueError("name taken, pi")))
