"""`edgebench search`: finds which parts of a model can run in int8 and still keep its quality."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgebench.cli.shared.options import (
    EXISTING_FILE,
    folders_option,
    format_option,
    memory_limit_option,
    out_option,
    refuse_beside,
    seed_option,
    sets_option,
    shapes_option,
    task_option,
)
from edgebench.errors import EdgebenchError, ExitCode, UsageError
from edgebench.files.json_lines import write_json
from edgebench.processes.signals import ended_by
from edgebench.text.plain_text import say

if TYPE_CHECKING:
    from edgebench.api.run_request import Outcome
    from edgebench.search.model_family import Family
    from edgebench.search.search_report import SearchReport

#: Time of a search where nobody says another.
DEFAULT_BUDGET = "5min"
#: Maps that are measured, at most.
DEFAULT_POINTS = 8
KEPT = ".json"  # a search that was kept


@click.command("search")
@click.argument("names", nargs=-1, metavar="[WORKLOAD|SEARCH.json]")
@folders_option
@click.option(
    "--model",
    type=EXISTING_FILE,
    help="Search this ONNX file. Its quality is the metric of --task, or else how close its outputs are to fp32.",
)
@click.option(
    "--models",
    metavar="FILE,...",
    help="Search several ONNX files of one task together. A model that is surely worse than another gets no more time.",
)
@shapes_option("--model")
@task_option("--model")
@click.option(
    "--backend",
    "backends",
    metavar="NAME,...",
    help="Backends to measure. Operators are timed in the first one.  [default: ort]",
)
@sets_option(
    "Value of a variant axis, such as threads=2 (repeatable).  [default: the workload's first]"
)
@click.option(
    "--require",
    "-r",
    multiple=True,
    metavar="LIMIT",
    help="Limit to meet: 'quality>=0.98*fp32', 'accuracy>=0.83' (replaces the workload's own limit), "
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
    help="Largest number of maps to measure.",
)
@click.option(
    "--confidence",
    type=float,
    default=0.95,
    show_default=True,
    help="How surely a map must meet its limits before it is recommended.",
)
@click.option(
    "--target",
    default="2%",
    show_default=True,
    metavar="SHARE",
    help="Stop measuring a map when half of its 95% interval is this small.",
)
@click.option(
    "--via",
    multiple=True,
    type=click.Choice(["nncf"]),
    help="Also ask NNCF's accuracy control for a map, and measure it like the others.",
)
@memory_limit_option
@seed_option("cells")
@out_option("Folder for result files and maps.")
@click.option("--resume", is_flag=True, help="Continue the same search where it was interrupted.")
@format_option(("table", "json", "svg"))
@click.pass_context
def command(context: click.Context, /, **params: Any) -> int:
    """Find which parts of a model can run in int8 and still keep its quality.

    A map says which groups of operators run in int8 and which in fp32. The search times the operators in both
    precisions, finds out what int8 costs each group in quality, measures the most promising maps in turns with
    fp32, and tests the fastest map against the limits on items that were not used to choose it.

    The search is kept as RESULTS.search.json beside the records: given in the place of a workload, such a file is
    printed again, and `--format svg` draws it.

    \b
    Example:
      edgebench search image-classification --budget 5min

    Exit codes: 0 a faster map that meets the limits was found; 1 there is none; 2 wrong option or model; 6 a
    file is missing; 7 results cannot be read or written; 130 interrupted.
    """
    from edgebench.api.progress_output import to_stderr
    from edgebench.planning.run_parameters import DEFAULTS
    from edgebench.search.run_search import request_of, search

    started_s = time.monotonic()
    form, models = params.pop("form"), params.pop("models")
    if len(params["names"]) == 1 and params["names"][0].endswith(KEPT):
        refuse_beside(context, "a search that was kept", {"names", "form"})
        return _kept(Path(params["names"][0]), form)
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
    _say_where(found.report)
    return _code_of(found.report)


def _say_where(report: SearchReport) -> None:
    if report.results is not None:
        say(f"results: {report.results}")


def _show(report: SearchReport, form: str) -> None:
    from edgebench.search.search_picture import svg
    from edgebench.search.search_text import render

    if form == "json":
        write_json(report, sys.stdout)
    elif form == "svg":
        sys.stdout.write(svg(report))
    else:
        render(report, sys.stdout)


def _kept(path: Path, form: str) -> int:
    """Prints a search that was kept, and answers as it did."""
    from edgebench.search.search_report import read_search

    report = read_search(path)
    _show(report, form)
    return _code_of(report)


def _code_of(answer: SearchReport | Family) -> int:
    return ExitCode.OK if answer.chosen is not None else ExitCode.CELL_FAILED


def _family(params: dict[str, Any], models: str, form: str, started_s: float) -> int:
    """Several models of one task under one budget."""
    from edgebench.api.progress_output import to_stderr
    from edgebench.search.model_family import search_family
    from edgebench.search.run_search import request_of
    from edgebench.search.search_text import render_family

    paths = [text.strip() for text in models.split(",") if text.strip()]
    if params["model"] is not None or params["names"] or len(paths) < 2:
        raise UsageError(
            "--models takes two files or more, and no workload and no --model beside it",
            "write it like --models a.onnx,b.onnx --task my_task.py:MyTask",
        )
    for path in paths:
        if not Path(path).is_file():
            raise UsageError(f"--models: no file {path}")
    if len({Path(path).resolve() for path in paths}) < len(paths):
        raise UsageError("--models names a file twice", "name each model once")
    if form == "svg":
        raise UsageError(
            "--format svg draws one search, and --models are several",
            "each lies beside its results: RESULTS.search.svg",
        )
    asked = ["edgebench", *sys.argv[1:]]
    requests = [request_of({**params, "model": path}, asked) for path in paths]
    family = search_family(requests, to_stderr(), started_s)
    if form == "json":
        told = {
            "chosen": family.chosen,
            "dropped": family.dropped,
            "front": [offer for offer in family.offers if offer.front],
            "models": family.reports,
        }
        write_json(told, sys.stdout)
    for report in family.reports if form != "json" else []:
        _show(report, form)
        _say_where(report)
    if len(family.reports) < len(family.found):
        return _unfinished(family.found[-1].outcome)
    if form != "json":
        render_family(family, sys.stdout)
    return _code_of(family)


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
