"""The command line. One file per command, imported only when that command runs."""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from edgebench import __version__
from edgebench.cli.shared.command_groups import LazyGroup
from edgebench.cli.shared.error_to_exit_code import exit_code_of
from edgebench.cli.shared.streams import secure_streams
from edgebench.processes.signals import listen_for_endings

#: Command -> module in this package and its help line; here so that `--help` imports no command.
_COMMANDS = {
    "run": "Measure workloads on this machine and print the trade-off table.",
    "ab": "Compare two deployments in one job: regression, improvement or neither.",
    "gate": "Judge a change in CI: measure a policy's pairs, or check stored results.",
    "show": "Print the trade-off table of result files, or chosen columns.",
    "report": "Write a report of result files as HTML, Markdown, PNG or SVG.",
    "import": "Convert the results of another tool to edgebench records.",
    "query": "Run SQL over result files.",
    "export": "Write the trade-off table as Parquet, CSV, JSON or Markdown.",
    "frontier": "Print the Pareto fronts of result files, and how sure they are.",
    "pick": "Pick the best deployment that meets your limits.",
    "trend": "Print how results moved from run to run, and where they jumped.",
    "site": "Write static pages of results: newest rows, trends and reports.",
    "predict": "Predict the latency of what a device never ran, from what it ran.",
    "compare": "Compare the same cells of several result files.",
    "fleet": "Measure on many boards at once, and collect their results here.",
    "calibrate": "Measure this machine's peak arithmetic and memory bandwidth.",
    "explain": "Explain where the time of a deployment goes, operator by operator.",
    "roofline": "Print how close rows come to the limits of their machine.",
    "search": "Find which parts of a model can run in int8 and still keep its quality.",
    "scaling": "Print what a language model gains from more tokens and more votes.",
    "list": "List workloads, backends or devices.",
    "doctor": "Check this installation and this machine, and say how to fix problems.",
    "selfcheck": "Test on this machine what edgebench claims to do on hardware.",
    "energy": "Watch this machine's energy meter, or attach the log of another meter.",
    "assets": "Fetch, check, remove, export or import model and data files.",
    "schema": "Print the JSON Schema of a definition or result format.",
}


@click.group(
    cls=LazyGroup,
    commands_help=_COMMANDS,
    module="edgebench.cli.{}",
    moved={"view": "edgebench show RESULTS... --columns NAME"},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 ok; 1 a cell failed, nothing was measured, or a regression; 2 wrong option or "
    "definition; 3 invalid device state; 4 inconclusive (ab, gate); 5 invalid (ab, gate, compare); 6 a "
    "model or data file is missing; 7 results cannot be read or written; 70 an error in edgebench "
    "itself; 130 interrupted.",
)
@click.version_option(__version__, prog_name="edgebench")
def cli() -> None:
    """Benchmark on-device inference: latency, memory, energy and quality, side by side.

    `edgebench COMMAND --help` explains a command.

    \b
    Example:
      edgebench run --model my.onnx --budget 60s
    """


def main() -> NoReturn:
    """Entry point: one clear error on stderr and a documented exit code, never a traceback."""
    secure_streams()
    listen_for_endings()
    sys.exit(exit_code_of(cli))
