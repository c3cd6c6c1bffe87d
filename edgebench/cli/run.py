"""`edgebench run`: from options to measurements (`edgebench.api.run_request`) and the table."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.core import ParameterSource

from edgebench.cli.shared.options import (
    EXISTING_FILE,
    FiniteRange,
    devices_option,
    energy_root_option,
    folders_option,
    format_option,
    model_input_options,
    names_argument,
    out_option,
    prefer_option,
    process_options,
    run_option,
    seed_option,
    sets_option,
    task_option,
)
from edgebench.errors import EdgebenchError, ExitCode, UsageError
from edgebench.planning.run_parameters import PERCENTILES
from edgebench.processes.signals import ended_by
from edgebench.text.plain_text import say

if TYPE_CHECKING:
    from edgebench.analysis.table_types import Table
    from edgebench.api.run_request import Outcome
    from edgebench.record import Record


@click.command(name="run")
@names_argument
@run_option(
    "suite",
    metavar="NAME",
    help="Measure the workloads of this suite.  [default: quick, if no workload is named]",
)
@folders_option
@run_option(
    "model",
    type=EXISTING_FILE,
    help="Measure this model file with generated inputs (a GGUF file: with prompts), and compare its "
    "outputs with an fp32 reference.",
)
@model_input_options("--model")
@run_option(
    "reference",
    type=EXISTING_FILE,
    help="ONNX model from which --model was converted, if --model is in a runtime's own format.",
)
@run_option(
    "parity",
    metavar="LIMIT",
    help="Largest error of --model's outputs against the reference, such as 0.05.  [default: by the "
    "file's precision]",
)
@task_option("--model", "; `generate` for an ONNX language model")
@run_option(
    "backends",
    metavar="NAME,...",
    help="Backends to measure; `all` for each installed one that opens the model.  [default: ort, or one that "
    "opens --model]",
)
@sets_option(
    "Values of a variant axis, such as threads=1,2 (repeatable). All combinations of all axes are "
    "measured."
)
@run_option(
    "memory_budget",
    multiple=True,
    metavar="SIZE,...",
    help="Measure each variant in a process that is held to so much memory, such as 256MiB,512MiB (repeatable): "
    "whether it fits, and how fast it is. --set memory_budget=256MiB,512MiB is the same.",
)
@run_option(
    "set_power_mode",
    is_flag=True,
    help="Allow `--set power_mode=...` on a Jetson: edgebench switches the board's mode by nvpmodel, and restores "
    "the former one. Needs root.",
)
@run_option(
    "scenarios",
    metavar="NAME,...",
    help="How queries arrive: single_stream, multi_stream, server, stream, offline, sustained, generate. "
    "docs/scenarios.md explains them.  [default: those of the workload or suite]",
)
@run_option(
    "rate",
    type=FiniteRange(min=0, min_open=True),
    metavar="N",
    help="Send N queries per second, in equal periods (single_stream) or at random (server); latency then "
    "counts from each query's scheduled time.",
)
@run_option(
    "bound",
    metavar="p99=TIME",
    help="Scenario server: find the highest rate whose p99 keeps this bound, such as p99=15ms, in place of --rate.",
)
@run_option(
    "together",
    is_flag=True,
    help="Measure each workload alone and beside the others, which run as they would in one application.",
)
@run_option(
    "companions",
    multiple=True,
    metavar="LOAD",
    help="Measure alone and beside a load: cpu:2 (busy cores), memory:8GB/s (copied), memory:2GB (held) (repeatable).",
)
@run_option(
    "shape_sequence",
    multiple=True,
    metavar="SHAPES",
    help="Also run one loaded model on inputs of several shapes in turn: `natural` (each item at its own length or "
    "size), or INPUT=1,16;1,64;1,128 (repeat it for further inputs).",
)
@run_option(
    "worst_case",
    metavar="TIME",
    help="Also search for the input that takes longest, for this time in each process, such as 5s.",
)
@run_option(
    "loadgen",
    is_flag=True,
    help="Have MLPerf's LoadGen drive each process too, right after the measured window. "
    "Needs `pip install 'edgebench[loadgen]'`.",
)
@run_option(
    "budget",
    metavar="TIME",
    help="Time for the whole run without downloads, such as 60s.  [default: none; suite quick: 105s]",
)
@run_option(
    "wait_quiet",
    metavar="TIME",
    help="Wait up to this long, before each round, until other programs are idle, such as 60s. The "
    "wait is not part of --budget.",
)
@run_option(
    "cool_to",
    type=FiniteRange(min=0, max=150),
    metavar="CELSIUS",
    help="Before each process, wait until the chip is at most this hot, at most 10 minutes. The wait is "
    "not part of --budget.",
)
@run_option(
    "profile",
    is_flag=True,
    help="Also record the time of each operator, for `edgebench explain RESULT`. It takes one more process per "
    "cell, and a few seconds of --budget.",
)
@run_option(
    "target",
    metavar="SHARE",
    help="Stop measuring a cell when half of its 95% interval is this small.",
)
@run_option(
    "percentile",
    type=click.Choice(list(PERCENTILES)),
    help="The percentile whose interval must reach --target.",
)
@run_option(
    "replicates",
    type=click.IntRange(min=1),
    help="Number of fresh processes per cell.  [default: 3, and up to 9 until --target is reached; suite "
    "quick: 7]",
)
@run_option(
    "reruns",
    type=click.IntRange(min=0),
    help="How many processes of a cell may be run again because the machine throttled or its settings "
    "changed meanwhile.",
)
@run_option("slice_", metavar="TIME", help="Longest measured window of one process.")
@run_option(
    "sustain", metavar="TIME", help="Longest load of one process in the scenario sustained."
)
@process_options
@run_option(
    "instructions",
    type=click.Choice(["callgrind"]),
    help="Also count the instructions of an inference under valgrind, once per cell. It is slow, and part "
    "of --budget.",
)
@run_option(
    "estimate",
    metavar="cpu-time:W",
    help="Also estimate energy as CPU time times W watts per core. The estimate is labelled modelled "
    "and never ranked.",
)
@run_option(
    "energy_markers",
    is_flag=True,
    help="Add bursts of load around each window, by which `edgebench energy attach` aligns the log of "
    "a meter.",
)
@energy_root_option
@seed_option("cells")
@out_option("Folder for result files.")
@click.option("--no-save", is_flag=True, help="Write no result file.")
@click.option("--resume", is_flag=True, help="Continue the last unfinished run in --out.")
@devices_option
@run_option("device", metavar="NAME", help="Name of this machine in the results.")
@run_option("strict", is_flag=True, help="Refuse to measure while the device state is invalid.")
@format_option(["table", "json", "csv", "md"], "table")
@prefer_option
@click.pass_context
def command(context: click.Context, /, **params: Any) -> int:
    """Measure workloads on this machine and print the trade-off table.

    Without a WORKLOAD, the suite `quick` is measured. A cell is one workload on one backend, with one value of
    each axis and one scenario. Each run writes its results to a new file in --out, cell by cell.

    \b
    Example:
      edgebench run image-classification --set threads=1,2 --budget 60s
    """
    from edgebench.api import run_resume
    from edgebench.api.progress_output import to_stderr
    from edgebench.api.run_options import resolved
    from edgebench.api.run_request import Start, measure

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
