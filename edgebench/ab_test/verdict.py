"""The rules of the gate: from the changes that pairs of processes showed to a verdict. No clock, no files.

A *test* is one metric of one cell. Tests look at their pairs at numbers fixed beforehand, and those of
latency share one error rate: the chance that any of a suite calls REGRESS although nothing is slower by
more than `tau` is at most `alpha`; that of memory, and that of energy, are as much each. With few tests,
every look gets alpha / (tests x looks). With many, that share
would need more pairs than noise on a rare bad moment deserves: a look first *screens* at 5 %, and only
pairs that come after it, which know nothing of why the cell was screened, can *confirm*.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from edgebench.ab_test.pair_statistics import Estimate, as_share, estimate
from edgebench.words import verdict_words

Verdict = Literal["pass", "improve", "regress", "inconclusive", "invalid"]

#: One-sided error rates of a single look: of PASS's upper bound, and of a screen.
PASS_ALPHA = 0.05
SCREEN_ALPHA = 0.05
#: From so many tests on, look first and confirm on fresh pairs.
MANY_TESTS = 20
#: The cells decide in this order; the first verdict that any of them has is that of the gate.
PRECEDENCE: tuple[Verdict, ...] = ("regress", "invalid", "inconclusive", "improve", "pass")


class Tolerance(msgspec.Struct, frozen=True, kw_only=True):
    """Holds what counts as the same (`tau`) and what must be seen (`delta`), as shares: .01 is 1 %."""

    tau: float = 0.01
    delta: float = 0.05


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How evidence is weighed. `tests` of latency share `alpha`; those of memory share as much once more,
    and those of energy: one each in every one of `cells`."""

    tests: int = 1
    cells: int = 1
    alpha: float = 0.01
    looks: tuple[int, ...] = (5, 8, 12, 16, 20)
    many: int = MANY_TESTS

    @property
    def least(self) -> int:
        """Pairs below which nothing is said."""
        return self.looks[0]

    @property
    def cap(self) -> int:
        """Pairs after which an open test is inconclusive."""
        return self.looks[-1]

    @property
    def screened(self) -> bool:
        """Whether a first look only screens."""
        return self.tests >= self.many

    @property
    def screens(self) -> tuple[int, ...]:
        """Looks that leave room for a confirmation."""
        return tuple(look for look in self.looks if look + self.least <= self.cap)

    @property
    def look_alpha(self) -> float:
        """Error rate of one look without screening."""
        return self.alpha / (self.tests * len(self.looks))

    @property
    def confirm_alpha(self) -> float:
        """Error rate of one look at fresh pairs.

        A test under the null is screened with at most SCREEN_ALPHA at each of its screens, and fresh
        pairs are independent of that, so that the two rates multiply.
        """
        chances = self.tests * len(self.screens) * SCREEN_ALPHA
        looks = max((len(_fresh_looks(screen, self)) for screen in self.screens), default=1)
        return min(self.alpha / (chances * looks), SCREEN_ALPHA)

    @property
    def deciding_alpha(self) -> float:
        """The rate of the look that calls REGRESS."""
        return self.confirm_alpha if self.screened else self.look_alpha


class RuleResult(msgspec.Struct, frozen=True, kw_only=True):
    """Holds what the pairs of one test say. Changes are shares; None where there is no estimate."""

    verdict: Verdict
    decided: bool  # further pairs cannot change it, or there may be none
    wanted: int  # pairs in total at the next look; those there are, where it is decided
    pairs: int
    change: float | None = None
    low: float | None = None  # of the 95 % interval
    high: float | None = None
    mde: float | None = None  # the smallest change that the pairs there are would show
    alpha: float | None = None  # error rate at which `regress` and `improve` are called
    trimmed: bool = False
    reason: str = ""


def judge(changes: Sequence[float], tolerance: Tolerance, rules: Rules) -> RuleResult:
    """The verdict on one test after `changes`, one log ratio per pair in the order of measurement.

    The same pairs give the same verdict however often it is asked: looks are at fixed numbers, and a
    REGRESS or IMPROVE at one of them stands.
    """
    count = len(changes)
    if count < rules.least:
        reason = verdict_words.few_pairs(count=count, least=rules.least)
        return RuleResult(
            verdict="invalid", decided=False, wanted=rules.least, pairs=count, reason=reason
        )
    verdict, at, wanted = _walk(changes, tolerance, rules)
    seen = estimate(changes[:at])
    assert seen is not None  # at is 5 or more
    detectable = seen.detectable(math.log1p(tolerance.tau), rules.deciding_alpha)
    return RuleResult(
        verdict=verdict,
        decided=wanted <= at,
        wanted=wanted,
        pairs=at,
        change=as_share(seen.mean),
        low=as_share(seen.low(0.025)),
        high=as_share(seen.high(0.025)),
        mde=as_share(detectable),
        alpha=rules.deciding_alpha,
        trimmed=seen.trimmed,
        reason=_why_open(seen, tolerance) if verdict == "inconclusive" else "",
    )


def pairs_of_next_look(ruling: RuleResult, told: int, pairs: int) -> int:
    """Pairs in total at the next look of an open test, where so many of those there are told anything:
    looks count what was told. A test that nothing told anything gets no further pairs."""
    return ruling.wanted + pairs - told if told else pairs


def _walk(changes: Sequence[float], tolerance: Tolerance, rules: Rules) -> tuple[Verdict, int, int]:
    """Verdict, pairs it stands on, and pairs of the next look. Where the rules screen, the first sign of a change
    sends the test to confirmation."""
    alpha = SCREEN_ALPHA if rules.screened else rules.look_alpha
    verdict: Verdict = "inconclusive"
    done = 0
    for look in rules.looks:
        if look > len(changes):
            return verdict, done, look
        done, seen = look, estimate(changes[:look])
        sign = _decided(seen, tolerance, alpha)
        if sign and rules.screened and look in rules.screens:
            return _confirmed(changes, look, sign, tolerance, rules)
        if sign and rules.screened:
            verdict = "inconclusive"
        else:
            verdict = sign or _passes(seen, tolerance)
        if verdict != "inconclusive":
            return verdict, look, look
    return verdict, done, done


def _confirmed(
    changes: Sequence[float], screen: int, sign: Verdict, tolerance: Tolerance, rules: Rules
) -> tuple[Verdict, int, int]:
    """Whether pairs after the screen, by themselves, show what it saw."""
    done = screen
    for fresh in _fresh_looks(screen, rules):
        look = screen + fresh
        if look > len(changes):
            return "inconclusive", done, look
        done = look
        if _decided(estimate(changes[screen:look]), tolerance, rules.confirm_alpha) == sign:
            return sign, look, look
    return _passes(estimate(changes[:done]), tolerance), done, done


def _fresh_looks(screen: int, rules: Rules) -> list[int]:
    """Numbers of fresh pairs to look at; the last one reaches the cap."""
    room = rules.cap - screen
    return [*(look for look in rules.looks if look < room), room]


def _decided(
    seen: Estimate | None, tolerance: Tolerance, alpha: float
) -> Literal["regress", "improve"] | None:
    """Whether the change is beyond `tau` with confidence 1 - alpha."""
    assert seen is not None
    if seen.low(alpha) > math.log1p(tolerance.tau):
        return "regress"
    if seen.high(alpha) < -math.log1p(tolerance.tau):
        return "improve"
    return None


def _passes(seen: Estimate | None, tolerance: Tolerance) -> Verdict:
    """PASS where a change of `delta` is out of the question and the estimate is within `tau`."""
    assert seen is not None
    excluded = seen.high(PASS_ALPHA) < math.log1p(tolerance.delta)
    return "pass" if excluded and seen.mean < math.log1p(tolerance.tau) else "inconclusive"


def _why_open(seen: Estimate, tolerance: Tolerance) -> str:
    if seen.high(PASS_ALPHA) >= math.log1p(tolerance.delta):
        return verdict_words.not_excluded(delta=tolerance.delta)
    return verdict_words.not_surely_slower(tau=tolerance.tau)


def judge_canary(changes: Sequence[float], tolerance: Tolerance, rules: Rules) -> RuleResult:
    """The A/A pair: INVALID where the same thing twice differs by more than `tau`.

    Few pairs of a noisy cell may do so by chance: while its mean is outside, the canary goes on to the
    next look, and only at the cap, or where the budget ends, the run is INVALID.
    """
    at = next((look for look in rules.looks if _calm(changes, look, tolerance)), None)
    done = max((look for look in rules.looks if look <= len(changes)), default=0)
    seen = estimate(changes[: at or done])
    if seen is None:
        return judge(changes, tolerance, rules)
    later = [look for look in rules.looks if look > done]
    return RuleResult(
        verdict="invalid" if at is None else "pass",
        decided=at is not None or not later,
        wanted=later[0] if at is None and later else seen.pairs,
        pairs=seen.pairs,
        change=as_share(seen.mean),
        low=as_share(seen.low(0.025)),
        high=as_share(seen.high(0.025)),
        trimmed=seen.trimmed,
        reason=verdict_words.noisy_machine(change=as_share(seen.mean)) if at is None else "",
    )


def _calm(changes: Sequence[float], look: int, tolerance: Tolerance) -> bool:
    seen = estimate(changes[:look]) if look <= len(changes) else None
    return seen is not None and abs(seen.mean) <= math.log1p(tolerance.tau)


def judge_amounts(
    base: Sequence[float], head: Sequence[float], tolerance: float, *, relative: bool = True
) -> RuleResult:
    """Verdict on what a process does not measure by a clock: bytes, joules, a quality.

    Such numbers differ little between processes of one arm or not at all: the smallest and the largest
    difference of all pairs take the place of an interval. Higher is worse; turn the sign of a quality.
    """
    pairs = list(zip(base, head, strict=True))
    if not pairs:
        return RuleResult(
            verdict="invalid",
            decided=True,
            wanted=0,
            pairs=0,
            reason=verdict_words.NOTHING_MEASURED,
        )
    gaps = sorted(
        (after / before - 1 if before else math.inf if after else 0.0)
        if relative
        else after - before
        for before, after in pairs
    )
    low, high = gaps[0], gaps[-1]
    verdict: Verdict = "inconclusive"
    if low > tolerance:
        verdict = "regress"
    elif high <= tolerance:
        verdict = "improve" if high < -tolerance else "pass"
    return RuleResult(
        verdict=verdict,
        decided=True,
        wanted=len(pairs),
        pairs=len(pairs),
        change=gaps[len(gaps) // 2],
        low=low,
        high=high,
        mde=tolerance + (high - low),
        reason=verdict_words.PAIRS_DISAGREE if verdict == "inconclusive" else "",
    )


def overall(verdicts: Sequence[Verdict], canary: Sequence[Verdict] = ()) -> Verdict:
    """The verdict of a gate. Without a valid canary, or without any test, there is none."""
    if "invalid" in canary or not verdicts:
        return "invalid"
    return next(verdict for verdict in PRECEDENCE if verdict in verdicts)
