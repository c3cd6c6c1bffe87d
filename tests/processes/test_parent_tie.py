"""A worker's ties to its parent where the kernel does not tell of its end (macOS)."""

from __future__ import annotations

import subprocess
import sys

from edgebench.processes.parent_tie import LOOK_S, exit_when_orphaned

#: Reads words as an arm does, after it tied itself to its parent as on macOS.
CHILD = """
import os, time
from edgebench.measure.replicate.worker_ipc import ParentLink
from edgebench.processes import parent_tie
parent_tie.sys = type("System", (), {"platform": "darwin"})
link = ParentLink(0, 1, os.getppid())
link.die_with_parent()
time.sleep(0)  # lets another thread run first
while line := link._job.readline():
    os.write(1, line)
"""


def test_a_process_ends_once_its_parent_is_another() -> None:
    parents = iter([7, 7, 7, 1])
    slept: list[float] = []
    left: list[int] = []
    exit_when_orphaned(7, parent=lambda: next(parents), sleep=slept.append, leave=left.append)
    assert slept == [LOOK_S] * 3
    assert left == [1]


def test_every_word_of_the_parent_reaches_its_reader() -> None:
    """What watches the parent must not read from the pipe that brings its words."""
    words = b"".join(b"%d\n" % number for number in range(100))
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=words,
        capture_output=True,
        check=False,
        timeout=120,  # it would hang otherwise
    )
    assert done.stdout == words, done.stderr
