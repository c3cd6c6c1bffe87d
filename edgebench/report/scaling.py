"""Test-time scaling as text of 80 columns: what tokens and samples buy, the fits, and the pick."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import fill
from typing import TextIO

from edgebench.analysis.scaling import Fit, Point, Scaling
from edgebench.report.text import plain
from edgebench.units import format_ns

_WIDTH = 80
_ROW = "{:<1} {:>6} {:>7} {:>8} {:>13} {:>8} {:>8} {:>7} {:>9}"
_HEAD = ("", "budget", "samples", "accuracy", "95 %", "latency", "slowest", "tokens", "/correct")


def render(found: Sequence[Scaling], within_ns: int | None, out: TextIO) -> None:
    for scaling in found:
        out.writelines(
            fill(line, _WIDTH, subsequent_indent="  ", break_on_hyphens=False) + "\n"
            for line in _lines(scaling, within_ns)
        )
        out.write("\n")


def _lines(scaling: Scaling, within_ns: int | None) -> Iterator[str]:
    yield plain(f"{scaling.id} ({scaling.device})")
    if not scaling.ranked:
        yield plain(f"x not ranked: {scaling.reason}")
    yield _ROW.format(*_HEAD).rstrip()
    for number, point in enumerate(scaling.points):
        if point.pareto or number == scaling.pick:
            yield _row(point, "*" if number == scaling.pick else "")
    tasks = scaling.points[0].tasks
    yield (
        f"shown: no point is as accurate in less time (of {len(scaling.points)}; {tasks} tasks, "
        f"{scaling.width} at once)"
    )
    yield from _pick_lines(scaling, within_ns)
    yield from _fit_lines("prefill", scaling.prefill, scaling.prefill_unknown)
    yield from _fit_lines("decode", scaling.decode, scaling.decode_unknown)
    if scaling.fitted_budget is not None:
        yield (
            f"by the fits, a request of {scaling.prompt_tokens} prompt tokens has time for "
            f"{scaling.fitted_budget} of the tokens tried"
        )
    yield plain(f"energy per correct answer: unknown: {scaling.energy_unknown}")


def _row(point: Point, mark: str) -> str:
    per = point.tokens_per_correct
    return _ROW.format(
        mark,
        point.budget_tokens,
        point.samples,
        f"{point.accuracy:.2f}",
        f"{point.accuracy_low:.2f} to {point.accuracy_high:.2f}",
        format_ns(point.latency_p50_ns),
        format_ns(point.latency_max_ns),
        f"{point.tokens:.1f}",
        "-" if per is None else f"{per:.1f}",
    ).rstrip()


def _pick_lines(scaling: Scaling, within_ns: int | None) -> Iterator[str]:
    limit = "" if within_ns is None else f" within {format_ns(within_ns)}"
    if scaling.pick is None:
        if scaling.ranked:
            yield f"pick: none: no point keeps every task{limit}"
        return
    best = scaling.points[scaling.pick]
    yield (
        f"pick: {best.budget_tokens} tokens, {best.samples} samples: most accurate{limit} on every task, "
        f"{best.right} of {best.tasks}"
    )
    if scaling.tied:
        quickest = min((scaling.points[n] for n in scaling.tied), key=lambda p: p.latency_p50_ns)
        if quickest.latency_p50_ns < best.latency_p50_ns:
            yield (
                f"  not told apart with {best.tasks} tasks: {len(scaling.tied)} others, the quickest "
                f"{quickest.budget_tokens} tokens, {quickest.samples} samples "
                f"({quickest.accuracy:.2f} in {format_ns(quickest.latency_p50_ns)})"
            )


def _fit_lines(name: str, fit: Fit | None, unknown: str) -> Iterator[str]:
    if fit is None:
        yield f"{name}: no fit: {unknown}"
        return
    terms = ", ".join(f"{term} {value:.4g} ns" for term, value in fit.terms.items())
    squared = "" if fit.r_squared is None else f", R2 {fit.r_squared:.3f}"
    exact = ", as many terms as points" if len(fit.x) <= len(fit.terms) else ""
    yield f"{name}: {terms}{squared}{exact}"
    worst = max(
        zip(fit.x, fit.residual_ns, fit.measured_ns, strict=True), key=lambda each: abs(each[1])
    )
    yield (
        f"  {len(fit.x)} lengths, {fit.x[0]} to {fit.x[-1]}; largest residual "
        f"{format_ns(worst[1])} of {format_ns(worst[2])} at {worst[0]}"
    )
