"""Seeded cases: a load, a specimen of a meter and a window, and whether the stated uncertainty holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgebench.energy.energy_window import Facts, WindowEnergy
from edgebench.energy.integrate import integrate, needed_s
from edgebench.energy.sampler import jittered, poll_interval_s
from edgebench.energy.source import Sample
from edgebench.testing.power.curves import Curve, Line, Sine, Square, bursts, energy_between
from edgebench.testing.power.sensor import Sensor

#: Loads of a case, in turn.
LOADS = ("constant", "periodic", "slow_sine", "bursts", "ramp", "fast_square", "awkward_square")
LEAD_S = 1.0  # before and after a window


@dataclass(frozen=True)
class Case:
    load: str
    curve: Curve
    sensor: Sensor
    start_s: float
    end_s: float

    @property
    def true_j(self) -> float:
        return energy_between(self.curve, self.start_s, self.end_s)


@dataclass(frozen=True)
class Outcome:
    """One case as measured; energies relative to the true energy of the window that was used."""

    load: str
    error: float
    half_width: float


def make_case(
    seed: int,
    facts: Facts,
    *,
    most_w: float = 20.0,
    irregular: float = 0.0,
    load: str | None = None,
    length_s: float | None = None,
) -> Case:
    """The case of that seed for a source with these facts; the window is long enough for it."""
    rng = np.random.default_rng(seed)
    load = load or LOADS[seed % len(LOADS)]
    length_s = length_s or needed_s(facts) * rng.uniform(1.0, 2.0)
    start_s = LEAD_S + max(facts.period_s, LEAD_S) * rng.uniform()
    total_s = (
        start_s + length_s + max(LEAD_S, 4 * facts.period_s)
    )  # beyond the last tick that counts
    curve = _curve(load, rng, most_w, length_s, total_s, facts)
    sensor = Sensor(
        period_s=facts.period_s,
        phase=rng.uniform(),
        irregular=irregular,
        latency_s=facts.latency_s * rng.uniform(),
        averages=facts.averages,
        gain=facts.gain_error * rng.uniform(-1, 1),
        offset_w=facts.offset_w * rng.uniform(-1, 1),
        failures=float(rng.choice([0.0, 0.0, 0.01])),
        seed=seed,
    )
    return Case(load, curve, sensor, start_s, start_s + length_s)


def _curve(
    load: str,
    rng: np.random.Generator,
    most_w: float,
    length_s: float,
    total_s: float,
    facts: Facts,
) -> Curve:
    low_w = most_w * rng.uniform(0.1, 0.4)
    high_w = most_w * rng.uniform(0.5, 1.0)
    swing = {"phase": rng.uniform()}
    if load == "constant":
        return Line(high_w)
    if load == "ramp":
        slope_w_per_s = (high_w - low_w) / total_s
        return Line(low_w, slope_w_per_s) if rng.random() < 0.5 else Line(high_w, -slope_w_per_s)
    if load == "slow_sine":
        middle = (low_w + high_w) / 2
        return Sine(
            middle, (high_w - low_w) / 2, length_s / rng.uniform(0.3, 3), 6.28 * rng.uniform()
        )
    if load == "bursts":
        return bursts(
            rng,
            low_w,
            high_w,
            length_s * rng.uniform(0.005, 0.1),
            length_s * rng.uniform(0.01, 0.1),
            total_s,
        )
    if load == "fast_square":
        period_s = math.exp(rng.uniform(math.log(0.002), math.log(0.05)))
    elif load == "awkward_square" and jittered_reads(facts):
        # In step with the reads, with mains and with frames.
        period_s = float(
            rng.choice(
                [*(poll_interval_s(facts) * np.array([0.5, 1, 2, 3])), 0.01, 0.02, 0.1, 1 / 30]
            )
        )
    else:
        period_s = math.exp(rng.uniform(math.log(0.01), math.log(length_s)))
    return Square(low_w, high_w, period_s, duty=rng.uniform(0.2, 0.8), **swing)


def jittered_reads(facts: Facts) -> bool:
    """Whether reads at random moments help. Of a meter that looks at moments of its own, a load in
    step with it cannot be told by anybody: such cases are left out, and docs say so."""
    return facts.averages or facts.quantity == "energy" or facts.period_s < poll_interval_s(facts)


def read_times(facts: Facts, until_s: float, seed: int) -> np.ndarray:
    """When the sampler's loop would read, on an idle machine (`sampling.sample_until`)."""
    interval_s = poll_interval_s(facts)
    rng = np.random.default_rng(seed)
    count = int(until_s / interval_s)
    offsets = rng.uniform(size=count) if jittered(facts) else np.full(count, 0.5)
    return (np.arange(count) + offsets) * interval_s


def outcome(case: Case, facts: Facts, samples: Sequence[Sample]) -> Outcome:
    """The measured energy of a case held against the true one of the window that was used."""
    energy = integrate(samples, facts, round(case.start_s * 1e9), round(case.end_s * 1e9))
    assert isinstance(energy, WindowEnergy), f"refused: {energy}"
    true_j = energy_between(case.curve, energy.start_ns / 1e9, energy.end_ns / 1e9)
    return Outcome(case.load, (energy.energy_j - true_j) / true_j, energy.uncertainty_j / true_j)


@dataclass(frozen=True)
class Summary:
    """Summarises many outcomes: how often the truth lay inside, and how wide the interval was."""

    coverage: float
    error_p95: float
    half_width_median: float

    @property
    def width_ratio(self) -> float:
        return self.half_width_median / self.error_p95

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> Summary:
        errors = np.array([abs(each.error) for each in outcomes])
        widths = np.array([each.half_width for each in outcomes])
        return cls(
            float((errors <= widths * (1 + 1e-9) + 1e-12).mean()),
            float(np.quantile(errors, 0.95)),
            float(np.median(widths)),
        )
