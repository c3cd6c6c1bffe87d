"""Finds the best evidence for each claim in all selfchecks that are kept: the matrix of docs/hardware.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgebench.selfcheck.check_file import Answer, CheckFile
from edgebench.selfcheck.claims import CLAIMS, Claim

#: What is shown of several: a failure first, which is what a reader must know; a device before an emulation of one.
RANKS = (
    "failed on the device",
    "ran on the device",
    "real library failed",
    "real driver or library",
)
_WORDS = {
    ("failed", "real"): RANKS[0],
    ("ok", "real"): RANKS[1],
    ("failed", "emulated"): RANKS[2],
    ("ok", "emulated"): RANKS[3],
}


@dataclass(frozen=True)
class Evidence:
    """What holds a claim: of several files the newest of the first rank; without any, `held_by` is all there is."""

    claim: Claim
    held_by: str
    machine: str = ""
    date: str = ""
    version: str = ""


def matrix(files: Sequence[CheckFile]) -> list[Evidence]:
    """One line for each claim."""
    return [_evidence(claim, files) for claim in CLAIMS]


def _evidence(claim: Claim, files: Sequence[CheckFile]) -> Evidence:
    found = list(_answers(claim, files))
    if not found:
        return Evidence(claim, claim.held_by)
    file, answer = min(found, key=lambda pair: (RANKS.index(_words(*pair)), _reverse(pair[0].date)))
    version = ", ".join(filter(None, (answer.version, f"edgebench {file.edgebench}")))
    return Evidence(claim, _words(file, answer), file.machine, file.date, version)


def _answers(claim: Claim, files: Sequence[CheckFile]) -> Iterator[tuple[CheckFile, Answer]]:
    """A newer check of the same machine takes the place of an older one."""
    newest: dict[str, tuple[CheckFile, Answer]] = {}
    for file in sorted(files, key=lambda file: file.date):
        for answer in file.answers:
            if answer.claim == claim.key and answer.status != "not here":
                newest[file.machine] = (file, answer)
    yield from newest.values()


def _words(file: CheckFile, answer: Answer) -> str:
    return _WORDS[answer.status, file.device]


def _reverse(date: str) -> tuple[int, ...]:
    return tuple(-ord(letter) for letter in date)
