"""Threads that numpy starts for itself take no core from what is measured."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("own", "kept"), [(None, "4"), ("20", "20")])
def test_helpers_of_openblas_sleep_at_once_unless_the_user_says_otherwise(
    own: str | None, kept: str
) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_THREAD_TIMEOUT"}
    environment |= {} if own is None else {"OPENBLAS_THREAD_TIMEOUT": own}
    code = "import os, edgebench; print(os.environ['OPENBLAS_THREAD_TIMEOUT'])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == kept
