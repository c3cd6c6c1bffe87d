"""`edgebench ab`: two deployments against each other, in the same job, with a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

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
    "Exit codes: 0 pass or improve, 1 regress, 2 usage, 4 inconclusive, 5 invalid, "
    "6 asset or environment, 7 results not read or written, 70 a mistake of edgebench itself, "
    "130 interrupted."
)


@click.command(name="ab", cls=VerdictCommand, epilog=EPILOG)
@click.argument("names", nargs=-1, metavar="[WORKLOAD]...")
@click.option("--base", multiple=True, required=True, metavar="SPEC", help="What is there now.")
@click.option("--head", multiple=True, required=True, metavar="SPEC", help="What is to come.")
@click.option("--suite", help="Suite of workloads: its variants, single_stream.")
@click.option(
    "--workloads",
    "folders",
    multiple=True,
    type=click.Path(exists=True, file_okay=False),
    help="Folder with workload definitions of your own.",
)
@click.option(
    "--set",
    "sets",
    multiple=True,
    help="Axis of both sides: threads=1,2. A side's own value goes first.",
)
@click.option("--shape", "shapes", multiple=True, help="Input shape of model files: x=1,3,224,224.")
@click.option(
    "--range", "ranges", multiple=True, metavar="NAME=LOW,HIGH",
    help="What an input of model files is drawn from: ids=0,30521, or k=1|2|4.",
)  # fmt: skip
@click.option(
    "--inputs", type=click.Path(exists=True, dir_okay=False), metavar="FILE.npz",
    help="Inputs of yours for model files, by input name.",
)  # fmt: skip
@click.option("--task", help="Own task and metric for model files: my_task.py:Class.")
@click.option("--build", metavar="CMD", help="Builds the model of a git: revision.")
@click.option("--artifact", metavar="PATH", help="The file that --build makes.")
@click.option("--repository", default=".", type=click.Path(file_okay=False), help="For git:.")
@click.option(
    "--budget", default="5min", show_default=True,
    help="Time for everything but downloads, installations and builds: 60s.",
)  # fmt: skip
@click.option(
    "--wait-quiet", metavar="TIME",
    help="Wait so long at most until others leave the machine alone: 60s. The budget does not count it.",
)  # fmt: skip
@click.option("--tau", help="Change of latency that counts as the same.  [default: 1%]")
@click.option("--delta", help="Slowdown of latency that PASS excludes.  [default: 5%]")
@click.option("--parity", help='Limit between the outputs, or "off".  [default: by precision]')
@click.option("--timeout", default="120s", show_default=True, help="Silence that counts as a hang.")
@click.option("--memory-limit", help="Memory an arm may allocate: 512MiB.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option("--inconclusive", type=click.Choice(["pass", "fail"]), default="fail")
@click.option(
    "--out", type=click.Path(file_okay=False), default="results", show_default=True,
    help="Folder for the raw pairs.",
)  # fmt: skip
@click.option("--no-energy", is_flag=True, help="Read no meter: pairs take less time.")
@click.option("--energy-root", hidden=True, type=click.Path(exists=True, file_okay=False))
@click.option("--no-save", is_flag=True, help="Keep no raw pairs.")
@click.option("--junit", type=click.Path(dir_okay=False), help="Write a JUnit XML file as well.")
@click.option("--markdown", type=click.Path(dir_okay=False), help="Write a comment body as well.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True)
def command(**given: Any) -> int:
    """Compare two deployments: pairs of fresh processes, block by block in turns, and a verdict.

    A SPEC is a model file, a variant (precision=int8-static), a backend (openvino), runtime versions
    (onnxruntime==1.30.0), a git revision (git:main, with --build and --artifact) or a Python or virtual
    environment. --base and --head may be repeated; head is base with what head says changed. Versions and
    Python are base's unless head names a backend, versions or a Python.
    """
    return finish(concluded(given, lambda: _judged(given)), given)


def _judged(given: Mapping[str, Any]) -> GateReport:
    from edgebench.api.ab_request import judge

    return judge(given, progress=True)


def finish(report: GateReport, given: Mapping[str, Any]) -> int:
    """Writes what was asked for and returns the exit code."""
    show(report, given)
    if any(reason.code == "interrupted" for reason in report.reasons):
        return ExitCode.INTERRUPTED
    if any(reason.code == "not_written" for reason in report.reasons):
        return ExitCode.STORE
    if report.verdict == "inconclusive" and given["inconclusive"] == "pass":
        return ExitCode.OK
    return EXITS[report.verdict]
