"""`edgebench search`: the fastest precisions of a model's groups that keep its quality."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from edgebench.errors import EdgebenchError, ExitCode
from edgebench.files.json_lines import write_json
from edgebench.processes.signals import ended_by
from edgebench.text.plain_text import say

#: Time of a search where nobody says another.
DEFAULT_BUDGET = "5min"
#: Maps that are measured, at most.
DEFAULT_POINTS = 6


@click.command("search")
@click.argument("names", nargs=-1, metavar="[WORKLOAD]")
@click.option(
    "--workloads",
    "folders",
    multiple=True,
    type=click.Path(exists=True, file_okay=False),
    help="Also read workload definitions from this folder (repeatable).",
)
@click.option(
    "--model",
    type=click.Path(exists=True, dir_okay=False),
    help="Search this ONNX file; with --task by your own metric, else by its outputs against fp32.",
)
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="NAME=DIMS",
    help="Shape of an input of --model, such as image=1,3,224,224 (repeatable).",
)
@click.option(
    "--task",
    metavar="FILE:CLASS",
    help="Your own task and metric for --model, such as my_task.py:MyTask.",
)
@click.option(
    "--backend",
    "backends",
    metavar="NAME,...",
    help="Backends to measure; operators are timed in the first.  [default: ort]",
)
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="AXIS=VALUE",
    help="Value of a variant axis, such as threads=2 (repeatable).  [default: the workload's first]",
)
@click.option(
    "--require",
    "-r",
    multiple=True,
    metavar="LIMIT",
    help="Limit to hold: 'quality>=0.98*fp32', 'accuracy>=0.83' (in the place of the workload's own), "
    "'latency.p50<=30ms', 'memory.peak<=512MiB' (repeatable).",
)
@click.option(
    "--maximize",
    metavar="REWARD",
    help="Choose by MnasNet's quality x (latency / T)^w, such as 'reward(80ms,-0.07)'.  [default: the fastest]",
)
@click.option(
    "--budget",
    default=DEFAULT_BUDGET,
    show_default=True,
    metavar="TIME",
    help="Time for the whole search without downloads.",
)
@click.option(
    "--points",
    type=click.IntRange(2, 40),
    default=DEFAULT_POINTS,
    show_default=True,
    help="How many maps are measured, at most.",
)
@click.option(
    "--confidence",
    type=float,
    default=0.95,
    show_default=True,
    help="Confidence with which a map must hold its limits to be offered.",
)
@click.option(
    "--target",
    default="2%",
    show_default=True,
    metavar="SHARE",
    help="Stop measuring a map when half of its 95% interval is this small.",
)
@click.option(
    "--memory-limit",
    metavar="SIZE",
    help="Memory that a worker process may allocate, such as 512MiB.  [default: no limit]",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=0,
    show_default=True,
    help="Seed of the order of cells.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False),
    default="results",
    show_default=True,
    help="Folder for result files and maps.",
)
@click.option("--resume", is_flag=True, help="Continue this search where it was interrupted.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Format of the answer on stdout.",
)
def command(**params: Any) -> int:
    """Find the fastest precisions of a model's groups that keep its quality.

    Explores which groups of operators gain from int8 and what each costs in quality, measures the maps that
    follow beside fp32 in turns, and tests the limits of the fastest on items that it was not tuned on.

    \b
    Example:
      edgebench search image-classification --budget 5min

    Exit codes: 0 a safe deployment was found; 1 none is faster and holds the limits; 2 wrong option or model; 6 a
    file is missing; 7 results cannot be written; 130 interrupted.
    """
    from edgebench.api.run_options import DEFAULTS
    from edgebench.api.voices import to_stderr
    from edgebench.search.run_search import Found, request_of, search
    from edgebench.search.search_text import render

    started_s = time.monotonic()
    form = params.pop("form")
    request = request_of({**DEFAULTS, **params}, ["edgebench", *sys.argv[1:]])
    found: Found = search(request, to_stderr(), started_s)
    if found.report is None:
        return _unfinished(found)
    if form == "json":
        write_json(found.report, sys.stdout)
    else:
        render(found.report, sys.stdout)
    if found.report.results is not None:
        say(f"results: {found.report.results}")
    return ExitCode.OK if found.report.chosen is not None else ExitCode.CELL_FAILED


def _unfinished(found: Any) -> int:
    """The last words of a search whose measuring was stopped."""
    outcome = found.outcome
    kept = (
        ""
        if outcome is None or outcome.file is None
        else f": the records so far are in {outcome.file}"
    )
    if outcome is not None and isinstance(outcome.stopped, KeyboardInterrupt):
        say(f"edgebench: {ended_by(outcome.stopped)}{kept}; continue with --resume")
        return ExitCode.INTERRUPTED
    if outcome is not None and isinstance(outcome.stopped, EdgebenchError):
        say(f"edgebench: {outcome.stopped}{kept}")
        return outcome.stopped.exit_code
    say("edgebench: nothing was measured")
    return ExitCode.CELL_FAILED
