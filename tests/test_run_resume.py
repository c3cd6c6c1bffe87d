"""What may change between a run and its resuming, and what may not."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edgebench.cli import run_, run_resume
from edgebench.cli.run_options import resolved
from edgebench.errors import UsageError
from edgebench.store import JournalHead, RunStore, unfinished

#: An option of the command -> a value of it that is not the one of the run to resume.
OTHERS = {
    "names": "ocr-digits",
    "suite": "full",
    "folders": "{folder}",
    "model": "{file}",
    "shapes": "x=1,2",
    "reference": "{file}",
    "task": "mine.py:Mine",
    "backends": "null",
    "sets": "threads=2",
    "set_power_mode": None,
    "scenarios": "offline",
    "rate": "5",
    "target": "1%",
    "percentile": "p99",
    "replicates": "7",
    "reruns": "0",
    "slice_": "1s",
    "sustain": "1s",
    "timeout": "1s",
    "memory_limit": "1GiB",
    "estimate": "cpu-time:3",
    "energy_markers": None,
    "energy_root": "{folder}",
    "seed": "1",
    "devices": "{file}",
    "strict": None,
}
FLAGS = {parameter.name: parameter.opts[0] for parameter in run_.command.params}


WITH_A_MODEL = ("shapes", "reference", "task")


def stop_a_run(folder: Path, *words: str) -> None:
    """Leaves the journal of a run that had come to nothing yet."""
    options = resolved(run_.command.make_context("run", list(words)).params)
    head = JournalHead(
        run_id="1",
        started_utc="2026-01-01T00:00:00Z",
        options=msgspec.to_builtins(options),
        cells=[],
        device="here",
    )
    RunStore.create(folder / "here" / "run.jsonl", head).close()
    assert unfinished(folder)


def resume(folder: Path, *words: str) -> None:
    context = run_.command.make_context("run", ["--out", str(folder), *words])
    options = resolved(context.params)
    store, _ = run_resume.reopen(folder, options, run_resume.typed_in(context))
    assert store is not None
    store.close()


def test_every_option_is_fixed_or_free() -> None:
    assert set(FLAGS) == set(run_resume.FIXED) | run_resume.FREE
    assert set(OTHERS) == set(run_resume.FIXED)
    assert not set(run_resume.FIXED) & run_resume.FREE


@pytest.mark.parametrize("parameter", OTHERS)
def test_what_decides_the_measurement_cannot_change(parameter: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    base = ["--model", str(tmp_path / "file")] if parameter in WITH_A_MODEL else []
    stop_a_run(tmp_path, *base)
    value = OTHERS[parameter]
    words = [] if parameter == "names" else [FLAGS[parameter]]
    if value is not None:
        words.append(value.format(folder=tmp_path, file=tmp_path / "file"))
    field = run_resume.FIXED[parameter][0].removeprefix("settings.")
    with pytest.raises(UsageError, match=f"the run to resume has {field} "):
        resume(tmp_path, *base, *words)
    resume(tmp_path, *base)


def test_the_same_again_and_a_new_budget_may_be_said(tmp_path: Path) -> None:
    stop_a_run(tmp_path)
    resume(tmp_path, "--suite", "quick", "--target", "2%", "--budget", "5min")
