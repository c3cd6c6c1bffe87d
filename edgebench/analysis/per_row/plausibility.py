"""Checks whether measured numbers can be true, given the machine, each other and the request.

Judged is what a row of a run or a side of an A/B claims, by the processes behind it.

Nothing here knows a backend. Times are compared with times of the same processes, and a finding needs more
replicates that show it than not, or one that shows it and is far faster than all that do not: a busy machine
strikes no honest row, and a backend that begins to cheat late is seen. What every process would
show alike (what a machine can compute at most, which precision ran) needs no second look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from edgebench.analysis.per_row.answer_cache import far_faster
from edgebench.analysis.per_row.minimum_time import least_ns
from edgebench.analysis.table_types import Row
from edgebench.backend import Effective, Scalar, computes_itself
from edgebench.calibration import Calibration
from edgebench.record import OutputCheck, Reason, Record, Replicate, Work, runs_of_query
from edgebench.words import unknown_words
from edgebench.words.reason_words import reason

#: Preparing and reading a query may take this many times what copying its arrays takes, or this many times
#: what the answer itself takes: more of both is work that the measured call left to others.
MAX_COPIES = 12
MAX_HANDLING_RATIO = 3
#: The same query in the pipeline takes longer, its data is cold; but not so much.
MAX_PIPELINE_RATIO = 20
#: Where a record does not tell what copying costs.
MAX_UNEXPLAINED_RATIO = 100
#: Threads that want a core, over those that were told: they overlap a little where one wakes another, by
#: one more where the calling thread hands the work on, which it does where it sleeps for this share.
MAX_THREAD_RATIO = 1.5
#: Shorter windows tell nothing of threads: those of a library may spin for a while after their last work.
MIN_COUNTED_NS = 50_000_000
MIN_HANDED_ON_SHARE = 0.05
#: Of CPU time, in other processes; of memory likewise, where their interpreters alone take some.
MAX_CHILD_CPU_SHARE = 0.05
MAX_CHILD_MEMORY_SHARE = 0.25
#: A backend that says that it computes on the CPU wants a core for at least this share of a closed loop.
MIN_RUNNABLE_SHARE = 0.25
#: Two clocks of one machine differ by at most this share (what time daemons slew), and by so much where a
#: process is interrupted between two looks.
MAX_CLOCK_RATIO = 1.25
MAX_CLOCK_GAP_NS = 50_000_000
#: Rounding in fp32, by other kernels in another order, stays below the first or below so many times what
#: was seen of it; bf16, fp16 and TF32 are above 1.5e-4 where nothing averages them out.
MIN_REDUCED_ERROR = 1e-4
MAX_ROUNDINGS = 30


class Claim(NamedTuple):
    """Holds what a row of a run, or a side of an A/B, claims about its processes."""

    query_ns: float | None  # what a query takes, typically
    variant: Mapping[str, Scalar]
    effective: Effective | None
    scenario: str = "single_stream"
    rate_per_s: float | None = None
    generates: bool = False
    work: Work | None = None  # of one run of the model; None: not counted
    machine: Mapping[str, Any] = MappingProxyType({})  # facts of the device
    calibration: Calibration | None = None
    #: No query of any process took less; None: each process tells its own.
    fastest_ns: int | None = None


Finding = Callable[[Replicate, Claim], Reason | None]


def impossible(row: Row, record: Record) -> list[Reason]:
    """Why the row's numbers cannot be what they say: such a row is invalid."""
    if record.imported is not None:
        return []
    sound = [r for r in record.replicates if r.status == "ok" and r.superseded_by is None]
    claim = _claim_of(row, record)
    return [*stated_falsely(claim, sound), *shown_falsely(claim, sound)]


def stated_falsely(claim: Claim, replicates: Sequence[Replicate]) -> list[Reason]:
    """Returns what every process would show alike."""
    faults = (_too_fast(claim), _reduced(replicates, claim))
    return [fault for fault in faults if fault is not None]


def shown_falsely(claim: Claim, replicates: Sequence[Replicate]) -> list[Reason]:
    """Returns what times and counts of single processes show."""
    faults = (
        of_most(replicates, claim, finding)
        for finding in (_moved, _clocks, _helped, _threads, _elsewhere)
    )
    return [fault for fault in faults if fault is not None]


def _claim_of(row: Row, record: Record, calibration: Calibration | None = None) -> Claim:
    query_ns: float | None = row.latency_ns.p50
    if row.paced is not None:
        query_ns = row.paced.service_p50_ns
    batch = row.variant.get("batch", 1)
    if query_ns is None and row.throughput_per_s and isinstance(batch, int):
        query_ns = round(batch * 1e9 / row.throughput_per_s)
    return Claim(
        query_ns=query_ns and query_ns / runs_of_query(row.scenario, row.variant),
        variant=row.variant,
        effective=row.effective,
        scenario=row.scenario,
        rate_per_s=row.rate_per_s,
        generates=row.generate is not None,
        work=record.model.work if record.model is not None else None,
        machine=record.device.facts,
        calibration=calibration,
        fastest_ns=row.latency_ns.minimum if row.paced is None else None,
    )


def within_ceilings(record: Record, calibration: Calibration | None) -> Record:
    """The record as it was, or invalid: what `edgebench calibrate` measured bounds a machine closer than
    its class does."""
    if calibration is None or record.status != "ok":
        return record
    # It brings numpy, which a run's parent does not need before.
    from edgebench.analysis.per_row.row_from_record import row_of

    fault = _too_fast(_claim_of(row_of(record), record, calibration))
    if fault is None:
        return record
    return msgspec.structs.replace(record, status="invalid", reasons=[*record.reasons, fault])


def unlike_asked(variant: Mapping[str, Scalar], effective: Effective | None) -> list[Reason]:
    """Returns what ran where, or how, nobody had asked for it: its numbers would stand under another's name."""
    if effective is None:
        return []
    return [
        *_precision(variant, effective),
        *_threads_asked(variant, effective),
        *_device(variant, effective),
    ]


def of_most(replicates: Sequence[Replicate], claim: Claim, finding: Finding) -> Reason | None:
    """Returns what more than half of the replicates show, or some that are far faster than all others; in the words
    of the first."""
    faults = [finding(each, claim) for each in replicates]
    first = next((fault for fault in faults if fault is not None), None)
    if first is None:  # of nearly every row
        return None
    doubted = [each for each, fault in zip(replicates, faults, strict=True) if fault is not None]
    others = [each for each, fault in zip(replicates, faults, strict=True) if fault is None]
    most = len(doubted) > len(others)
    return first if most or far_faster(doubted, others) else None


# --- against the machine


def _too_fast(claim: Claim) -> Reason | None:
    query_ns, work, told = claim.query_ns, claim.work, claim.effective
    if query_ns is None or work is None or told is None or claim.generates:
        return None
    asked = str(claim.variant.get("precision", ""))
    least = least_ns(work, told, claim.machine, asked, claim.calibration)
    if least is None or query_ns >= least.ns:
        return None
    return reason(
        f"faster_than_the_machine.{least.who}",
        query_ns=query_ns,
        least_ns=least.ns,
        cores=least.cores,
        what=least.what,
        amount=least.amount,
    )


def unproven_precision(row: Row, record: Record) -> str:
    """Why the precision that a row says it computes in is not shown by its answers; "": it is, or is not
    fp32. On accelerators runtimes count TF32 as fp32: such a row is no lie, and is not known to be fp32."""
    if record.imported is not None or row.effective is None:
        return ""
    if computes_itself(row.effective.device):
        return ""  # there `_reduced` strikes it
    replicates = [each for each in record.replicates if each.status == "ok"]
    check = _beyond_rounding(replicates, _claim_of(row, record))
    if check is None:
        return ""
    return unknown_words.unproven_precision(
        error=check.relative_error, rounding=check.rounding or 0.0
    )


def _reduced(replicates: Sequence[Replicate], claim: Claim) -> Reason | None:
    """Says fp32, and is off the reference by more than fp32 rounds. On accelerators runtimes count TF32 as
    fp32, so there it is unproven alone."""
    check = _beyond_rounding(replicates, claim)
    if check is None or claim.effective is None or not computes_itself(claim.effective.device):
        return None
    return reason("reduced_precision", error=check.relative_error, rounding=check.rounding or 0.0)


def _beyond_rounding(replicates: Sequence[Replicate], claim: Claim) -> OutputCheck | None:
    """The check of outputs that lie further off than rounding in fp32 explains, of a row that says fp32."""
    checks = [each.output_check for each in replicates if each.output_check is not None]
    check = next((c for c in checks if c.against not in ("replicate 0", "itself")), None)
    found = claim.effective
    asked = claim.variant.get("precision", "as-is") in ("fp32", "as-is")
    if check is None or check.rounding is None or found is None or not asked:
        return None
    if found.precision not in ("fp32", None):
        return None
    within = check.relative_error <= max(MIN_REDUCED_ERROR, MAX_ROUNDINGS * check.rounding)
    return None if within else check


# --- against each other


def _moved(replicate: Replicate, claim: Claim) -> Reason | None:
    """Work before or after the measured call, or a call that is fast in the measured loop alone."""
    served = replicate.paced.service_ns if replicate.paced is not None else replicate.samples_ns
    if not served or claim.generates:
        return None
    handled = _handled(replicate)
    if handled is None:
        return _unexplained(replicate, claim, served)
    fastest_ns = _fastest_ns(claim, served)
    copies_ns = MAX_COPIES * max(median(handled.copy_ns), 1)
    prepare_ns, read_ns = min(handled.prepare_ns), min(handled.read_ns)
    ran_ns = min(handled.ran_ns)
    if prepare_ns + read_ns <= max(copies_ns, MAX_HANDLING_RATIO * fastest_ns) and ran_ns <= max(
        copies_ns, MAX_PIPELINE_RATIO * fastest_ns
    ):
        return None
    p50_ns = median(served)
    if prepare_ns + read_ns > max(copies_ns, MAX_HANDLING_RATIO * p50_ns):
        return reason(
            "moved_work.handling",
            query_ns=p50_ns,
            prepare_ns=prepare_ns,
            read_ns=read_ns,
            copy_ns=median(handled.copy_ns),
        )
    if ran_ns > max(copies_ns, MAX_PIPELINE_RATIO * p50_ns):
        return reason("moved_work.elsewhere", query_ns=p50_ns, elsewhere_ns=ran_ns)
    return None


def _fastest_ns(claim: Claim, served: Sequence[int]) -> int:
    """A bound from below, found at once, where the median of thousands takes its time."""
    return claim.fastest_ns if claim.fastest_ns is not None else min(served)


class _Handled(NamedTuple):
    """Queries outside of the measured window: the time of the call, and of the work around it."""

    prepare_ns: Sequence[int]
    read_ns: Sequence[int]
    copy_ns: Sequence[int]
    ran_ns: Sequence[int]


def _handled(replicate: Replicate) -> _Handled | None:
    """Of the pipeline, where other threads may have to be woken first, of the closed loop of never-seen
    inputs and those of the pool, and the readings of the check of completion: a busy moment that all
    queries of a short pipeline met is not met by all of them. None where nothing tells what copying costs."""
    split, unseen, completed = replicate.pipeline, replicate.unseen, replicate.completion
    split_told = split is not None and split.copy_ns and split.prepare_ns and split.read_ns
    if not split_told and not (unseen is not None and unseen.copy_ns):
        return None
    again_ns = [*unseen.pool_ns, *unseen.unseen_ns] if unseen is not None else []
    prepare_ns = list(unseen.prepare_ns) if unseen is not None else []
    read_ns = list(completed.first_read_ns) if completed is not None else []
    copy_ns = list(unseen.copy_ns) if unseen is not None else []
    if split is not None and split_told:
        again_ns += [
            whole - read for whole, read in zip(split.inference_ns, split.read_ns, strict=True)
        ]
        prepare_ns += split.prepare_ns
        read_ns += split.read_ns
        copy_ns = list(split.copy_ns)
    if not (prepare_ns and read_ns and copy_ns):
        return None
    return _Handled(prepare_ns, read_ns, copy_ns, again_ns)


def _unexplained(replicate: Replicate, claim: Claim, served: Sequence[int]) -> Reason | None:
    """An older record: by the pipeline as a whole."""
    split = replicate.pipeline
    alone = claim.effective is not None and claim.effective.threads == 1  # nobody to wake up first
    if split is None or not split.inference_ns or not alone:
        return None
    inference_ns = min(split.inference_ns)
    if inference_ns <= MAX_UNEXPLAINED_RATIO * _fastest_ns(claim, served):
        return None
    p50_ns = median(served)
    if inference_ns <= MAX_UNEXPLAINED_RATIO * p50_ns:
        return None
    return reason("moved_work.pipeline", query_ns=p50_ns, pipeline_ns=inference_ns)


def _clocks(replicate: Replicate, claim: Claim) -> Reason | None:
    """The window by the clock that timed it, by the machine's, and by the one that nothing slews."""
    counted, start, end = replicate.accounts, replicate.window_start_ns, replicate.window_end_ns
    if not replicate.window_ns or start is None or end is None or claim.scenario == "sustained":
        return None  # the window of a sustained load is a part of what was watched
    pairs = [(replicate.window_ns, end - start)]
    if counted is not None and counted.raw_ns:
        pairs.append((end - start, counted.raw_ns))
    wrong = [(one, other) for one, other in pairs if _differ(one, other)]
    if not wrong:
        return None
    one, other = wrong[0]
    return reason("clock_disagrees", window_ns=one, other_ns=other)


def _differ(one: int, other: int) -> bool:
    short, long = sorted((one, other))
    return long > MAX_CLOCK_RATIO * short + MAX_CLOCK_GAP_NS


# --- against what the kernel counted


def _helped(replicate: Replicate, claim: Claim) -> Reason | None:
    counted, memory = replicate.accounts, replicate.memory
    if counted is None or not counted.children:
        return None
    child_ns, own_ns = counted.child_cpu_ns or 0, replicate.cpu_ns or 0
    child_bytes, own_bytes = counted.child_bytes or 0, (memory and memory.peak_bytes) or 0
    works = child_ns > MAX_CHILD_CPU_SHARE * (child_ns + own_ns)
    if not works and child_bytes <= MAX_CHILD_MEMORY_SHARE * own_bytes:
        return None
    return reason(
        "helper_process",
        processes=counted.children,
        helpers_ns=child_ns,
        own_ns=own_ns,
        helpers_bytes=child_bytes,
    )


def _threads(replicate: Replicate, claim: Claim) -> Reason | None:
    counted = replicate.accounts
    told = claim.effective.threads if claim.effective is not None else None
    if counted is None or counted.runnable_ns is None or told is None:
        return None
    if counted.wall_ns < MIN_COUNTED_NS:
        return None
    if replicate.generate is not None and replicate.generate.draft_sha256:
        # A draft's session has helpers of its own, which spin while the other computes.
        told += told - 1
    if replicate.paced is not None:
        told *= replicate.paced.workers
    busy_threads = (counted.runnable_ns + (counted.child_cpu_ns or 0)) / counted.wall_ns
    handed_on = (counted.asleep_ns or 0) > MIN_HANDED_ON_SHARE * counted.wall_ns
    if busy_threads <= MAX_THREAD_RATIO * told + handed_on:
        return None
    return reason("threads_beyond_told", busy=busy_threads, told=told)


def _elsewhere(replicate: Replicate, claim: Claim) -> Reason | None:
    """Says `cpu`, and hardly wants one: somebody else computes. Pages from storage explain a sleep."""
    counted = replicate.accounts
    device = claim.effective.device if claim.effective is not None else ""
    closed = claim.rate_per_s is None and claim.scenario in (
        *("single_stream", "multi_stream", "offline", "generate"),
    )
    if counted is None or counted.runnable_ns is None or device != "cpu" or not closed:
        return None
    share = (counted.runnable_ns + (counted.child_cpu_ns or 0)) / max(counted.wall_ns, 1)
    if share >= MIN_RUNNABLE_SHARE or counted.major_faults or counted.suspended_ns:
        return None
    return reason("computed_elsewhere", share=share)


# --- against what was asked


def _precision(variant: Mapping[str, Scalar], effective: Effective) -> Iterator[Reason]:
    asked = str(variant.get("precision", "as-is")).partition("-")[0]
    if asked.startswith("mixed:") and effective.precision == "int8":
        return  # its map leaves only light operators in fp32
    mixed = effective.precision == "mixed" and asked != "fp32"
    if asked == "as" or effective.precision in (asked, None) or mixed or _by_option(variant):
        return
    yield reason("precision_not_as_asked", asked=asked, ran=str(effective.precision))


def _by_option(variant: Mapping[str, Scalar]) -> bool:
    """Whether the variant itself asks for another precision by an option of the runtime."""
    return any(
        value and any(part in name for part in ("precision", "fp16", "bf16", "activations"))
        for name, value in variant.items()
        if name != "precision"
    )


def _threads_asked(variant: Mapping[str, Scalar], effective: Effective) -> Iterator[Reason]:
    asked = variant.get("threads")
    if isinstance(asked, bool) or not isinstance(asked, int) or asked < 1:
        return
    if effective.threads in (asked, None):
        return
    yield reason("threads_not_as_asked", asked=asked, ran=effective.threads)


def _device(variant: Mapping[str, Scalar], effective: Effective) -> Iterator[Reason]:
    kinds = [part[:3].lower() for part in effective.device.split("+")]
    asked = str(variant.get("device", ""))[:3].lower()  # "GPU.1" and "gpu:0" are two ways to say it
    if asked not in ("cpu", "gpu", "npu") or asked in kinds:
        return
    yield reason("device_not_as_asked", asked=variant["device"], ran=effective.device)
