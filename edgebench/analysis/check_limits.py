"""Checks limits on all rows of a frame: whether each value meets them, and with what probability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgebench.analysis.frame import Frame, Indices, Numbers
from edgebench.analysis.limits import OPERATORS, Limit
from edgebench.analysis.uncertainty import Uncertain, student_share, uncertain
from edgebench.errors import UsageError


@dataclass(frozen=True)
class Checked:
    """A limit and, per row, what it comes to. bound: NaN where it is relative to an fp32 row that
    there is not. probability: NaN where nothing tells how far the value may be off."""

    limit: Limit
    of: Uncertain
    bound: Numbers
    upper: NDArray[np.bool_]
    meets: NDArray[np.bool_]
    probability: Numbers

    def misses_by(self) -> Numbers:
        """How far a row is from the limit, as a share of it (else absolute); infinite where the
        value is unknown, not above 0 where the limit holds."""
        over = np.where(self.upper, self.of.value - self.bound, self.bound - self.of.value)
        size = np.where(self.bound == 0, 1.0, np.abs(self.bound))
        return np.asarray(np.nan_to_num(over / size, nan=np.inf))


def check(frame: Frame, limit: Limit) -> Checked:
    """Raises UsageError where an absolute limit on the quality goes the wrong way."""
    of = uncertain(frame, limit.metric)
    upper = np.full(len(frame), limit.upper)
    error, degrees = of.error, of.degrees
    if limit.relative:
        bound, turned, error, degrees = _relative(frame, limit, of)
        upper = upper | turned
    else:
        bound = np.full(len(frame), limit.value)
        _refuse_wrong_way(frame, limit)
    strict = len(limit.op) == 1
    below = OPERATORS["<" if strict else "<="](of.value, bound)
    above = OPERATORS[">" if strict else ">="](of.value, bound)
    meets = np.where(upper, below, above)
    return Checked(
        limit, of, bound, upper, meets, _probability(of.value, bound, error, degrees, upper, meets)
    )


def _relative(
    frame: Frame, limit: Limit, of: Uncertain
) -> tuple[Numbers, NDArray[np.bool_], Numbers, Indices]:
    """Bound, where it turned into an upper one, and error and degrees of value over bound."""
    base = frame.baselines()
    reference = np.where(base >= 0, of.value[base], np.nan)
    if limit.metric.name == "quality":
        by_delta = of.value - frame.numbers("quality.delta")
        reference = np.where(np.isnan(reference), by_delta, reference)
    reference = np.where(reference > 0, reference, np.nan)
    turned = np.zeros(len(frame), dtype=bool)
    if limit.metric.better is None and not limit.upper:
        # "At least 0.98 times as good as fp32", of an error rate: at most fp32 / 0.98.
        turned = _is(frame, "quality.better", "lower")
    bound = np.where(turned, reference / limit.value, reference * limit.value)
    itself = base == np.arange(len(frame))
    other = np.where(base >= 0, of.error[base], np.where(of.error == 0, 0.0, np.nan))
    error = np.where(itself, 0.0, np.hypot(of.error, other))
    return bound, turned, error, np.minimum(of.degrees, of.degrees[base])


def _is(frame: Frame, column: str, name: str) -> NDArray[np.bool_]:
    codes = frame.codes(column)
    return np.isin(codes.codes, [code for code, known in enumerate(codes.names) if known == name])


def _refuse_wrong_way(frame: Frame, limit: Limit) -> None:
    if limit.metric.name != "quality":
        return
    good = "higher" if limit.upper else "lower"
    wrong = np.flatnonzero(_is(frame, "quality.better", good) & (frame.numbers("ranked") == 1))
    if len(wrong):
        row = int(wrong[0])
        metric, workload = frame.text("quality.metric", row), frame.text("workload", row)
        raise UsageError(
            f"--require {limit.text!r}: the quality of {workload} is {metric}, of which {good} is "
            "better",
            f"write quality{'>=' if limit.upper else '<='}..., or name the --workload it is for",
        )


def _probability(
    value: Numbers,
    bound: Numbers,
    error: Numbers,
    degrees: Indices,
    upper: NDArray[np.bool_],
    meets: NDArray[np.bool_],
) -> Numbers:
    """Returns the probability that the true value meets the limit, by Student's t on logarithms."""
    probability = np.where(np.isnan(bound) | np.isnan(value), 0.0, meets.astype(np.float64))
    known = ~np.isnan(bound) & ~np.isnan(value)
    probability[known & np.isnan(error)] = np.nan
    drawn = np.flatnonzero(known & (error > 0))
    for count in np.unique(degrees[drawn]):
        some = drawn[degrees[drawn] == count]
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = np.log(np.maximum(bound[some], 0) / value[some]) / error[some]
        share = student_share(reach, int(count))
        probability[some] = np.where(upper[some], share, 1 - share)
    return probability
