"""Which checks run on which board. The host reads the names, the guest runs the functions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from tests.kernel.guest.lab import Lab

Check = Callable[[Lab], None]
#: Board (a file of boards/) -> its checks, in the order in which they run.
CHECKS: dict[str, list[Check]] = defaultdict(list)


def check(*boards: str) -> Callable[[Check], Check]:
    """Registers a check for boards. Its docstring says what is true of edgebench there."""

    def registered(function: Check) -> Check:
        for board in boards:
            CHECKS[board].append(function)
        return function

    return registered
