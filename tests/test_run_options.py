"""The options of `edgebench run`: what is refused before anything is looked at."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from edgebench.cli import ab_, run_
from edgebench.cli.run_options import Options, resolved, workloads_of
from edgebench.errors import UsageError


def options(*words: str) -> Options:
    return resolved(run_.command.make_context("run", list(words)).params)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--budget", "0"], "--budget 0"),
        (["--budget", ""], "'' is not a duration"),  # as of a variable that is not set
        (["--memory-limit", ""], "'' is not a size"),
        (["--estimate", ""], "not an estimate"),
    ],
)
def test_a_value_that_means_nothing_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        options(*words)


def test_a_folder_of_workloads_goes_with_no_model(tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    model.touch()
    with pytest.raises(UsageError, match="not a workload"):
        options("--model", str(model), "--workloads", str(tmp_path))


@pytest.mark.parametrize("seed", ["-1", str(2**31)])
def test_a_seed_that_generators_do_not_take_is_refused(seed: str) -> None:
    with pytest.raises(click.BadParameter, match="is not in the range"):
        options("--seed", seed)
    with pytest.raises(click.BadParameter, match="is not in the range"):
        ab_.command.make_context("ab", ["--base", "a", "--head", "b", "--seed", seed])


def test_a_workload_outside_the_suite_is_not_left_out_in_silence() -> None:
    with pytest.raises(UsageError, match="'quick' has none of sentence-embedding"):
        workloads_of(options("file-typing", "sentence-embedding", "--suite", "quick"))


def test_a_workload_that_is_named_twice_runs_once() -> None:
    [one] = workloads_of(options("file-typing", "file-typing"))
    assert one.name == "file-typing"
    [one] = workloads_of(options("file-typing", "file-typing", "--suite", "quick"))
    assert one.name == "file-typing"


def test_a_model_keeps_the_name_of_its_link(tmp_path: Path) -> None:
    """It tells the format, and the weights lie beside it: a cache of downloads keeps the content elsewhere."""
    (tmp_path / "0123abcd").touch()
    link = tmp_path / "model.onnx"
    link.symlink_to(tmp_path / "0123abcd")
    assert options("--model", str(link)).model == str(link)
