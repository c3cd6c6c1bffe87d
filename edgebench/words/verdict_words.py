"""Words for the rows and notes of a verdict, of an A/B or of stored results: why a row is as it is.

What has a name in small letters takes data, by the names in its braces.
"""

from __future__ import annotations

# Of stored results.
NOT_IN_BASELINE = "the baseline has no such row on this device"
NOT_IN_CANDIDATE = "the baseline has this row, and the candidate does not"
NOT_ACROSS_JOBS = "not judged across jobs"
NO_LONGER_KNOWN = "known in the baseline, and unknown here"

ran_before = "it ran in the baseline but cannot run here: {why}".format

# Of absolute limits.
INTERVAL_CROSSES = "its 95 % interval crosses the limit"
limit_untold = "{limit}: {why}".format
limit_broken = "{limit}: it is {value}".format

# Of pairs.
CANARY = "canary (base against base)"
NOTHING_MEASURED = "nothing was measured"
PAIRS_DISAGREE = "pairs disagree about the tolerance"
few_pairs = "{count} of at least {least} pairs".format
not_excluded = "a change of {delta:+.1%} cannot be excluded".format
not_surely_slower = "the estimate is above {tau:+.1%}, and not surely so".format
noisy_machine = (
    "the same thing twice differs by {change:+.1%}: this machine cannot judge now".format
)
preempted = "{count} of {pairs} pairs were preempted throughout".format
peak_unknown = "the peak of {side} is unknown ({why})".format
of_meter = "{source} ({kind}): {rail}".format
every_core = "report only: {threads} threads take every core, and anything else that runs disturbs them".format

cannot_run = "{side} cannot run: {why}".format
no_room_for_both = "both arms do not fit in memory together: {why}".format

# Of quality.
none_of = "no {metric}".format
not_passed = "{metric} does not pass".format
base_misses_too = "base misses its limit as well: {complaints}".format
as_in_baseline = "{complaints}, as in the baseline".format
was = "{metric} was {value:.4g}".format
policy_unknown = "{metric} is unknown, and the policy demands {demanded:g}".format
policy_missed = "{metric} {value:.4g} misses the {demanded:g} of the policy".format
policy_without_row = "the policy demands {demanded:g} of it, and no row here is of that cell".format
policy_unmeasured = "the policy demands a quality of {demanded}, and it was not measured".format

# Of the whole comparison.
raw_pairs = "raw pairs: {path}".format
energy_not_judged = "energy is not judged: {why}".format
not_deployable = "{cell}: {side} is not deployable: {why}".format
pairs_do_not_count = "{cell}: {count} of {pairs} pairs do not count: {why}".format
of_cell = "{cell}: {note}".format


def beyond_limit(metric: str, value: float, limit: float, better: str) -> str:
    return f"{metric} {value:.4g} {'<' if better == 'higher' else '>'} {limit:g}"
