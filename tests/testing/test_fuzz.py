"""Every reader of foreign files, for a moment: `make fuzz` runs the same targets for longer."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.fuzz.__main__ import report_of, text_of
from tests.fuzz.mutation import mutated
from tests.fuzz.target import names

RUNS = 150
MAX_SECONDS = 2.0


@pytest.mark.parametrize("name", names())
def test_mutated_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    report = report_of(name, runs=RUNS, seconds=MAX_SECONDS, seed=1, out=tmp_path)
    assert not report.violations, "\n".join(
        [text_of(report), *(v.trace for v in report.violations)]
    )


def test_a_mutated_file_depends_on_the_seed_alone() -> None:
    seeds = [b'{"a": 1.5}', bytes(range(200))]
    assert [mutated(seeds, Random(n)) for n in range(50)] == [
        mutated(seeds, Random(n)) for n in range(50)
    ]
