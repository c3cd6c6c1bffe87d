"""`edgebench trend`: prints results over runs, and where they jumped."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgebench.cli.shared.options import (
    format_option,
    metrics_option,
    paths_argument,
    workload_option,
)
from edgebench.files.json_lines import write_json

if TYPE_CHECKING:
    from edgebench.trend.trend_report import By, Trend


@click.command("trend")
@paths_argument()
@click.option(
    "--by",
    type=click.Choice(["date", "commit"]),
    default="date",
    show_default=True,
    help="What one point of a series is: a run (date), or all runs of a git commit.",
)
@metrics_option("Metric to follow")
@workload_option()
@click.option("--all", "every", is_flag=True, help="Also draw series without a step.")
@click.option(
    "--confirm",
    is_flag=True,
    help="Check the newest step of each series by running `edgebench ab` on this machine.",
)
@format_option()
def command(
    paths: Sequence[Path],
    by: By,
    metrics: Sequence[str],
    workloads: Sequence[str],
    every: bool,
    confirm: bool,
    form: str,
) -> int:
    """Print how each result moved from run to run, where it jumped to another level, and what changed there.

    A jump (step) is reported once the new level has held for at least three points and noise alone is an unlikely
    cause, considering how many series there are. docs/history.md explains the test.

    \b
    Examples:
      edgebench trend results/
      edgebench trend results/ --by commit --metric memory.peak
    """
    from edgebench.api.history import trend_of

    gc.disable()
    trend = trend_of(paths, metrics, by, workloads)
    if form == "json":
        write_json(trend, sys.stdout)
    else:
        from edgebench.trend.trend_text import render

        render(trend, every, sys.stdout)
    return _confirm_steps(trend, form) if confirm else 0


def _confirm_steps(trend: Trend, form: str) -> int:
    """Runs each command once; the exit code is the largest of theirs."""
    import subprocess

    from edgebench.processes.python_command import module_command
    from edgebench.text.plain_text import say
    from edgebench.trend.step_causes import command_text

    newest = [series.steps[-1] for series in trend.series if series.steps]
    commands = list(dict.fromkeys(tuple(step.confirm) for step in newest if step.confirm))
    if not commands:
        say("edgebench: no step can be confirmed by one command; each says why")
    sys.stdout.flush()
    codes = [0]
    for words in commands:
        say(f"edgebench: {command_text(words)}")
        done = subprocess.run(
            module_command("edgebench", *words[1:]),
            stdout=sys.stderr if form == "json" else None,
            check=False,
        )
        codes.append(done.returncode if done.returncode >= 0 else 128 - done.returncode)
    return max(codes)
