"""Words for what to know of a table, a front, a choice or a comparison beside its numbers.

What has a name in small letters takes data, by the names in its braces.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

# Of tables.
RUNS_OF_ONE_DEVICE = (
    "the table holds several runs of one device (run1, run2 by their ids): a machine drifts between runs, and the "
    "intervals do not cover that drift"
)
NO_ROUNDS = (
    "some results do not say in which rounds they were measured: their rows are compared as if they were independent, "
    "which makes intervals of ratios wider"
)

# Of fronts and choices.
RUNS_COMPETE = "rows of several runs compete: the intervals do not hold drift between runs"
ENERGY_MODELLED = "its energy is modelled, not measured"
SAME_VALUES = "all rows have the same values"
NEEDS_MOOCORE = "so large a front needs moocore: pip install 'edgebench[analysis]'"
ONE_WITHOUT_INTERVAL = "one of the two has no interval"
EQUAL_MEMORY = "peaks of memory that differ by less than 1 % count as equal"
UNKNOWN_FOR_SOME = "unknown for some rows"
MODELLED = "modelled, not measured"
ONE_METER = "energies of another kind or scope are other quantities: a series has those of its newest run alone"
RUNS_WITHOUT_COMMIT = "{} left out: no commit is noted"
PREDICTIONS = "predictions are never ranked and never a baseline"
PREDICTION = "a prediction, modelled and not measured: it is never ranked and never a baseline"
OTHER_QUALITY_METRICS = "the rows are judged by different metrics"
ONE_BATCH_SIZE = "all queries are of one batch size"

# Of one more minute of measurement.
MANY_ROWS = "too many rows compete"
ONE_REPLICATE = "rows with one replicate need a second one first"
NO_DURATION = "the rows do not say how long a replicate takes"
NOTHING_NARROWS = "more replicates narrow neither a peak of memory nor a meter's error"

# Of rooflines.
BELOW_WATERLINE = "faster than the waterline: tensors stay in the caches, or the ceilings were measured on a busier machine"
ceilings_while = "{device}: the ceilings were measured while: {state}".format

# Of comparisons.
DRIFT = (
    "ratios across separate runs contain the drift of the machine between them, which their intervals do not hold: "
    "`edgebench gate` judges regressions"
)
NO_ENVIRONMENT = "Parquet does not hold the environment: compare the result files for that"
NO_REASON = "no reason was recorded"
#: Code -> what differs.
DIFFERS = {
    "workload_version_differs": "version of the workload",
    "quality_metric_differs": "quality is",
    "effective_precision_differs": "what ran is",
    "recipe_differs": "the recipe of static quantisation is",
    "inputs_differ": "inputs are",
}

facts_differ = "{device}: facts differ between runs: {names}".format
device_limits = "{device}: limits of its entry {entry}: {limits}".format
energies_differ = "kind or scope differ between rows ({origins})".format
before_the_run = "before the run, {what}, {evidence}".format
lower_is_better = "{metric} is an error: lower is better, and quality:max takes the lowest".format
lowest_is_best = "{metric} is an error: the lowest is the best".format
share_of_an_error = "{metric} is an error: {limit} holds up to fp32 / {share:g}".format
no_objective = "{metric} is not an objective: {why}".format
other_inputs = "rows that compete were given different inputs ({hashes} hashes)".format
origin_of_energy = "{kind} of {scope}".format
unknown_of_row = "{metric} is unknown: {why}".format
fit_can_be_measured = (
    "to know whether they fit, measure them with edgebench run --memory-budget {size}".format
)
no_fp32_row = "{limit}: {some} of {rows} rows have no fp32 row that tells it".format
replaced_row = "a later row in {side} stands for it (this one is of run {run})".format
missing_in = "not in {side}".format


def counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def reported_rows(count: int, tool: str) -> str:
    return (
        f"{counted(count, 'row')} reported by {tool}, not measured by edgebench: without samples a number has no "
        "interval and is compared as a point; <= marks an upper bound that stands for a percentile"
    )


def slower_than_fp32(  # numbers of one finding
    precision: str, family: str, slower: int, pairs: int, ratios: tuple[float, float], points: bool
) -> str:
    """`ratios`: the best and the worst of all pairs; `points`: some pairs have no interval."""
    of_pairs = f"all {pairs}" if slower == pairs else f"{slower} of {pairs}"
    return (
        f"reduced precision not faster: {precision} is slower than fp32 in {of_pairs} {family} "
        f"pair{'s' if pairs != 1 else ''} ({ratios[0]:.2f}x to {ratios[1]:.2f}x the time"
        f"{', by reported values' if points else ''})"
    )


def unknown_of_rows(metric: str, some: int, rows: int, why: Iterable[str]) -> str:
    return f"{metric} is unknown of {some} of {rows} rows: {'; '.join(why)}"


def ran_otherwise(
    count: int, backend: str, what: str, ran: tuple[str, str], sides: tuple[str, str]
) -> str:
    cells = f"{counted(count, 'cell')} of {backend}"
    return f"{cells} ran with {what} {ran[0]} in {sides[0]} and {ran[1]} in {sides[1]}"


def energy_of_sides(origins: tuple[str, str], sides: tuple[str, str]) -> str:
    return f"{origins[0]} in {sides[0]}, {origins[1]} in {sides[1]}"


def values_differ(code: str, values: tuple[str, str], sides: tuple[str, str]) -> str:
    """`code`: one of `DIFFERS`."""
    return f"{DIFFERS[code]} {values[0]} in {sides[0]} and {values[1]} in {sides[1]}"


def uncounted_work(layers: Mapping[str, int], share: float | None) -> str:
    """`layers`: operator whose work is not known -> how many; `share`: their part of all bytes."""
    which = ", ".join(f"{count}x {op}" for op, count in sorted(layers.items()))
    part = "" if share is None else f", {share:.1%} of the bytes"
    return f"not counted: {which}{part}: operations are at least what is shown"


def outside_budget(spent_s: Mapping[str, float]) -> str:
    """`spent_s`: what was done -> the seconds that it took; "" where none took one."""
    told = [f"{what} took {spent:.0f} s" for what, spent in spent_s.items() if spent >= 1]
    return f"{' and '.join(told)}, which the budget does not count" if told else ""


def state_of_row(status: str, messages: Iterable[str], nothing: str) -> str:
    """The reasons of a row that does not compete, after its status where that is not ok."""
    why = "; ".join(messages) or nothing
    return why if status == "ok" else f"{status}: {why}"


# Of companions.
NO_MEMORY_FOR_COMPANION = "there is no memory left for it"


def copies_reach(bytes_per_s: float) -> str:
    return f"one process reaches {bytes_per_s / 1e9:.1f} GB/s alone"


# Of waits before a measurement.
quiet_after = "the machine is quiet after {waited_s:.0f} s".format
waits_for_quiet = "waiting for a quiet machine: {busy}".format
never_quiet = "the machine was not quiet within {limit_s:g} s ({busy}): measuring anyway".format
others_busy = "others use {share:.0%} of the CPUs".format
stolen = "{share:.1%} of the CPU time was stolen".format
tasks_waited = "tasks waited for a CPU {percent:.0f} % of the time".format
cools = "cooling down: {heat_c:.0f} C, waiting for {limit_c:g} C".format
stays_hot = (
    "the chip has {heat_c:.0f} C after {waited_s:.0f} s, not {limit_c:g} C: measuring anyway".format
)
no_heat = "--cool-to waits for nothing: {why}".format
