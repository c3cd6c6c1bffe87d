"""`edgebench selfcheck`: which claims of docs/hardware.md hold on this machine; and the matrix of all that were checked."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgebench import __version__
from edgebench.cli.shared.options import out_file_option
from edgebench.errors import ExitCode
from edgebench.files.atomic_write import whole_file
from edgebench.text.plain_text import say

if TYPE_CHECKING:
    from edgebench.render.wrapping import Line
    from edgebench.selfcheck.ask_machine import Findings
    from edgebench.selfcheck.check_file import Answer, CheckFile


@click.command(
    "selfcheck",
    epilog="Exit codes: 0 no claim failed; 1 a claim failed; 2 wrong option; 7 a file cannot be read or written.",
)
@out_file_option(
    "File for the maintainers: FILE.zip holds all outputs, FILE.json the answers alone.",
    metavar="FILE",
)
@click.option(
    "--budget",
    default="60s",
    show_default=True,
    metavar="TIME",
    help="Time for the run of the suite `quick`.",
)
@click.option(
    "--only",
    type=click.Choice(["doctor", "backends", "energy", "clocks", "quick"]),
    multiple=True,
    help="Run only this part (repeatable).  [default: all]",
)
@click.option(
    "--matrix",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Test nothing. Print the evidence for each claim that the selfcheck files in DIR hold.",
)
def command(out: Path | None, budget: str, only: tuple[str, ...], matrix: Path | None) -> None:
    """Test on this machine what edgebench claims to do on hardware.

    It runs `doctor`, the tests of every installed backend, the energy meter under known loads (idle, one core, all
    cores), the clocks, and the suite `quick` for a short time. Each claim of docs/hardware.md gets `ok`, `failed` or
    `not here`. The archive that --out writes contains no user name and no host name.

    \b
    Example:
      edgebench selfcheck --out check.zip
    """
    if matrix is not None:
        _print_matrix(matrix)
        return
    from edgebench.errors import UsageError

    if out is not None and out.suffix not in (".zip", ".json"):
        raise UsageError(f"--out {out}: neither .zip nor .json", "name FILE.zip or FILE.json")
    findings = _ask_machine(only or ("doctor", "backends", "energy", "clocks", "quick"), budget)
    file = _check_file(findings)
    _print_answers(file)
    if out is not None:
        _write(out, file, findings)
        say(f"written: {out}")
    if any(answer.status == "failed" for answer in file.answers):
        sys.exit(ExitCode.CELL_FAILED)


def _ask_machine(parts: Sequence[str], budget: str) -> Findings:
    from edgebench.selfcheck import ask_machine as ask

    findings = ask.Findings(say=lambda text: say(f"selfcheck: {text}"))
    with tempfile.TemporaryDirectory(prefix="edgebench-selfcheck-") as folder:
        steps: dict[str, Callable[[], None]] = {
            "doctor": lambda: ask.ask_doctor(findings),
            "backends": lambda: ask.ask_backends(findings),
            "energy": lambda: ask.ask_energy(findings),
            "clocks": lambda: ask.ask_clocks(findings),
            "quick": lambda: ask.ask_quick(findings, budget, Path(folder)),
        }
        for name, step in steps.items():
            if name in parts:
                step()
    return findings


def _check_file(findings: Findings) -> CheckFile:
    from edgebench.probes import device_facts
    from edgebench.selfcheck.ask_machine import machine_words
    from edgebench.selfcheck.check_file import CheckFile, kept_facts

    facts = device_facts.detect().facts
    return CheckFile(
        machine=machine_words(facts),
        device="emulated" if facts.get("emulated") else "real",
        date=datetime.now(timezone.utc).date().isoformat(),
        edgebench=__version__,
        facts=kept_facts(facts),
        answers=tuple(findings.answers),
    )


def _write(out: Path, file: CheckFile, findings: Findings) -> None:
    from edgebench.selfcheck.pack import check_text, pack
    from edgebench.selfcheck.privacy import secrets_here

    secrets = secrets_here()
    if out.suffix == ".zip":
        pack(out, file, findings.texts, secrets)
        return
    with whole_file(out) as partial:
        partial.write_text(check_text(file, secrets), encoding="utf-8")


def _print_answers(file: CheckFile) -> None:
    from edgebench.render.console import TITLE, paint

    def lines(width: int) -> Iterator[Line]:
        yield f"{file.machine}, edgebench {file.edgebench}", TITLE
        for answer in file.answers:
            yield from _answer_lines(answer, width)
        counts = [
            sum(each.status == word for each in file.answers)
            for word in ("ok", "failed", "not here")
        ]
        yield "{} ok, {} failed, {} not here".format(*counts), TITLE

    paint(lines, sys.stdout)


def _answer_lines(answer: Answer, width: int) -> Iterator[Line]:
    from edgebench.render.console import BAD, QUIET
    from edgebench.render.wrapping import labelled
    from edgebench.selfcheck.claims import BY_KEY

    style = {"failed": BAD, "not here": QUIET}.get(answer.status)
    claim = BY_KEY.get(answer.claim)
    title = claim.title if claim else answer.claim
    text = ": ".join(filter(None, (title, answer.detail)))
    yield from labelled(f"  {answer.status}", text, 12, width, style)


def _print_matrix(folder: Path) -> None:
    from edgebench.render.console import paint
    from edgebench.render.text_grid import Column, GridRow, grid
    from edgebench.selfcheck.check_file import read_folder
    from edgebench.selfcheck.evidence import matrix

    held = matrix(read_folder(folder))
    columns = [
        Column(name, right=False) for name in ("claim", "held by", "date", "where and version")
    ]
    rows = [
        GridRow(
            each.claim.title,
            [each.held_by, each.date, "; ".join(filter(None, (each.machine, each.version)))],
        )
        for each in held
    ]
    paint(lambda width: grid(columns, rows, None), sys.stdout)
