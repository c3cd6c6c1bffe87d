"""`edgebench ab`: two deployments against each other, in the same job, with a verdict."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgebench.cli.shared.verdict_files import VerdictCommand, concluded, show
from edgebench.errors import ExitCode, UsageError
from edgebench.text.plain_text import say
from edgebench.units import parse_bytes, parse_duration_s, parse_share

if TYPE_CHECKING:
    from edgebench.ab_test.ab_report_types import GateReport
    from edgebench.ab_test.pairing import Request

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
@click.option(
    "--repository", default=".", type=click.Path(exists=True, file_okay=False), help="For git:."
)
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
    from edgebench.ab_test.ab_runner import Settings
    from edgebench.ab_test.run_ab import compare
    from edgebench.cli.shared.ab_progress import watching
    from edgebench.cli.shared.energy_source import meter_here
    from edgebench.cli.shared.own_code_notice import say_own_tasks
    from edgebench.measure.wait_for_quiet import Quiet

    started_s = time.monotonic()
    request = _request(given)
    say_own_tasks(request.workloads)
    settings = Settings(
        budget_s=positive(given["budget"], "--budget"),
        time_out_s=request.time_out_s,
        seed=given["seed"],
    )
    wait_s = positive(given["wait_quiet"], "--wait-quiet") if given["wait_quiet"] else 0.0
    quiet = Quiet(wait_s, say)
    with watching() as watcher:
        return compare(
            [request],
            settings=settings,
            watcher=watcher,
            out=None if given["no_save"] else Path(given["out"]),
            started_s=started_s,
            meter=None if given["no_energy"] else meter_here(given["energy_root"]),
            quiet=quiet,
        )


def _request(given: Mapping[str, Any]) -> Request:
    from edgebench.ab_test.ab_cells import choose
    from edgebench.ab_test.ab_report_types import latency_tolerances
    from edgebench.ab_test.pairing import Request
    from edgebench.ab_test.variant_spec import backends_of, parse_side
    from edgebench.planning.own_models import OwnInputs
    from edgebench.planning.settings import parse_ranges, parse_sets, parse_shapes

    named = bool(given["names"] or given["suite"])
    base, head = parse_side(given["base"]), parse_side(given["head"])
    known = _known(given["folders"], backends_of(base, head)) if named else {}
    parity = given["parity"]
    request = Request(
        workloads=choose(known, given["names"], given["suite"]) if known else [],
        suite=given["suite"],
        base=base,
        head=head,
        sets=parse_sets(given["sets"]),
        shapes=dict(parse_shapes(given["shapes"])),  # type: ignore[arg-type]
        task=given["task"],
        inputs=OwnInputs(
            ranges=parse_ranges(given["ranges"]),
            file=Path(given["inputs"]) if given["inputs"] else None,
        ),
        build=given["build"],
        artifact=given["artifact"],
        repository=given["repository"],
        tolerances=latency_tolerances(
            *(parse_share(given[name]) if given[name] else None for name in ("tau", "delta"))
        ),
        parity=None if parity in (None, "off") else parse_share(parity),
        parity_off=parity == "off",
        seed=given["seed"],
        time_out_s=positive(given["timeout"], "--timeout"),
        memory_limit_bytes=parse_bytes(given["memory_limit"]) if given["memory_limit"] else None,
    )
    of_files = {
        "--shape and --task": request.shapes or request.task,
        "--range and --inputs": request.inputs != OwnInputs(),
    }
    for told, given_for_files in of_files.items():
        if named and given_for_files:
            raise UsageError(
                f"{told} are of model files, and workloads bring their own", "leave them out"
            )
    if given["folders"] and not named:
        raise UsageError("--workloads goes with workloads", "name them, or a --suite")
    if (request.build or request.artifact) and not (request.base.revision or request.head.revision):
        raise UsageError("--build and --artifact go with git:", "name a revision: --base git:main")
    return request


def _known(folders: Any, backends: list[str]) -> dict[str, Any]:
    from edgebench.definitions.workload_loader import load_workloads
    from edgebench.planning.cells import known_axes

    return load_workloads([Path(folder) for folder in folders], lambda: known_axes(backends))


def positive(text: str, option: str) -> float:
    value = parse_duration_s(text)
    if value <= 0:
        raise UsageError(f"{option} {text} is no time", f"say {option} 60s")
    return value


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
