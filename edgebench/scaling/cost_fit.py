"""Fits what a prompt and a token cost a decoder by least squares, and reports the residuals.

The forms are those of EdgeReasoning (2025): the prefill a*P^2 + b*P + c, with P the prompt's length
rounded up to the tile that kernels work in; a decode step n + m*context.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np

from edgebench import record as rec
from edgebench.record import Part
from edgebench.words import unknown_words

PAD = 128  # tokens of a tile


class Fit(Part, frozen=True, kw_only=True):
    """A polynomial in tokens; times in nanoseconds."""

    coefficients_ns: list[float]  # of the highest power first: [a, b, c], or [m, n]
    r2: float | None  # None: all times are equal, there is nothing to explain
    residual_sd_ns: float | None  # None: as many coefficients as points, nothing is left over
    points: int
    lengths: int  # different lengths among them
    shortest: int  # the range that was measured; beyond it the fit is a guess
    longest: int
    measured: list[tuple[float, float]]  # tokens, ns: what it was fitted to, by length

    def at(self, tokens: float) -> float:
        value = 0.0
        for coefficient in self.coefficients_ns:
            value = value * tokens + coefficient
        return value


def padded(tokens: int, pad: int) -> int:
    """P = pad * ceil(tokens / pad)."""
    return pad * -(-tokens // pad)


def prefill_fit(
    replicates: Mapping[int, Sequence[Sequence[rec.Request]]], pad: int = PAD
) -> tuple[Fit | None, str]:
    """a*P^2 + b*P + c, and "" or why there is none.

    `replicates`: prompt tokens -> the requests of each replicate. One point for each replicate, the
    median of its times to first token.
    """
    points = [
        (padded(tokens, pad), median(request.token_ns[0] for request in requests))
        for tokens, each in replicates.items()
        for requests in each
        if requests
    ]
    lengths = len({length for length, _ in points})
    if lengths < 3:
        return None, unknown_words.few_prompt_lengths(pad=pad, lengths=lengths)
    return _fit(points, 2), ""


def decode_fit(requests: Sequence[rec.Request]) -> tuple[Fit | None, str]:
    """n + m*context of a step, and "" or why there is none.

    One point for each context (tokens before the step, of one sequence): the median over requests, so that
    one interrupted step does not tilt the line.
    """
    at: dict[int, list[int]] = defaultdict(list)
    for request in requests:
        times = request.token_ns
        for number in range(1, len(times)):
            at[request.prompt_tokens + number].append(times[number] - times[number - 1])
    if len(at) < 2:
        return None, unknown_words.few_contexts(lengths=len(at))
    return _fit([(context, median(steps)) for context, steps in at.items()], 1), ""


def decode_ns(fit: Fit, prompt_tokens: float, tokens: float) -> float:
    """Time of all decode steps of an answer of `tokens`, the first of which belongs to the prefill: n - 1 steps, at
    contexts prompt_tokens + 1 and on."""
    steps = max(tokens - 1, 0.0)
    return steps * fit.at(prompt_tokens + (steps + 1) / 2)


def _fit(points: Sequence[tuple[float, float]], degree: int) -> Fit:
    x = np.array([length for length, _ in points], dtype=np.float64)
    y = np.array([ns for _, ns in points], dtype=np.float64)
    scale = x.max()  # columns of like size: a length squared is large
    found, *_ = np.linalg.lstsq(np.vander(x / scale, degree + 1), y, rcond=None)
    coefficients = found / scale ** np.arange(degree, -1, -1)
    left = y - np.polyval(coefficients, x)
    spread = float(((y - y.mean()) ** 2).sum())
    free = len(points) - (degree + 1)
    return Fit(
        coefficients_ns=[float(value) for value in coefficients],
        r2=1 - float((left**2).sum()) / spread if spread else None,
        residual_sd_ns=math.sqrt(float((left**2).sum()) / free) if free else None,
        points=len(points),
        lengths=len(set(x.tolist())),
        shortest=int(x.min()),
        longest=int(x.max()),
        measured=sorted(zip(x.tolist(), y.tolist(), strict=True)),
    )
