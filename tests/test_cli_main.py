"""How every command ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgebench.errors import ExitCode

FULL = Path("/dev/full")


def ends(stdout: int, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "edgebench", *arguments]
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)
    return done.returncode, done.stderr


# Short output is written when the command is over, long output while it runs.
OUTPUTS = (["schema", "gate"], ["schema", "record"])


@pytest.mark.parametrize("arguments", OUTPUTS)
def test_a_reader_that_has_enough_is_no_failure(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert ends(writer, *arguments) == (ExitCode.OK, "")
    finally:
        os.close(writer)


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")
@pytest.mark.parametrize("arguments", OUTPUTS)
def test_a_full_disk_is_one_error(arguments: list[str]) -> None:
    with FULL.open("w") as full:
        code, said = ends(full.fileno(), *arguments)
    assert code == ExitCode.STORE
    assert said == "edgebench: stdout cannot be written: No space left on device\n"
