"""Turns the options of `edgebench fleet run` into a run on boards: what is sent, what is refused, what is continued."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from edgebench.api.run_options import Options, resolved
from edgebench.api.run_request import check_for_other_machines
from edgebench.errors import UsageError
from edgebench.fleet.board_runs import FleetJournal, keep_journal, last_journal, new_journal
from edgebench.fleet.fleet_file import Board, Fleet, chosen_boards
from edgebench.planning.precision_files import MARK
from edgebench.planning.run_parameters import DEFAULTS
from edgebench.planning.settings import parse_sets
from edgebench.text.plain_text import say

#: Options of `run` whose file travels to the boards.
TRAVELLING: Final = ("model", "reference", "inputs", "devices")
#: Options of `run` that mean something else here, or name what does not travel, and why.
REFUSED: Final = {
    "folders": "definitions in folders of your own do not travel: install them on the boards",
    "energy_root": "a simulated machine is not a board",
    "device": "a board is called as in the fleet file",
    "cool_to": "say it for each board: cool_to_c in the fleet file",
    "no_save": "results come back as files",
    "resume": "say it to `fleet run`, before --",
    "out": "say it to `fleet run`, before --",
    "form": "say it to `fleet run`, before --",
}


def planned(
    fleet: Fleet,
    boards: Sequence[str],
    arguments: Sequence[str],
    typed: Mapping[str, Any],
    out: Path,
    bundle: Path | None = None,
    inventory: Path | None = None,
) -> tuple[list[Board], FleetJournal]:
    """A new run with these arguments of `edgebench run`; `typed`: its parameters that were given; `inventory`: the
    fleet's, whose limits hold on the boards. Raises UsageError."""
    if inventory is not None and "devices" not in typed:
        arguments = ["--devices", str(inventory), *arguments]
        typed = {**typed, "devices": str(inventory)}
    chosen = chosen_boards(fleet, boards)
    for name, why in REFUSED.items():
        if name in typed:
            raise UsageError(f"--{_OPTION.get(name, name)} cannot be given to boards", why)
    if ":" in str(typed.get("task", "")):
        raise UsageError("--task FILE:CLASS cannot be given to boards", "code does not travel")
    options = resolved({**DEFAULTS, **typed})
    _refuse_files_that_stay(options)
    # Boards have the same edgebench: they would refuse the same.
    check_for_other_machines(options)
    if last_journal(out) is not None:
        say(f"an earlier run of a fleet in {out} has not ended; `{_resume(out)}` goes on with it")
    arguments = [part for word in arguments for part in _words(word)]
    files = {str(typed[name]): Path(str(typed[name])) for name in TRAVELLING if typed.get(name)}
    journal = new_journal(chosen, arguments, files, bundle)
    keep_journal(out, journal)
    return chosen, journal


def _resume(out: Path) -> str:
    """The command that goes on with the last run of a folder."""
    elsewhere = [] if out == Path("results") else ["--out", str(out)]
    return shlex.join(["edgebench", "fleet", "run", "--resume", *elsewhere])


def _refuse_files_that_stay(options: Options) -> None:
    """Raises UsageError for files that `run` reads and boards are not sent."""
    for spec in options.backends:
        if ".py:" in spec:
            raise UsageError(
                "--backend FILE.py:CLASS cannot be given to boards", "code does not travel"
            )
    for value in parse_sets(options.sets).get("precision", ()):
        path = str(value).removeprefix(MARK)
        if path != value and not path.startswith(("/", "~")) and Path(path).exists():
            raise UsageError(
                f"--set precision={value} cannot be given to boards: maps do not travel",
                "copy it to the same place on this machine and on each board, and give the whole path",
            )


def _words(word: str) -> list[str]:
    """`--model=FILE` as two words: the file's place on a board is another one."""
    name, equals, value = word.partition("=")
    return [name, value] if equals and name.removeprefix("--") in TRAVELLING else [word]


_OPTION: Final = {
    "folders": "workloads",
    "no_save": "no-save",
    "form": "format",
    "cool_to": "cool-to",
}


def reopened(fleet: Fleet, boards: Sequence[str], out: Path) -> tuple[list[Board], FleetJournal]:
    """The last run that has not ended, on the boards that it was begun on. Raises UsageError where there is none."""
    journal = last_journal(out)
    if journal is None:
        raise UsageError(f"no run of a fleet to resume in {out}", "leave --resume out")
    chosen = [board for board in chosen_boards(fleet, boards) if board.name in journal.jobs]
    missing = sorted(journal.jobs.keys() - {board.name for board in fleet.boards})
    if missing:
        raise UsageError(
            f"the run was begun on {missing[0]}, which is not in the fleet file", "add the board"
        )
    return chosen, journal
