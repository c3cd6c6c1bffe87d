"""`edgebench search`: the fastest precisions of a model's groups that keep its quality."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgebench.errors import EdgebenchError, ExitCode, UsageError
from edgebench.files.json_lines import write_json
from edgebench.processes.signals import ended_by
from edgebench.text.plain_text import say

if TYPE_CHECKING:
    from edgebench.api.running import Outcome
    from edgebench.search.search_report import SearchReport

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
    "--models",
    metavar="FILE,...",
    help="Search these ONNX files of one task together: models that are dominated for sure get no more time.",
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
    from edgebench.api.voices import to_stderr
    from edgebench.planning.run_parameters import DEFAULTS
    from edgebench.search.run_search import request_of, search

    started_s = time.monotonic()
    form, models = params.pop("form"), params.pop("models")
    params = {**DEFAULTS, **params}
    asked = ["edgebench", *sys.argv[1:]]
    if models is not None:
        return _family(params, models, form, started_s)
    request = request_of(params, asked)
    try:
        found = search(request, to_stderr(), started_s)
    except KeyboardInterrupt as error:
        say(f"edgebench: {ended_by(error)}: what was explored is kept; continue with --resume")
        return ExitCode.INTERRUPTED
    if found.report is None:
        return _unfinished(found.outcome)
    _show(found.report, form)
    return ExitCode.OK if found.report.chosen is not None else ExitCode.CELL_FAILED


def _show(report: SearchReport, form: str) -> None:
    from edgebench.search.search_text import render

    if form == "json":
        write_json(report, sys.stdout)
    else:
        render(report, sys.stdout)
    if report.results is not None:
        say(f"results: {report.results}")


def _family(params: dict[str, Any], models: str, form: str, started_s: float) -> int:
    """Several models of one task under one budget."""
    from edgebench.api.voices import to_stderr
    from edgebench.search.model_family import search_family
    from edgebench.search.run_search import request_of

    paths = [text.strip() for text in models.split(",") if text.strip()]
    if params["model"] is not None or params["names"] or len(paths) < 2:
        raise UsageError(
            "--models takes two files or more, and no workload and no --model beside it",
            "write it like --models a.onnx,b.onnx --task my_task.py:MyTask",
        )
    for path in paths:
        if not Path(path).is_file():
            raise UsageError(f"--models: no file {path}")
    asked = ["edgebench", *sys.argv[1:]]
    requests = [request_of({**params, "model": path}, asked) for path in paths]
    family = search_family(requests, to_stderr(), started_s)
    if form == "json":
        told = {"chosen": family.chosen, "dropped": family.dropped, "models": family.reports}
        write_json(told, sys.stdout)
    for report in family.reports if form != "json" else []:
        _show(report, form)
    if len(family.reports) < len(family.found):
        return _unfinished(family.found[-1].outcome)
    if family.chosen is None:
        say("edgebench: no deployment of any model is offered")
        return ExitCode.CELL_FAILED
    best = family.found[family.chosen].report
    assert best is not None
    say(
        f"best of {len(paths)} models: {best.title}, {best.deployment and best.deployment.precision}"
    )
    return ExitCode.OK


def _unfinished(outcome: Outcome | None) -> int:
    """The last words of a search whose measuring was stopped."""
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
