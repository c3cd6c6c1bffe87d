"""`edgebench run`: from options to measurements (`edgebench.api.running`) and the table."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
from click.core import ParameterSource

from edgebench.analysis.table_types import Table
from edgebench.api import run_resume
from edgebench.api.run_options import DEFAULTS, PERCENTILES, resolved
from edgebench.api.running import Outcome, Start, measure
from edgebench.cli.shared.number_options import FiniteRange
from edgebench.cli.shared.prefer_option import prefer_option
from edgebench.errors import EdgebenchError, ExitCode, UsageError
from edgebench.processes.signals import ended_by
from edgebench.record import Record
from edgebench.text.plain_text import say


@click.command(name="run")
@click.argument("names", nargs=-1, metavar="[WORKLOAD]...")
@click.option("--suite", help="Suite of workloads.  [default: quick, where nothing is named]")
@click.option(
    "--workloads",
    "folders",
    multiple=True,
    type=click.Path(exists=True, file_okay=False),
    help="Folder with workload definitions of your own; may be given more than once.",
)
@click.option(
    "--model",
    type=click.Path(exists=True, dir_okay=False),
    help="Benchmark this model file with seeded inputs, a GGUF file with prompts, against an fp32 "
    "reference.",
)
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    help="Input shape of --model: image=1,3,224,224, or x=scalar (repeatable).",
)
@click.option(
    "--reference",
    type=click.Path(exists=True, dir_okay=False),
    help="ONNX model that a --model in a runtime's own format was made from.",
)
@click.option(
    "--range",
    "ranges",
    multiple=True,
    metavar="NAME=LOW,HIGH",
    help="What an input of --model is drawn from: ids=0,30521, or k=1|2|4 (repeatable).",
)
@click.option(
    "--inputs",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE.npz",
    help="Inputs of yours for --model, by input name, in the place of seeded ones.",
)
@click.option(
    "--parity",
    metavar="LIMIT",
    help="How far outputs of --model may be off its reference: 0.05.  [default: by what the file "
    "computes in]",
)
@click.option(
    "--task",
    help="Own task and metric for --model: my_task.py:Class; generate for an ONNX decoder.",
)
@click.option(
    "--backend",
    "backends",
    help="Backends: a,b.  [default: ort; what opens it, for a --model that ort does not]",
)
@click.option(
    "--set", "sets", multiple=True, help="Variant axis: threads=1,2 (lists multiply; repeatable)."
)
@click.option(
    "--set-power-mode",
    is_flag=True,
    help="Allow the axis power_mode: sets nvpmodel's mode and puts the former back; needs root.",
)
@click.option(
    "--scenario", "scenarios", help="Scenarios: single_stream,offline,sustained,generate."
)
@click.option("--rate", type=FiniteRange(min=0, min_open=True), help="Paced load: queries/s.")
@click.option(
    "--budget",
    help="Time for the whole run, downloads apart: 60s.  [default: none; quick: 105s]",
)
@click.option(
    "--wait-quiet",
    metavar="TIME",
    help="Wait so long at most until others leave the machine alone, before rounds: 60s. The budget does "
    "not count it.",
)
@click.option(
    "--target", default=DEFAULTS["target"], show_default=True, help="Half-width of the interval."
)
@click.option(
    "--percentile",
    type=click.Choice(list(PERCENTILES)),
    default=DEFAULTS["percentile"],
    show_default=True,
    help="The percentile whose interval is to reach the target.",
)
@click.option(
    "--replicates",
    type=click.IntRange(min=1),
    help="Fresh processes per cell.  [default: 3, up to 9 while the target is not reached; quick: 7]",
)
@click.option(
    "--reruns",
    type=click.IntRange(min=0),
    default=DEFAULTS["reruns"],
    show_default=True,
    help="Re-runs per cell of processes during which the machine throttled or was changed.",
)
@click.option(
    "--slice",
    "slice_",
    default=DEFAULTS["slice_"],
    show_default=True,
    help="Longest window of a process.",
)
@click.option(
    "--sustain",
    default=DEFAULTS["sustain"],
    show_default=True,
    help="Longest load of a process under the scenario sustained.",
)
@click.option(
    "--timeout",
    default=DEFAULTS["timeout"],
    show_default=True,
    help="Silence that counts as a hang.",
)
@click.option("--memory-limit", help="Memory a process of a cell may allocate: 512MiB.")
@click.option(
    "--estimate",
    metavar="cpu-time:W",
    help="Also model energy: CPU time times W watts per core. Labelled modelled, never ranked.",
)
@click.option(
    "--energy-markers",
    is_flag=True,
    help="Bursts of load around each window, for `edgebench energy attach` to align a meter's log.",
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
    help="Seed of generated inputs and of the order in which cells take turns.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False),
    default=DEFAULTS["out"],
    show_default=True,
    help="Folder for results.",
)
@click.option("--no-save", is_flag=True, help="Keep no result file.")
@click.option("--resume", is_flag=True, help="Go on with the last unfinished run in --out.")
@click.option(
    "--devices",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Inventory of your devices.  [default: devices.yaml here, if there is one]",
)
@click.option("--device", metavar="NAME", help="What this machine is called in the results.")
@click.option("--strict", is_flag=True, help="Refuse to measure in an invalid device state.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv", "md"]),
    default="table",
    show_default=True,
)
@prefer_option
@click.pass_context
def command(context: click.Context, /, **given: Any) -> int:
    """Measure workloads on this machine and print the trade-off table.

    Without arguments: the suite `quick`. Results are appended to a new file in --out.
    """
    from edgebench.api.voices import to_stderr

    started_s = time.monotonic()
    options = resolved(given)
    if given["resume"] and given["no_save"]:
        raise UsageError("--resume needs what --no-save does not keep", "leave one of them out")
    shown = Shown(given["form"], given["prefer"])
    store = None
    if given["resume"]:
        folder, typed = Path(given["out"]), typed_in(context)
        store, options = run_resume.reopen(folder, options, typed)
        if store is None:
            complete = run_resume.last_complete(folder, options, typed)
            if complete is not None:
                file, records = complete
                say(f"nothing to resume: {file} is complete")
                return _exit_code(_render(records, shown))
            say(f"nothing to resume in {folder}: starting anew")
    out = None if given["no_save"] else Path(given["out"])
    start = Start(["edgebench", *sys.argv[1:]], out, started_s, store)
    outcome = measure(options, start, to_stderr())
    table = _render(outcome.records, shown) if outcome.records else None
    return _closing(table, outcome)


class Shown(NamedTuple):
    """How the table is printed; no part of what is measured."""

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
        kept, again = ": what was measured is kept", f"; `{outcome.going_on}` goes on"
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
