"""Options that several commands share: each is said here once, and a command adds only what differs."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from edgebench.analysis.ties import DEFAULT, parse_preferences
from edgebench.errors import UsageError
from edgebench.planning.run_parameters import RUN_OPTIONS

F = TypeVar("F", bound=Callable[..., Any])
EXISTING_FILE = click.Path(exists=True, dir_okay=False)
EXISTING_FOLDER = click.Path(exists=True, file_okay=False)


class FiniteRange(click.FloatRange):
    """A range of numbers that refuses infinity, and nan, which click accepts in any range."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


def together(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """One decorator that adds all options, in this order."""

    def decorate(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


# --- reading results


def paths_argument(metavar: str = "RESULTS...") -> Callable[[F], F]:
    return click.argument("paths", metavar=metavar, nargs=-1, required=True, type=Path)


def format_option(
    forms: Sequence[str] = ("table", "json"), what: str = "answer"
) -> Callable[[F], F]:
    return click.option(
        "--format",
        "form",
        type=click.Choice(list(forms)),
        default=forms[0],
        show_default=True,
        help=f"Format of the {what} on stdout.",
    )


def workload_option(does: str = "Use") -> Callable[[F], F]:
    return click.option(
        "--workload",
        "workloads",
        multiple=True,
        metavar="NAME",
        help=f"{does} only this workload (repeatable).",
    )


def metrics_option(what: str) -> Callable[[F], F]:
    return click.option(
        "--metric",
        "metrics",
        multiple=True,
        metavar="METRIC",
        help=f"{what} (repeatable).  [default: latency.p50; offline: throughput]",
    )


calibration_option = click.option(
    "--calibration",
    "calibrations",
    multiple=True,
    type=Path,
    help="File of `edgebench calibrate`, one per device (repeatable).  [default: files in the cache]",
)
prefer_option = click.option(
    "--prefer",
    callback=lambda context, parameter, text: parse_preferences(text),
    default=",".join(DEFAULT),
    show_default=True,
    metavar="CRITERIA",
    help="Criteria, in this order, that choose between deployments whose results are too close to call.",
)
across_option = click.option(
    "--across",
    type=click.Choice(["devices"]),
    multiple=True,
    help="Let rows of several devices compete.",
)
draws_seed_option = click.option(
    "--seed", type=int, default=0, show_default=True, help="Seed of the draws."
)


def confidence_option(
    default: float,
    help_text: str = "Probability from which a statement counts as sure. Printed intervals stay at 0.95.",
) -> Callable[[F], F]:
    return click.option(
        "--confidence", type=float, default=default, show_default=True, help=help_text
    )


def sysroot_option(help_text: str) -> Callable[[F], F]:
    return click.option(
        "--sysroot",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        metavar="DIR",
        help=help_text,
    )


# --- writing


def out_file_option(help_text: str, **attributes: Any) -> Callable[[F], F]:
    kind = click.Path(dir_okay=False, path_type=Path)
    return click.option("-o", "--out", type=kind, help=help_text, **attributes)


def out_folder_option(
    default: str, help_text: str, *, flags: Sequence[str] = ("-o", "--out")
) -> Callable[[F], F]:
    kind = click.Path(file_okay=False, path_type=Path)
    return click.option(*flags, type=kind, default=Path(default), show_default=True, help=help_text)


# --- measuring


def run_option(parameter: str, **attributes: Any) -> Callable[[F], F]:
    """The option of `edgebench run` with that parameter: its flag and default stand in run_parameters."""
    option = RUN_OPTIONS[parameter]
    attributes.setdefault("default", option.default)
    default = attributes["default"]
    attributes.setdefault("show_default", isinstance(default, str | int) and default is not False)
    return click.option(option.flag, parameter, **attributes)


names_argument = click.argument("names", nargs=-1, metavar="[WORKLOAD]...")
folders_option = run_option(
    "folders",
    multiple=True,
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    help="Also read workload definitions from this folder (repeatable).",
)


def sets_option(help_text: str) -> Callable[[F], F]:
    return run_option("sets", multiple=True, metavar="AXIS=VALUES", help=help_text)


def shapes_option(models: str) -> Callable[[F], F]:
    """`models`: how the command calls the model files that no workload describes."""
    return run_option(
        "shapes",
        multiple=True,
        metavar="NAME=DIMS",
        help=f"Shape of an input of {models}, such as image=1,3,224,224 or x=scalar (repeatable).",
    )


def model_input_options(models: str) -> Callable[[F], F]:
    """Returns what is told of a model file that no workload describes. `models`: how the command calls it."""
    return together(
        shapes_option(models),
        run_option(
            "ranges",
            multiple=True,
            metavar="NAME=LOW,HIGH",
            help=f"Values of an input of {models}: a range such as ids=0,30521, or a list such as "
            "k=1|2|4 (repeatable).",
        ),
        run_option(
            "inputs",
            type=EXISTING_FILE,
            metavar="FILE.npz",
            help=f"Your own inputs for {models}, by input name, instead of generated ones.",
        ),
    )


def task_option(models: str, more: str = "") -> Callable[[F], F]:
    return run_option(
        "task",
        metavar="FILE:CLASS",
        help=f"Your own task and metric for {models}, such as my_task.py:MyTask{more}.",
    )


timeout_option = run_option(
    "timeout", metavar="TIME", help="Kill a process that reports no progress for this long."
)
memory_limit_option = run_option(
    "memory_limit",
    metavar="SIZE",
    help="Memory that a process may allocate, such as 512MiB.  [default: no limit]",
)
process_options = together(timeout_option, memory_limit_option)


def seed_option(order: str) -> Callable[[F], F]:
    return run_option(
        "seed",
        type=click.IntRange(0, 2**31 - 1),
        help=f"Seed of the generated inputs and of the order of {order}.",
    )


def out_option(what: str) -> Callable[[F], F]:
    return run_option("out", type=click.Path(file_okay=False), help=what)


energy_root_option = run_option(
    "energy_root",
    hidden=True,
    type=EXISTING_FOLDER,
    help="Look for the energy meter below this folder: a simulated machine.",
)


devices_option = run_option(
    "devices",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Inventory of your devices.  [default: devices.yaml in the working directory, if it exists]",
)


def refuse_beside(context: click.Context, what: str, taken: Collection[str]) -> None:
    """Raises UsageError for an option on the command line that `what` was given does not take."""
    for option in context.command.params:
        name = option.name or ""
        typed = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if typed and name not in taken:
            raise UsageError(f"{option.opts[0]} does not apply to {what}", "leave it out")


# --- verdicts


def verdict_options(inconclusive: str | None, forms: Sequence[str]) -> Callable[[F], F]:
    """Options of `ab` and `gate`: what decides the exit code, what is kept, and the forms of the verdict."""
    policy = "" if inconclusive else "  [default: the policy's, else fail]"
    return together(
        click.option(
            "--inconclusive",
            type=click.Choice(["pass", "fail"]),
            default=inconclusive,
            show_default=inconclusive is not None,
            help=f"Whether the verdict INCONCLUSIVE passes (exit code 0) or fails (4).{policy}",
        ),
        out_option("Folder for the file of raw pairs."),
        click.option(
            "--no-energy", is_flag=True, help="Do not measure energy; pairs then take less time."
        ),
        energy_root_option,
        click.option("--no-save", is_flag=True, help="Write no file of raw pairs."),
        click.option(
            "--junit", type=click.Path(dir_okay=False), help="Also write a JUnit XML file."
        ),
        click.option(
            "--markdown",
            type=click.Path(dir_okay=False),
            help="Also write Markdown for a pull-request comment.",
        ),
        format_option(forms, "verdict"),
    )
