"""Finds the names that must not leave the machine: of its user, of the host, of folders that hold either."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Sequence
from pathlib import Path

_MIN_LENGTH = 3  # a shorter name is a part of other words
#: Names that say nothing of anybody, and are words of other texts.
_PLAIN = {"root", "user", "localhost", "runner", "ubuntu", "debian", "nvidia"}


def secrets_here() -> Sequence[tuple[str, str]]:
    """What is replaced, and by what: in every text that is packed."""
    found = [(str(Path.home()), "~"), (str(Path.cwd()), ".")]
    names = [(_user(), "USER"), (socket.gethostname(), "HOST"), (socket.getfqdn(), "HOST")]
    found += [
        (name, stand_in)
        for name, stand_in in names
        if len(name) >= _MIN_LENGTH and name.lower() not in _PLAIN
    ]
    return [(secret, stand_in) for secret, stand_in in found if secret not in ("", "/")]


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no entry for this user's number, as in some containers
        return ""
