"""Settings of the whole suite."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import settings

# A deadline would make a busy machine fail tests; in CI, the same examples every time.
settings.register_profile("edgebench", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("edgebench")

#: Tests that judge times which they measured.
MEASURING = (
    "tests/ab_test/",
    "tests/backends/",
    "tests/energy/test_run_with_meter.py",
    "tests/measure/",
    "tests/packaging/test_contributing.py",
    "tests/roofline/",
    "tests/search/",
    "tests/testing/test_contract_kit.py",
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where tests run side by side (`make test`), one worker runs all that judge times, one after the other; of the
    others, a worker runs whole files."""
    from xdist.scheduler import LoadScopeScheduling

    class OneMeasures(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "measuring" if nodeid.startswith(MEASURING) else nodeid.partition("::")[0]

    return OneMeasures(config, log)
