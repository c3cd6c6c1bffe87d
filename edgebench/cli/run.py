"""`edgebench run`: from options to measurements (`edgebench.api.running`) and the table."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.core import ParameterSource

from edgebench.api.run_defaults import DEFAULTS, PERCENTILES
from edgebench.cli.shared.number_options import FiniteRange
from edgebench.cli.shared.prefer_option import prefer_option
from edgebench.errors import EdgebenchError, ExitCode, UsageError
from edgebench.processes.signals import ended_by
from edgebench.text.plain_text import say

if TYPE_CHECKING:
    from edgebench.analysis.table_types import Table
    from edgebench.api.running import Outcome
    from edgebench.record import Record


@click.command(name="run")
@click.argument("names", nargs=-1, metavar="[WORKLOAD]...")
@click.option(
    "--suite",
    metavar="NAME",
    help="Measure the workloads of this suite.  [default: quick, if no workload is named]",
)
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
    help="Measure this model file with generated inputs (a GGUF file: with prompts), and compare its "
    "outputs with an fp32 reference.",
)
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="NAME=DIMS",
    help="Shape of an input of --model, such as image=1,3,224,224 or x=scalar (repeatable).",
)
@click.option(
    "--reference",
    type=click.Path(exists=True, dir_okay=False),
    help="ONNX model from which --model was converted, if --model is in a runtime's own format.",
)
@click.option(
    "--range",
    "ranges",
    multiple=True,
    metavar="NAME=LOW,HIGH",
    help="Values of an input of --model: a range such as ids=0,30521, or a list such as k=1|2|4 "
    "(repeatable).",
)
@click.option(
    "--inputs",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE.npz",
    help="Your own inputs for --model, by input name, instead of generated ones.",
)
@click.option(
    "--parity",
    metavar="LIMIT",
    help="Largest error of --model's outputs against the reference, such as 0.05.  [default: by the "
    "file's precision]",
)
@click.option(
    "--task",
    metavar="FILE:CLASS",
    help="Your own task and metric for --model, such as my_task.py:MyTask; `generate` for an ONNX "
    "language model.",
)
@click.option(
    "--backend",
    "backends",
    metavar="NAME,...",
    help="Backends to measure; `all` for each installed one that opens the model.  [default: ort, or one that "
    "opens --model]",
)
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="AXIS=VALUES",
    help="Values of a variant axis, such as threads=1,2 (repeatable). All combinations of all axes "
    "are measured.",
)
@click.option(
    "--set-power-mode",
    is_flag=True,
    help="Allow the axis power_mode. edgebench sets the mode of nvpmodel and restores the former one; "
    "needs root.",
)
@click.option(
    "--scenario",
    "scenarios",
    metavar="NAME,...",
    help="Scenarios to measure: single_stream, multi_stream, server, stream, offline, sustained, generate.",
)
@click.option(
    "--rate",
    type=FiniteRange(min=0, min_open=True),
    metavar="N",
    help="Send N queries per second, in equal periods (single_stream) or at random (server); latency then "
    "counts from each query's scheduled time.",
)
@click.option(
    "--bound",
    metavar="p99=TIME",
    help="Scenario server: find the highest rate whose p99 keeps this bound, such as p99=15ms, in place of --rate.",
)
@click.option(
    "--together",
    is_flag=True,
    help="Measure each workload alone and beside the others, which run as they would in one application.",
)
@click.option(
    "--companion",
    "companions",
    multiple=True,
    metavar="LOAD",
    help="Measure alone and beside a load: cpu:2 (busy cores), memory:8GB/s (repeatable).",
)
@click.option(
    "--budget",
    metavar="TIME",
    help="Time for the whole run without downloads, such as 60s.  [default: none; suite quick: 105s]",
)
@click.option(
    "--wait-quiet",
    metavar="TIME",
    help="Wait up to this long, before each round, until other programs are idle, such as 60s. The "
    "wait is not part of --budget.",
)
@click.option(
    "--target",
    default=DEFAULTS["target"],
    show_default=True,
    metavar="SHARE",
    help="Stop measuring a cell when half of its 95% interval is this small.",
)
@click.option(
    "--percentile",
    type=click.Choice(list(PERCENTILES)),
    default=DEFAULTS["percentile"],
    show_default=True,
    help="The percentile whose interval must reach --target.",
)
@click.option(
    "--replicates",
    type=click.IntRange(min=1),
    help="Number of fresh processes per cell.  [default: 3, and up to 9 until --target is reached; suite "
    "quick: 7]",
)
@click.option(
    "--reruns",
    type=click.IntRange(min=0),
    default=DEFAULTS["reruns"],
    show_default=True,
    help="How many processes of a cell may be run again because the machine throttled or its settings "
    "changed meanwhile.",
)
@click.option(
    "--slice",
    "slice_",
    default=DEFAULTS["slice_"],
    show_default=True,
    metavar="TIME",
    help="Longest measured window of one process.",
)
@click.option(
    "--sustain",
    default=DEFAULTS["sustain"],
    show_default=True,
    metavar="TIME",
    help="Longest load of one process in the scenario sustained.",
)
@click.option(
    "--timeout",
    default=DEFAULTS["timeout"],
    show_default=True,
    metavar="TIME",
    help="Kill a worker that reports no progress for this long.",
)
@click.option(
    "--memory-limit",
    metavar="SIZE",
    help="Memory that a worker process may allocate, such as 512MiB.  [default: no limit]",
)
@click.option(
    "--estimate",
    metavar="cpu-time:W",
    help="Also estimate energy as CPU time times W watts per core. The estimate is labelled modelled "
    "and never ranked.",
)
@click.option(
    "--energy-markers",
    is_flag=True,
    help="Add bursts of load around each window, by which `edgebench energy attach` aligns the log of "
    "a meter.",
)
@click.option(
    "--energy-root",
    hidden=True,
    type=click.Path(exists=True, file_okay=False),
    help="Look for the energy meter below this folder: a simulated machine.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=DEFAULTS["seed"],
    show_default=True,
    help="Seed of the generated inputs and of the order of cells.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False),
    default=DEFAULTS["out"],
    show_default=True,
    help="Folder for result files.",
)
@click.option("--no-save", is_flag=True, help="Write no result file.")
@click.option("--resume", is_flag=True, help="Continue the last unfinished run in --out.")
@click.option(
    "--devices",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Inventory of your devices.  [default: devices.yaml in the working directory, if it exists]",
)
@click.option("--device", metavar="NAME", help="Name of this machine in the results.")
@click.option("--strict", is_flag=True, help="Refuse to measure while the device state is invalid.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv", "md"]),
    default="table",
    show_default=True,
    help="Format of the table on stdout.",
)
@prefer_option
@click.pass_context
def command(context: click.Context, /, **params: Any) -> int:
    """Measure workloads on this machine and print the trade-off table.

    Without a WORKLOAD, the suite `quick` is measured. Each run writes its results to a new file
    in --out, cell by cell.

    \b
    Example:
      edgebench run image-classification --set threads=1,2 --budget 60s
    """
    from edgebench.api import run_resume
    from edgebench.api.run_options import resolved
    from edgebench.api.running import Start, measure
    from edgebench.api.voices import to_stderr

    started_s = time.monotonic()
    options = resolved(params)
    if params["resume"] and params["no_save"]:
        raise UsageError("--resume cannot be combined with --no-save", "leave one of them out")
    shown = Shown(params["form"], params["prefer"])
    store = None
    if params["resume"]:
        folder, typed = Path(params["out"]), typed_in(context)
        store, options = run_resume.reopen(folder, options, typed)
        if store is None:
            complete = run_resume.last_complete(folder, options, typed)
            if complete is not None:
                file, records = complete
                say(f"nothing to resume: {file} is complete")
                return _exit_code(_render(records, shown))
            say(f"nothing to resume in {folder}: starting a new run")
    out = None if params["no_save"] else Path(params["out"])
    start = Start(["edgebench", *sys.argv[1:]], out, started_s, store)
    outcome = measure(options, start, to_stderr())
    table = _render(outcome.records, shown) if outcome.records else None
    return _closing(table, outcome)


class Shown(NamedTuple):
    """How to print the table; it does not change what is measured."""

    form: str
    prefer: Sequence[str]  # the rule of ties


def typed_in(context: click.Context) -> set[str]:
    """Names of the parameters that were given on the command line."""
    return {
        name
        for name in context.params
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }


def _closing(table: Table | None, outcome: Outcome) -> int:
    """The last words on stderr, and the exit code."""
    again = kept = ""
    if outcome.file is not None:
        say(f"results: {outcome.file}")
        kept, again = ": the results so far are kept", f"; continue with `{outcome.going_on}`"
    if isinstance(outcome.stopped, KeyboardInterrupt):
        say(f"edgebench: {ended_by(outcome.stopped)}{kept}{again}")
        return ExitCode.INTERRUPTED
    if isinstance(outcome.stopped, EdgebenchError):
        say(f"edgebench: {outcome.stopped}")
        return outcome.stopped.exit_code
    cut = outcome.cut
    if cut is not None:
        say(f"edgebench: {outcome.cut_text}{again if cut.unreached else ''}")
    code = ExitCode.CELL_FAILED if table is None else _exit_code(table)
    if table is None or not _measured(table):
        say("edgebench: no row was measured")
    return ExitCode.CELL_FAILED if cut is not None and cut.unreached else code


def _exit_code(table: Table) -> ExitCode:
    # The table's status, not the record's: what rows say of each other makes some invalid.
    bad = any(row.status in ("failed", "invalid") for row in table.rows)
    return ExitCode.OK if _measured(table) and not bad else ExitCode.CELL_FAILED


def _measured(table: Table) -> bool:
    return any(row.status in ("ok", "invalid") for row in table.rows)


def _render(records: Sequence[Record], shown: Shown) -> Table:
    from edgebench.analysis.table import build_table
    from edgebench.render.table_formats import render

    table = build_table(records, shown.prefer)
    render(table, shown.form, sys.stdout)
    return table
