"""Runs a whole A/B: plans cells, measures them in turns and judges them. `ab`, `gate` and pytest call it."""

from __future__ import annotations

import errno
import gzip
import math
import secrets
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime, timezone
from pathlib import Path

from edgebench import __version__, assets
from edgebench.ab_test import pair_record as pairs_format
from edgebench.ab_test.ab_cells import canary_of, make_ab_cells, side_text
from edgebench.ab_test.ab_report import build_report, rules_of
from edgebench.ab_test.ab_report_types import GateReport
from edgebench.ab_test.ab_runner import ABCell, ABRunner, Means, Settings, Watcher
from edgebench.ab_test.cell_verdict import mismatch
from edgebench.ab_test.pair_record import SIDES, Pair, pair_findings
from edgebench.ab_test.pair_runner import run_pair
from edgebench.ab_test.pairing import Request
from edgebench.ab_test.verdict import Rules
from edgebench.energy.run_meter import Meter
from edgebench.errors import EdgebenchError, StoreError, mend_disk
from edgebench.files.json_lines import decoded
from edgebench.files.regular_file import open_regular
from edgebench.measure.time_budget import Budget
from edgebench.measure.wait_for_quiet import Quiet
from edgebench.processes.signals import AGAIN, ended_by
from edgebench.record import Reason
from edgebench.words import verdict_words
from edgebench.words.reason_words import reason

PAIRS_SUFFIX = ".pairs.jsonl.gz"
MAX_PAIR_BYTES = 1 << 26  # 20 rounds of a thousand samples take a hundredth of that


class Silent:
    """A watcher that shows nothing."""

    def pair_starts(self, ab_cell: ABCell, wanted: int, left_s: float | None) -> None: ...
    def pair_done(self, ab_cell: ABCell) -> None: ...


def compare(
    requests: Sequence[Request],
    *,
    alpha: float = 0.01,
    settings: Settings,
    watcher: Watcher | None = None,
    out: Path | None = None,
    launch: Callable[..., Pair] = run_pair,
    meter: AbstractContextManager[Meter] | None = None,
    quiet: Quiet | None = None,
) -> GateReport:
    """Measures and judges; raw pairs go to a file below `out`. Ctrl-C gives a report of what there is.

    `meter`: what tells the energy of an inference; None: nobody asks for it. `quiet`: waits before the first
    pair. The budget counts from `settings.started_s`, without installations, builds, downloads and that wait.

    All requests are judged together, beside one canary. Raises UsageError and AssetError for what cannot
    be measured at all.
    """
    started_s = time.monotonic() if settings.started_s is None else settings.started_s
    budget = Budget(math.inf if settings.budget_s is None else settings.budget_s, started_s)
    started_utc = datetime.now(timezone.utc).isoformat(timespec="seconds")
    cells = [c for request in requests for c in make_ab_cells(request, assets.cache_dir(), budget)]
    ab_cells = [*canary_of(cells), *cells]
    base, head = (side_text(requests[0], side) for side in SIDES)
    rules = rules_of([ab_cell.case for ab_cell in ab_cells], alpha)
    reasons: list[Reason] = []
    with budget.without("the wait for a quiet machine"):
        (quiet or Quiet()).wait()
    with _keeping(out) as (keep, path), meter or nullcontext() as reading:
        match = ABRunner(
            ab_cells,
            rules,
            settings,
            watcher or Silent(),
            budget.counts_from_s,
            Means(keep, launch, meter=reading),
        )
        try:
            if not match.measure():
                reasons.append(reason("budget", budget_s=settings.budget_s or 0.0))
        except EdgebenchError as error:
            code = "not_written" if isinstance(error, StoreError) else "stopped"
            reasons.append(Reason(code=code, message=error.message, fix=error.fix))
            _stop(ab_cells, rules, error.message)
        except KeyboardInterrupt as error:
            reasons.append(Reason(code="interrupted", message=ended_by(error), fix=AGAIN))
            _stop(ab_cells, rules, ended_by(error))
    notes = [verdict_words.raw_pairs(path=path)] if path is not None and path.exists() else []
    if reading is not None and not reading.needed_s:
        notes.append(verdict_words.energy_not_judged(why=_why(reading)))
    notes += _notes(ab_cells)
    notes += [budget.note] if budget.note else []
    return build_report(
        ab_cells,
        rules,
        reasons=reasons,
        notes=notes,
        base=base,
        head=head,
        seconds=round(time.monotonic() - started_s, 2),
        budget_s=settings.budget_s,
        started_utc=started_utc,
        edgebench=__version__,
    )


def _notes(ab_cells: Sequence[ABCell]) -> list[str]:
    """What to know of the cells beside their verdicts."""
    parities = [
        verdict_words.of_cell(cell=ab_cell.case.cell, note=pair.parity_note)
        for ab_cell in ab_cells
        for pair in ab_cell.pairs[:1]
        if pair.parity_note and ab_cell.failure is None and mismatch(ab_cell.case, [pair]) is None
    ]
    return [*dict.fromkeys(_not_deployable(ab_cells)), *_measured_again(ab_cells), *parities]


def _not_deployable(ab_cells: Sequence[ABCell]) -> Iterator[str]:
    """Yields what ran, is compared, and is no build that anybody deploys."""
    for ab_cell in ab_cells:
        for side in SIDES:
            told = next((e for pair in ab_cell.pairs if (e := pair.arm(side).effective)), None)
            if told is not None and told.not_deployable:
                yield verdict_words.not_deployable(
                    cell=ab_cell.case.cell, side=side, why=told.not_deployable
                )


def _measured_again(ab_cells: Sequence[ABCell]) -> Iterator[str]:
    """Pairs whose times count for nothing."""
    for ab_cell in ab_cells:
        disturbed = [pair.disturbed for pair in ab_cell.pairs if pair.disturbed is not None]
        if disturbed:
            yield verdict_words.pairs_do_not_count(
                cell=ab_cell.case.cell,
                count=len(disturbed),
                pairs=len(ab_cell.pairs),
                why=disturbed[0].message,
            )


def _why(meter: Meter) -> str:
    energy = meter.of_record([])
    return f"{energy.reason}: {energy.detail}" if energy.detail else energy.reason


def _stop(ab_cells: Sequence[ABCell], rules: Rules, why: str) -> None:
    """Cells without enough pairs say why there are no more."""
    for ab_cell in ab_cells:
        if ab_cell.failure is None and len(ab_cell.pairs) < rules.least:
            ab_cell.failure = Reason(code="stopped", message=why)


@contextmanager
def _keeping(out: Path | None) -> Iterator[tuple[Callable[[Pair], None], Path | None]]:
    """A function that keeps pairs, each on disk when it returns, and their file."""
    if out is None:
        yield (lambda pair: None), None
        return
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    path = out / "ab" / f"{stamp}-{secrets.token_hex(2)}{PAIRS_SUFFIX}"

    def keep(pair: Pair) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:  # gzip members may follow each other
                file.write(gzip.compress(pairs_format.encode(pair) + b"\n"))
        except OSError as error:
            message = f"{path}: cannot write pairs: {error.strerror}"
            raise StoreError(message, mend_disk(error, "give another --out")) from None

    yield keep, path


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a file that `compare` kept. Raises StoreError, naming line and field, where it is none."""
    try:
        with open_regular(path) as packed, gzip.open(packed) as file:
            return [_pair(line, f"{path}:{number}") for number, line in _lines(file)]
    except OSError as error:
        raise StoreError(f"{path}: not a file of pairs: {error.strerror or error}") from None
    except (EOFError, zlib.error) as error:
        raise StoreError(f"{path}: not a file of pairs: {error}") from None


def _lines(file: gzip.GzipFile) -> Iterator[tuple[int, bytes]]:
    """Numbered lines with something in them; a few bytes may unpack to more than memory holds."""
    number = 0
    while line := file.readline(MAX_PAIR_BYTES):
        number += 1
        if len(line) == MAX_PAIR_BYTES:
            raise OSError(errno.EFBIG, f"line {number} is longer than any pair")
        if line.strip():
            yield number, line


def _pair(line: bytes, place: str) -> Pair:
    pair = decoded(line, pairs_format.decode, place, "not a pair", "leave the file out")
    for field, problem in pair_findings(pair):
        raise StoreError(f"{place}: {field}: {problem}", "leave the file out")
    return pair
