"""Words for why a field of a row is null (`Row.unknown`), and for why a quality, a rate or a load is not what was asked.

What has a name in small letters takes data, by the names in its braces.
"""

from __future__ import annotations

from edgebench.record import Limit

# Of a whole row.
NOT_MEASURED = "not measured"
NOT_MEASURED_EACH = "not measured in every replicate"
NOTHING_MEASURED = "nothing was measured"
NO_REPLICATE = "no replicate is ok"
NOT_RECORDED = "not recorded"
NOT_RANKED = "not ranked"
BY_EDGEBENCH = "measured by edgebench"
NO_COMMIT = "the run was started in no git checkout, or by an edgebench that noted none"
NO_SESSION_REPORT = "the session did not report it"
UNTOLD_BY_RUNTIME = "the runtime does not tell"
UNTOLD_BY_SYSTEM = "the system does not tell"
UNTOLD_BY_SOURCE = "the source does not tell"
UNKNOWN = "unknown"

# Of latency, throughput and their intervals.
OFFLINE_LATENCY = "offline: one query holds many items, and has no latency of its own"
OFFLINE_INTERVAL = "offline: the interval is that of the throughput"
NO_WINDOW = "the length of the window was not recorded"
NO_TARGET = "the record states no target"
NO_INTERVAL = "there is no interval"
NO_INTERVAL_OR_TARGET = "there is no interval, or no target"
MEASURED_ZERO = "a replicate measured 0"

# Of the comparison with fp32 and of fronts.
NO_FP32_ROW = "no fp32 row to compare with"
FP32_ROW = "this is an fp32 row"
ROW_NOT_MEASURED = "the row was not measured"
INTERVAL_OF_BOTH = "an interval needs 2 replicates of both rows"
OPEN_WITHOUT_INTERVALS = "rows without an interval leave it open"

# Of loads.
CLOSED_LOOP = "a closed loop: each query starts when the one before is done"
NO_RATE_SOUGHT = "no rate was sought"
RATE_SOUGHT = "it was sought: see rate_search"
PROCESS_OVER_BOUND = "p99 of a process is over the bound"
UPPER_OVER_BOUND = "the upper confidence bound of p99 is over the bound"
MEASURED_ALONE = "it was measured alone"
NO_MISSES = "no counter of cache misses was read"
FEW_BLOCKS = "too few blocks or queries"
NO_WORST_CASE = "no slowest input was sought: --worst-case"
NO_METER_READ = "no meter of energy read during the search"
NO_ANSWER_TEXT = "its answer is no text"
TIME_OF_0 = "a time of 0 was measured"
QUERIES_NOT_KEPT = "our times of LoadGen's queries were not all kept"
NO_LOADGEN = "LoadGen was not asked for: --loadgen"
NOT_FOR_CALLGRIND = "text and streams are not counted by callgrind"
NO_TIME_TO_COUNT = "the budget left no time to count: raise --budget"
ONE_SHAPE = "it was measured at one shape: --shape-sequence"
FEW_QUERIES = "too few queries or processes"
NO_STREAM = "not the scenario stream"
NO_RECOVERY = "it did not catch up after it was stopped"
STATE_INSIDE = "the model keeps its state itself"
NO_SUSTAINED = "not the scenario sustained"
NO_THROTTLING = "it did not slow down by more than 5 % for good"
BEGAN_HOT = "the first process, which alone starts cool, does not count"
NO_UNSEEN_INPUTS = "no never-seen inputs were timed"

# Of instructions.
INSTRUCTIONS_NOT_COUNTED = "not counted in this scenario, or by an edgebench that counted none"
CALLGRIND_NOT_ASKED = "not asked for: --instructions callgrind"

# Of energy.
NO_ENERGY = "energy was not measured"
UNKNOWN_ENERGY = "the energy is unknown"
NO_IDLE_POWER = "idle power was not measured"
WINDOW_LONG_ENOUGH = "the window was long enough"
NO_ESTIMATE = "no estimate was asked for"
TRACE_IN_REPLICATES = "the replicates have it"
SINGLE_PROCESS = "a single process"

# Of memory, the model file and the power mode.
NO_MEMORY_BUDGET = "it was held to no budget of memory"
FAILED_WITHIN_BUDGET = "one of its processes failed"
BUDGET_WITHOUT_FILES = "its pages of files did not count: no control group could be made"
NO_MEMORY_SOURCE = "no source for it"
NO_MODEL_FILE = "no model file was made or found"
NOT_BUILT = "the file was used unchanged, or taken from the cache"
NOT_COUNTED = "not counted: no ONNX graph, or a record of an earlier version"
OPEN_SHAPES = "some shapes are open"
NO_POWER_MODE = "it was not set for this cell: see the device's facts"

# Of quality.
NO_LIMIT = "no limit is set"
LIMITS_NOT_MEASURED = "not measured, or reported without a limit"
QUALITY_OUT_OF_TIME = "the budget ended before it could be measured"
QUALITY_FAILED = "the quality check did not pass"

# Of generated text.
PLAIN_DECODING = "plain decoding"
NO_TEXT = "the scenario generates no text"
ONE_TOKEN = "answers of one token have no interval"
ONE_TOKEN_STEP = "answers of one token have no step"
DRAFTED_UNTOLD = "the runtime does not tell what was drafted"
NOTHING_DRAFTED = "nothing was drafted"
NOT_COMPARED = "no prompt was answered both ways"
NO_DRAFT_MEMORY = "no decoder drafts, or its memory is not told"
NOTHING_ACCEPTED = "no token was accepted"

# Of other tools' results.
NO_LINES = "the form of the file is not told by lines"
#: Another tool's row has no samples: there such a reason only means that the tool does not tell.
OF_SAMPLES = frozenset(
    (NOTHING_MEASURED, NO_REPLICATE, NOT_MEASURED, NOT_MEASURED_EACH, LIMITS_NOT_MEASURED)
)

# Of rooflines.
NO_WORK_COUNTED = "the record holds no count of the model's work"
NO_CALIBRATION = "no calibration of this device: `edgebench calibrate`"
NO_WORK = "the model has no work that is counted"
NO_INTERVAL_OF_PEAK = "the row or the peak has no interval"
NO_ROOFLINE = "no row was measured well enough"
no_time_of_run = "no time of a run: {why}".format
other_ceilings = "the ceilings are the CPU's, the row ran on {device}".format
no_ceiling = "no ceiling was measured for {precision} with {threads} threads".format

# Of test-time scaling.
NO_METERED_ENERGY = "no meter measured energy"
few_prompt_lengths = "needs 3 lengths of prompts, padded to {pad}, there are {lengths}".format
few_contexts = "needs steps at 2 lengths of context, there are {lengths}".format
not_ok = "the row is {status}".format

# Of columns that a reader chooses.
NO_SERIES = "records hold no series of it over time"
NOT_TRAINED = "nothing is trained"
NO_TOKENS = "the workload counts no tokens"
NO_MEAN_TIME = "a mean time per query follows from the rate of a closed loop alone"
NO_MODEL_SIZE = "the size of a model is unknown"
NO_QUALITY = "the quality of a row is unknown or 0"
OTHER_QUALITY = "the two are judged by different metrics"
QUALITY_IS_ERROR = "the quality is an error, the reward asks for a score"
no_column = "the file has no column {column}".format

# Of any of these.
unknown = "{name} is unknown".format
not_in_ranking = "{metric} is unknown, which the others are ranked by".format
no_result = "{status}: {message}".format
unproven_precision = (
    "unproven: outputs differ from the fp32 reference by {error:.2g}, where rounding in fp32 moves them by "
    "{rounding:.1g}"
).format
not_reported = "{tool} does not report it".format
no_reported_interval = "{tool} reports no interval".format
reported = "{what}; reported by {tool}, not derived from samples".format
p99_needs = "p99 needs {queries} queries".format
search_too_short = (
    "the meter needs windows so long that a search by energy takes {needed_s:.3g} s: --worst-case "
    "{needed_s:.3g}s"
).format
not_of_loadgen = "LoadGen states none of {scenario}, or there is a single process".format
given_up = "{waiting} waited until the load was given up".format
overloaded = "the work takes {load:.2g} times the time in which it comes".format
too_late = "{queries} came too late or never ran".format
quality_of_some = "whether {metric} holds is not known from {items} of {of} items".format


def few_samples(needed: int, count: int, of: str = "samples") -> str:
    return f"needs {needed} {of}, there are {count}"


def few_replicates(count: int, *, long: bool = False) -> str:
    """`long`: of those with enough samples for a percentile."""
    return (
        f"an interval needs 2 replicates{' with enough samples' if long else ''}, there are {count}"
    )


def value_and_limit(limit: Limit) -> str:
    """ "onset_f1 0.71 (limit 0.75)"."""
    value = UNKNOWN if limit.value is None else f"{limit.value:.4g}"
    bound = "" if limit.limit is None else f" (limit {limit.limit:.4g})"
    return f"{limit.metric} {value}{bound}"
