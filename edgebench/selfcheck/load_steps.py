"""Asks a meter under loads that are known (idle, one core, all cores): does it follow, at its rate, and add up?"""

from __future__ import annotations

import contextlib
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from edgebench.energy.energy_window import Refused, WindowEnergy
from edgebench.energy.integrate import integrate, needed_s
from edgebench.energy.sampler import Sampler, SamplerError, poll_interval_s
from edgebench.energy.source import EnergySource, NoEnergy, Sample
from edgebench.processes.python_command import module_command
from edgebench.selfcheck.check_file import Answer, judged

#: A window is as long as the meter needs, and at least so long; one that needs more is not waited for.
MIN_STEP_S, MAX_STEP_S = 3.0, 120.0
#: Windows that a long one is cut into.
PARTS = 3
#: A load moves the power of any machine by more than this share; a meter's own wander stays below.
MIN_MOVE = 0.02
#: Windows add up within this share, beyond what they leave open: a busy machine reads late.
SUM_SHARE = 0.01
#: A meter may be this much slower than it states before that is an error: reads come at random moments.
MAX_SLOWER = 2.0


@dataclass(frozen=True)
class Step:
    """The meter's answer to one load."""

    busy_cores: int
    whole: WindowEnergy | Refused
    parts: tuple[WindowEnergy | Refused, ...]
    samples: tuple[Sample, ...]


def measure_steps(
    source: EnergySource, cores: int, say: Callable[[str], None]
) -> list[Step] | NoEnergy:
    """Reads the meter, in the process that reads it in a run, while none, one and all cores are busy."""
    seconds = max(MIN_STEP_S, PARTS * needed_s(source))
    if seconds > MAX_STEP_S:
        return NoEnergy("window_too_short", f"{source.name} needs {seconds:.0f} s for each load")
    with tempfile.TemporaryDirectory(prefix="edgebench-selfcheck-") as scratch:
        try:
            sampler = Sampler(source, Path(scratch) / "samples.bin")
        except SamplerError as error:
            return NoEnergy("read_failed", error.message)
        with contextlib.closing(sampler):
            return [_step(sampler, busy, seconds, say) for busy in sorted({0, 1, cores})]


def _step(sampler: Sampler, busy: int, seconds: float, say: Callable[[str], None]) -> Step:
    say(f"meter: {busy} of the cores busy for {seconds:.0f} s")
    facts = sampler.facts
    margin_s = 3 * facts.period_s + 0.2
    with _busy(busy):
        time.sleep(margin_s)
        start_ns = time.monotonic_ns()
        time.sleep(seconds)
        end_ns = time.monotonic_ns()
        time.sleep(margin_s)
    samples = sampler.between(start_ns, end_ns, margin_s)
    edges = [start_ns + (end_ns - start_ns) * part // PARTS for part in range(PARTS + 1)]
    pairs = pairwise(edges)
    parts = tuple(integrate(samples, facts, *pair) for pair in pairs)
    return Step(busy, integrate(samples, facts, start_ns, end_ns), parts, tuple(samples))


@contextlib.contextmanager
def _busy(cores: int) -> Iterator[None]:
    """So many processes that compute."""
    import subprocess

    command = module_command("edgebench.selfcheck.busy_core")
    running = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(cores)]
    try:
        yield
    finally:
        for process in running:
            process.communicate()  # the end of its input is its sign to end


def judge_steps(source: EnergySource, steps: Sequence[Step]) -> list[Answer]:
    """What the steps say of the claims on meters."""
    refused = next((step.whole for step in steps if isinstance(step.whole, Refused)), None)
    if refused is not None:
        detail = f"{source.name}: {refused.reason}: {refused.detail}"
        keys = ("meter.follows", "meter.rate", "meter.sum")
        return [judged(key, False, detail) for key in keys]
    return [_follows(source, steps), _rate(source, steps), _sum(source, steps)]


def _follows(source: EnergySource, steps: Sequence[Step]) -> Answer:
    """All cores take more than none, and no step takes less than the one before, beyond what is left open at random."""
    windows = [_window(step) for step in steps]
    listed = ", ".join(
        f"{step.busy_cores} cores {window.average_w:.3g} W"
        for step, window in zip(steps, windows, strict=True)
    )
    falls = any(_more_w(after, before) < 0 for before, after in pairwise(windows))
    rises = _more_w(windows[-1], windows[0]) > 0
    return judged("meter.follows", rises and not falls, f"{source.name}: {listed}")


def _more_w(one: WindowEnergy, other: WindowEnergy) -> float:
    """By how many watts one window is above the other; 0 within `MIN_MOVE` and what both leave open at random."""
    more_w = one.average_w - other.average_w
    random_w = math.hypot(*(_random_j(each) / each.window_s for each in (one, other)))
    return more_w if abs(more_w) > random_w + MIN_MOVE * abs(other.average_w) else 0.0


def _rate(source: EnergySource, steps: Sequence[Step]) -> Answer:
    """The usual time between two values that differ, where the load makes them differ."""
    seen_s = _between_changes_s(steps[-1].samples)
    least_s = max(source.period_s, poll_interval_s(source))
    if seen_s is None:
        return judged("meter.rate", False, f"{source.name}: the value never changed")
    told = f"{source.name}: news every {seen_s * 1e3:.3g} ms; stated {source.period_s * 1e3:.3g} ms"
    return judged(
        "meter.rate", seen_s <= MAX_SLOWER * least_s, f"{told}, read every {least_s * 1e3:.3g} ms"
    )


def _between_changes_s(samples: Sequence[Sample]) -> float | None:
    known = [sample for sample in samples if sample.value is not None]
    changes = [b.start_ns for a, b in pairwise(known) if a.value != b.value]
    gaps = [(b - a) / 1e9 for a, b in pairwise(changes)]
    return median(gaps) if gaps else None


def _sum(source: EnergySource, steps: Sequence[Step]) -> Answer:
    """A counter's windows lie between ticks, so that powers are compared and not joules."""
    worst = 0.0
    for step in steps:
        parts = [part for part in step.parts if isinstance(part, WindowEnergy)]
        if len(parts) < PARTS:
            return judged("meter.sum", False, f"{source.name}: a part of a window has no energy")
        whole = _window(step)
        mean_w = sum(part.energy_j for part in parts) / sum(part.window_s for part in parts)
        open_w = math.hypot(_random_j(whole), *map(_random_j, parts)) / whole.window_s
        step_w = (
            2 * PARTS * source.resolution / whole.window_s if source.quantity == "energy" else 0.0
        )
        worst = max(
            worst,
            abs(mean_w - whole.average_w)
            / max(open_w + step_w + SUM_SHARE * whole.average_w, 1e-9),
        )
    return judged(
        "meter.sum", worst <= 1.0, f"{source.name}: off by {worst:.2g} of what is left open"
    )


def _random_j(window: WindowEnergy) -> float:
    parts = window.uncertainty
    return math.hypot(parts.edge_j, parts.sampling_j, parts.gap_j, parts.quantum_j)


def _window(step: Step) -> WindowEnergy:
    assert isinstance(step.whole, WindowEnergy)
    return step.whole
