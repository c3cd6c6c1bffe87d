"""Words for the rows and notes of a verdict, of an A/B or of stored results: why a row is as it is."""

from __future__ import annotations

CANARY = "canary (base against base)"
NOTHING_MEASURED = "nothing was measured"
PAIRS_DISAGREE = "pairs disagree about the tolerance"

# Of stored results.
NOT_IN_BASELINE = "the baseline has no such row on this device"
NOT_IN_CANDIDATE = "the baseline has this row, and the candidate does not"
NOT_ACROSS_JOBS = "not judged across jobs"
NO_LONGER_KNOWN = "known in the baseline, and unknown here"


def few_pairs(count: int, least: int) -> str:
    return f"{count} of at least {least} pairs"


def not_excluded(delta: float) -> str:
    return f"a change of {delta:+.1%} cannot be excluded"


def not_surely_slower(tau: float) -> str:
    return f"the estimate is above {tau:+.1%}, and not surely so"


def noisy_machine(change: float) -> str:
    return f"the same thing twice differs by {change:+.1%}: this machine cannot judge now"


def preempted(count: int, pairs: int) -> str:
    return f"{count} of {pairs} pairs were preempted throughout"


def peak_unknown(side: str, why: str) -> str:
    return f"the peak of {side} is unknown ({why})"


def of_meter(source: str, kind: str, rail: str) -> str:
    return f"{source} ({kind}): {rail}"


def every_core(threads: int) -> str:
    return (
        f"report only: {threads} threads take every core, and anything else that runs disturbs them"
    )


# Of quality.


def none_of(metric: str) -> str:
    return f"no {metric}"


def not_passed(metric: str) -> str:
    return f"{metric} does not pass"


def beyond_limit(metric: str, value: float, limit: float, better: str) -> str:
    return f"{metric} {value:.4g} {'<' if better == 'higher' else '>'} {limit:g}"


def base_misses_too(complaints: str) -> str:
    return f"base misses its limit as well: {complaints}"


def as_in_baseline(complaints: str) -> str:
    return f"{complaints}, as in the baseline"


def was(metric: str, value: float) -> str:
    return f"{metric} was {value:.4g}"


def policy_unknown(metric: str, demanded: float) -> str:
    return f"{metric} is unknown, and the policy demands {demanded:g}"


def policy_missed(metric: str, value: float, demanded: float) -> str:
    return f"{metric} {value:.4g} misses the {demanded:g} of the policy"


def policy_without_row(demanded: float) -> str:
    return f"the policy demands {demanded:g} of it, and no row here is of that cell"


def policy_unmeasured(demanded: float | None) -> str:
    return f"the policy demands a quality of {demanded}, and it was not measured"


# Of the whole comparison.


def raw_pairs(path: object) -> str:
    return f"raw pairs: {path}"


def energy_not_judged(why: str) -> str:
    return f"energy is not judged: {why}"


def not_deployable(cell: str, side: str, why: str) -> str:
    return f"{cell}: {side} is not deployable: {why}"


def pairs_do_not_count(cell: str, count: int, pairs: int, why: str) -> str:
    return f"{cell}: {count} of {pairs} pairs do not count: {why}"


def of_cell(cell: str, note: str) -> str:
    return f"{cell}: {note}"
