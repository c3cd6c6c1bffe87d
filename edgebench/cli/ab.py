"""`edgebench ab`: two deployments against each other, in the same job, with a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from edgebench.cli.shared.options import (
    folders_option,
    model_input_options,
    names_argument,
    process_options,
    run_option,
    seed_option,
    sets_option,
    task_option,
    verdict_options,
)
from edgebench.cli.shared.verdict_files import VerdictCommand, concluded, show
from edgebench.errors import ExitCode

if TYPE_CHECKING:
    from edgebench.ab_test.ab_report_types import GateReport

FORMATS = ("table", "json", "md", "junit")
EXITS = {
    "pass": ExitCode.OK,
    "improve": ExitCode.OK,
    "regress": ExitCode.CELL_FAILED,
    "inconclusive": ExitCode.INCONCLUSIVE,
    "invalid": ExitCode.INVALID,
}
EPILOG = (
    "Exit codes: 0 pass or improve; 1 regress; 2 wrong option or policy; 4 inconclusive; 5 invalid; "
    "6 a model, data file or environment is missing; 7 results cannot be read or written; 70 an "
    "error in edgebench itself; 130 interrupted."
)


@click.command(name="ab", cls=VerdictCommand, epilog=EPILOG)
@names_argument
@click.option("--base", multiple=True, required=True, metavar="SPEC", help="Baseline variant.")
@click.option("--head", multiple=True, required=True, metavar="SPEC", help="Candidate variant.")
@run_option(
    "suite",
    metavar="NAME",
    help="Compare all variants of this suite's workloads, in the scenario single_stream.",
)
@folders_option
@sets_option(
    "Values of a variant axis for both sides, such as threads=1,2 (repeatable). A value in a SPEC wins."
)
@model_input_options("the model files")
@task_option("the model files")
@click.option("--build", metavar="CMD", help="Command that builds the model of a git: revision.")
@click.option("--artifact", metavar="PATH", help="File that --build writes.")
@click.option(
    "--repository", default=".", show_default=True, type=click.Path(file_okay=False),
    help="Git repository of the git: revisions.",
)  # fmt: skip
@click.option(
    "--budget", default="5min", show_default=True, metavar="TIME",
    help="Time for the whole comparison without downloads, installations and builds.",
)  # fmt: skip
@run_option(
    "wait_quiet",
    metavar="TIME",
    help="Wait up to this long until other programs are idle, such as 60s. Not part of --budget.",
)
@click.option(
    "--tau", metavar="SHARE",
    help="Change of latency that is too small to matter.  [default: 1%]",
)  # fmt: skip
@click.option(
    "--delta", metavar="SHARE",
    help="Slowdown of latency that PASS must rule out.  [default: 5%]",
)  # fmt: skip
@run_option(
    "parity",
    metavar="LIMIT",
    help='Largest error between the outputs of both sides, or "off".  [default: by precision]',
)
@process_options
@seed_option("pairs")
@verdict_options("fail", FORMATS)
def command(**params: Any) -> int:
    """Compare a candidate (--head) with a baseline (--base) in one job, and print a verdict.

    Both are measured in pairs of fresh processes, which take turns block by block.

    A SPEC is a model file, a variant (precision=int8-static), a backend (openvino), runtime versions
    (onnxruntime==1.30.0), a git revision (git:main, with --build and --artifact), or a Python
    interpreter or virtual environment. Repeat --base or --head to give a side several of them. The
    candidate is the baseline with the changes of --head. It keeps the runtime versions and the Python
    of the baseline, unless --head names a backend, versions or a Python.

    \b
    Example:
      edgebench ab image-classification --base precision=fp32 \\
        --head precision=int8-static --budget 60s
    """
    return finish(concluded(params, lambda: _judge(params)), params)


def _judge(params: Mapping[str, Any]) -> GateReport:
    from edgebench.api.ab_request import judge

    return judge(params, progress=True)


def finish(report: GateReport, params: Mapping[str, Any]) -> int:
    """Writes what was asked for and returns the exit code."""
    show(report, params)
    if any(reason.code == "interrupted" for reason in report.reasons):
        return ExitCode.INTERRUPTED
    if any(reason.code == "not_written" for reason in report.reasons):
        return ExitCode.STORE
    if report.verdict == "inconclusive" and params["inconclusive"] == "pass":
        return ExitCode.OK
    return EXITS[report.verdict]
