"""Energy within a run: one helper process for the whole of it, and the energy of each window.

The parent sleeps while the helper samples. When a worker is done, the samples of its measured window
are looked up by the monotonic clock, which all processes of a machine share, and integrated.
"""

from __future__ import annotations

import contextlib
import copy
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Protocol

import msgspec

from edgebench.energy.cell_energy import combine
from edgebench.energy.energy_window import Refused, refuse_without_power
from edgebench.energy.integrate import calm_interval_s, integrate, needed_s
from edgebench.energy.meter_liveness import check_alive
from edgebench.energy.modelled_energy import Estimate
from edgebench.energy.replicate_energy import Idle, blind_spots, origin, window_energy
from edgebench.energy.sampler import Sampler, SamplerError
from edgebench.energy.source import EnergySource, NoEnergy, Sample, not_opened
from edgebench.record import Energy, EnergyWindow, Replicate, WorstCase

#: Samples beyond the edges of a window that are looked at: ticks before and after it, slow updates.
MARGIN_PERIODS = 3
MARGIN_S = 0.5
#: Idle power is looked at for as long as the meter needs, and at least so long.
IDLE_S = 1.0


@contextlib.contextmanager
def open_meter(
    source: EnergySource | NoEnergy, estimate: Estimate | None = None, window_s: float = 0.0
) -> Iterator[Meter]:
    """A meter for as long as the block lasts: of the source, if it opens and proves alive, else one
    that says why there is none.

    `window_s`: length of the windows to come. Power is looked at no more often than they need.
    """
    if isinstance(source, NoEnergy):
        yield NoMeter(_unavailable(source), estimate)
        return
    source.calm_s = calm_interval_s(window_s)
    with tempfile.TemporaryDirectory(prefix="edgebench-energy-") as scratch:
        sampler = _alive(source, Path(scratch))
        if isinstance(sampler, NoEnergy):
            yield NoMeter(_unavailable(sampler), estimate)
            return
        with contextlib.closing(sampler):
            yield SampledMeter(sampler, source.caveats, estimate)


def _alive(source: EnergySource, scratch: Path) -> Sampler | NoEnergy:
    """A sampler of the source, once it has answered to a known load; else why it is not used."""
    trial = copy.deepcopy(source)
    try:
        trial.open()
        dead = check_alive(trial)
        trial.close()
        # Some 24 bytes a sample, 10 MB an hour, gone with the run.
        return dead or Sampler(source, scratch / "samples.bin")
    except OSError as error:
        return not_opened(source, error)
    except SamplerError as error:
        return NoEnergy("read_failed", error.message)


def _unavailable(why: NoEnergy) -> Energy:
    detail = f"{why.detail}; fix: {why.fix}" if why.fix else why.detail
    return Energy(status="unavailable", reason=why.reason, detail=detail)


class Meter(Protocol):
    """The interface of a meter to a run."""

    @property
    def needed_s(self) -> float:
        """Length of a window that has an energy; 0: no window needs to be longer for it."""

    @property
    def idle_s(self) -> float:
        """Returns what idle before and after takes for each replicate."""

    def idle(self) -> Idle:
        """Power of the machine with nothing to do, now."""

    def measured(self, replicate: Replicate, batch: int, before: Idle) -> Replicate:
        """The replicate with the energy of its window; idle after it is measured here, if it was
        before."""

    def of_record(self, replicates: Sequence[Replicate]) -> Energy:
        """The energy of a cell, from its replicates that are ok."""


class NoMeter:
    """No meter: every record says why. It may hold a labelled estimate."""

    needed_s = idle_s = 0.0

    def __init__(self, why: Energy, estimate: Estimate | None = None) -> None:
        self._why = why
        self._estimate = estimate

    def idle(self) -> Idle:
        return None

    def measured(self, replicate: Replicate, batch: int, before: Idle) -> Replicate:
        if self._estimate is None:
            return replicate
        modelled = self._estimate.of(replicate, batch)
        return msgspec.structs.replace(
            replicate, energy=msgspec.structs.replace(self._why, modelled=modelled)
        )

    def of_record(self, replicates: Sequence[Replicate]) -> Energy:
        return _with_modelled(self._why, replicates)


class SampledMeter:
    """A source that a running sampler reads."""

    def __init__(
        self,
        sampler: Sampler,
        caveats: Sequence[str] = (),
        estimate: Estimate | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._sampler = sampler
        self._facts = sampler.facts
        self._caveats = (*caveats, *blind_spots(sampler.facts))
        self._estimate = estimate
        self._sleep = sleep
        self.needed_s = needed_s(sampler.facts)
        self.idle_s = max(IDLE_S, self.needed_s)

    def idle(self) -> Idle:
        if not self._sampler.alive:
            return None
        start_ns = time.monotonic_ns()
        self._sleep(self.idle_s)
        end_ns = time.monotonic_ns()
        return integrate(self._around(start_ns, end_ns), self._facts, start_ns, end_ns)

    def measured(self, replicate: Replicate, batch: int, before: Idle) -> Replicate:
        start_ns, end_ns = replicate.window_start_ns, replicate.window_end_ns
        if not start_ns or not end_ns:
            return replicate  # it never came to its window, and its reasons say why
        after = None if before is None else self.idle()
        samples = self._around(start_ns, end_ns)
        energy = window_energy(self._facts, samples, replicate, batch, before, after)
        if energy.status != "ok" and not self._sampler.alive:
            energy = self._unavailable("read_failed", "the process that reads the meter died")
        modelled = self._estimate.of(replicate, batch) if self._estimate else None
        energy = msgspec.structs.replace(energy, caveats=self._caveats, modelled=modelled)
        return msgspec.structs.replace(
            replicate, energy=energy, worst_case=self._worst_case(replicate.worst_case)
        )

    def _worst_case(self, found: WorstCase | None) -> WorstCase | None:
        """The windows of a search for the input that takes most energy, with their energy."""
        if found is None or not found.energy_windows:
            return found
        windows = [self._searched(window) for window in found.energy_windows]
        return msgspec.structs.replace(found, energy_windows=windows)

    def _searched(self, window: EnergyWindow) -> EnergyWindow:
        readings = self._around(window.start_ns, window.end_ns)
        energy = integrate(readings, self._facts, window.start_ns, window.end_ns)
        energy = refuse_without_power(energy, self._facts.total_rail)
        if isinstance(energy, Refused):
            return msgspec.structs.replace(window, why=energy.detail)
        share = (energy.end_ns - energy.start_ns) / (window.end_ns - window.start_ns)
        return msgspec.structs.replace(
            window,
            j_per_inference=energy.energy_j / (window.inferences * share),
            uncertainty_j=energy.uncertainty_j / (window.inferences * share),
        )

    def of_record(self, replicates: Sequence[Replicate]) -> Energy:
        good = [replicate for replicate in replicates if replicate.status == "ok"]
        energy = combine(replicate.energy for replicate in good)
        energy = energy or self._unavailable("read_failed", "no window was measured")
        return _with_modelled(energy, replicates)

    def _around(self, start_ns: int, end_ns: int) -> list[Sample]:
        margin_s = max(MARGIN_S, MARGIN_PERIODS * self._facts.period_s)
        return self._sampler.between(start_ns, end_ns, margin_s)

    def _unavailable(self, reason: str, detail: str) -> Energy:
        return Energy(status="unavailable", reason=reason, detail=detail, **origin(self._facts))


def _with_modelled(energy: Energy, replicates: Sequence[Replicate]) -> Energy:
    """The record's estimate is the mean of its replicates'."""
    energies = [
        replicate.energy.modelled
        for replicate in replicates
        if replicate.status == "ok" and replicate.energy and replicate.energy.modelled
    ]
    if not energies:
        return energy
    mean = msgspec.structs.replace(
        energies[0],
        j_per_inference=fmean(each.j_per_inference for each in energies),
        average_w=fmean(each.average_w for each in energies),
    )
    return msgspec.structs.replace(energy, modelled=mean)
