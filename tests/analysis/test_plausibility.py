"""Numbers that cannot be true keep a row out of every ranking; honest ones do not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from edgebench.analysis.per_row import plausibility
from edgebench.analysis.per_row.row_from_record import row_of
from edgebench.analysis.per_row.validity import judge
from edgebench.analysis.table_types import Row
from edgebench.backend import Effective
from edgebench.calibration import Calibration, Ceiling
from edgebench.record import (
    Accounts,
    Completion,
    Layer,
    Memory,
    OutputCheck,
    Pipeline,
    Record,
    Replicate,
    Unseen,
    Work,
)
from tests.records import generating, record, replicate, samples

MS, US = 1_000_000, 1_000
WINDOW_NS = 1000 * MS
MIB = 2**20


def counted(**changes: Any) -> Accounts:
    honest: dict[str, Any] = {
        "wall_ns": WINDOW_NS,
        "raw_ns": WINDOW_NS,
        "suspended_ns": 0,
        "waited_ns": 10 * MS,
        "asleep_ns": 0,
        "runnable_ns": WINDOW_NS,
        "children": 0,
        "child_cpu_ns": 0,
        "child_bytes": 0,
    }
    return Accounts(**(honest | changes))


def split(prepare_ns: int, run_ns: int, read_ns: int, copy_ns: int) -> Pipeline:
    """Five runs of a pipeline; the first of each is the least."""
    each = [1.0, 1.3, 1.1, 9.0, 1.2]

    def spread(least: int) -> list[int]:
        return [round(least * factor) for factor in each]

    return Pipeline(
        preprocess_ns=spread(2 * prepare_ns),
        inference_ns=[a + b for a, b in zip(spread(run_ns), spread(read_ns), strict=True)],
        postprocess_ns=spread(US),
        end_to_end_ns=spread(2 * prepare_ns + run_ns + read_ns + US),
        prepare_ns=spread(prepare_ns),
        read_ns=spread(read_ns),
        copy_ns=spread(copy_ns),
    )


def of(
    p50_ns: float, *, runs: int = 3, of_record: dict[str, Any] | None = None, **changes: Any
) -> Record:
    """A record whose replicates all show `changes`."""
    fields: dict[str, Any] = {
        "window_ns": WINDOW_NS,
        "window_start_ns": 5 * WINDOW_NS,
        "window_end_ns": 6 * WINDOW_NS,
        "cpu_ns": WINDOW_NS,
        "accounts": counted(),
    }
    replicates = [replicate(i, samples(p50_ns, 300, i), **(fields | changes)) for i in range(runs)]
    return record(replicates=replicates, **(of_record or {}))


def judged(made: Record) -> Row:
    return judge(row_of(made), made)


def codes(made: Record) -> list[str]:
    return [reason.code for reason in judged(made).reasons]


def worked(made: Record, flops: int, moved: int = MIB, isa: Any = ("avx2", "avx512f")) -> Record:
    assert made.model is not None
    work = Work(
        flops=flops,
        moved_bytes=moved,
        layers=[Layer(op="Conv", flops=flops, moved_bytes=moved)],
    )
    facts = {**made.device.facts, "isa": list(isa)}
    return msgspec.structs.replace(
        made,
        model=msgspec.structs.replace(made.model, work=work),
        device=msgspec.structs.replace(made.device, facts=facts),
    )


# --- against the machine


def test_a_latency_that_no_such_machine_reaches_is_invalid() -> None:
    # 60 million operations in 0.2 us would be 300 TFLOP/s of one core.
    false = worked(of(200), 60_000_000)
    row = judged(false)
    assert (row.status, row.ranked) == ("invalid", False)
    [reason] = row.reasons
    assert reason.code == "faster_than_the_machine"
    assert "6e+07 operations" in reason.message
    assert reason.fix


@pytest.mark.parametrize(
    ("flops", "p50_ns", "isa", "precision"),
    [
        (60_000_000, 600 * US, ["avx2", "avx512f"], "fp32"),
        # 48 operations a cycle at 5 GHz, five times as many by Winograd's algorithm.
        (1_200_000_000, 1 * MS, ["avx2", "avx512f"], "fp32"),
        (4_000_000_000, 1 * MS, ["amx_tile", "amx_int8", "avx512f"], "int8"),
        (60_000_000, 60 * US, None, "fp32"),  # a machine that lists no instruction set
        (60_000_000, 20 * US, ["asimd"], "int8"),
    ],
)
def test_latencies_that_good_kernels_reach_are_accepted(
    flops: int, p50_ns: int, isa: list[str] | None, precision: str
) -> None:
    made = worked(of(p50_ns), flops, isa=isa or ())
    assert made.effective is not None
    told = msgspec.structs.replace(made.effective, precision=precision)
    assert codes(msgspec.structs.replace(made, effective=told)) == []


def test_bytes_bound_a_latency_as_well() -> None:
    assert codes(worked(of(2 * US), 1000, 400 * MIB)) == ["faster_than_the_machine"]


def test_an_accelerator_has_ceilings_too() -> None:
    gpu = Effective(device="gpu:0", precision="fp16")
    real = worked(of(20 * US), 10**10)
    assert codes(msgspec.structs.replace(real, effective=gpu)) == []
    false = worked(of(200), 10**13)
    assert codes(msgspec.structs.replace(false, effective=gpu)) == ["faster_than_the_machine"]


def test_a_rate_of_batches_is_held_to_the_same() -> None:
    from tests.records import offline

    made = record(scenario="offline", replicates=[offline(i, per_s=1e9) for i in range(3)])
    assert codes(worked(made, 60_000_000)) == ["faster_than_the_machine"]
    slow = record(scenario="offline", replicates=[offline(i) for i in range(3)])
    assert codes(worked(slow, 60_000_000)) == []


def calibrated(per_s: float, state: list[Any]) -> Calibration:
    ceiling = Ceiling(
        what="gemm_fp32",
        threads=1,
        per_s=per_s,
        low_per_s=None,
        high_per_s=None,
        of_processes_per_s=[per_s],
        detail="",
    )
    return Calibration(
        device=record().device,
        started_utc="",
        edgebench="",
        onnxruntime="",
        state=state,
        ceilings=[ceiling],
    )


def test_a_calibrated_machine_is_known_more_closely() -> None:
    from edgebench.record import StateCheck

    made = worked(of(100 * US), 200_000_000)  # 2 TFLOP/s, below what its class could do
    assert plausibility.within_ceilings(made, None).status == "ok"
    assert plausibility.within_ceilings(made, calibrated(1e11, [])).status == "invalid"
    assert plausibility.within_ceilings(made, calibrated(4e11, [])).status == "ok"
    # Ceilings that were measured on a busy machine bound nothing.
    busy = [StateCheck(name="load", level="warn", evidence="3.0")]
    assert plausibility.within_ceilings(made, calibrated(1e11, busy)).status == "ok"


# --- against each other


@pytest.mark.parametrize(
    "pipeline",
    [
        split(600 * US, 300, 2 * US, 4 * US),  # in prepare
        split(US, 300, 600 * US, 4 * US),  # in reading
        split(300 * US, 300, 300 * US, 4 * US),  # half in either
        split(US, 600 * US, 2 * US, 4 * US),  # fast in the measured loop alone
    ],
)
def test_work_that_moved_shows_in_the_sum(pipeline: Pipeline) -> None:
    unseen = Unseen(pool_ns=[700 * US] * 6, unseen_ns=[720 * US] * 6, caching=False)
    made = of(200, pipeline=pipeline, unseen=unseen)
    row = judged(made)
    assert ([reason.code for reason in row.reasons], row.status) == (["moved_work"], "invalid")
    assert row.reasons[0].fix


def test_handling_that_took_long_in_one_process_is_a_busy_moment() -> None:
    """The call itself took as long as in the others."""
    fast, slow = split(US, 600 * US, 2 * US, 4 * US), split(5 * MS, 600 * US, 2 * US, 4 * US)
    first, second, third = of(600 * US, pipeline=fast).replicates
    busy = msgspec.structs.replace(first, pipeline=slow)
    assert codes(record(replicates=[busy, second, third])) == []


@pytest.mark.parametrize(("read_ns", "struck"), [(25 * US, False), (250 * US, True)])
def test_a_short_pipeline_that_others_kept_waiting_is_a_busy_moment(
    read_ns: int, struck: bool
) -> None:
    """As ncnn was seen on a loaded machine: five queries, all of them slow, beside readings that were not."""
    unseen = Unseen(
        pool_ns=[60 * US] * 6,
        unseen_ns=[60 * US] * 6,
        caching=False,
        prepare_ns=[20 * US] * 6,
        copy_ns=[8 * US] * 6,
    )
    completion = Completion(
        first_read_ns=[read_ns] * 6, second_read_ns=[20 * US] * 6, deferred=False
    )
    busy = split(66 * US, 120 * US, max(189 * US, read_ns), 15 * US)
    made = of(63 * US, runs=1, pipeline=busy, unseen=unseen, completion=completion)
    assert codes(made) == (["moved_work"] if struck else [])


@pytest.mark.parametrize(
    ("prepare_ns", "read_ns", "run_ns", "struck"),
    [
        (620 * US, 2 * US, 300, True),  # in prepare
        (US, 620 * US, 300, True),  # in reading
        (US, 2 * US, 620 * US, True),  # fast in the measured loop alone
        (US, 2 * US, 300, False),  # in another way, which is for others to see
    ],
)
def test_work_that_moves_after_the_first_replicates_is_seen_without_a_pipeline(
    prepare_ns: int, read_ns: int, run_ns: int, struck: bool
) -> None:
    def later(p50_ns: int, prepare_ns: int, read_ns: int, run_ns: int) -> Replicate:
        made = of(
            p50_ns,
            pipeline=None,
            unseen=Unseen(
                pool_ns=[run_ns] * 3,
                unseen_ns=[run_ns] * 3,
                caching=False,
                prepare_ns=[prepare_ns] * 3,
                copy_ns=[4 * US] * 3,
            ),
            completion=Completion(
                first_read_ns=[read_ns] * 3, second_read_ns=[read_ns] * 3, deferred=False
            ),
        )
        return made.replicates[0]

    first = of(600 * US, pipeline=split(US, 600 * US, 2 * US, 4 * US)).replicates[0]
    honest = later(600 * US, US, 2 * US, 600 * US)
    cheats = later(200, prepare_ns, read_ns, run_ns)
    made = record(replicates=[first, honest, cheats])
    assert codes(made) == (["moved_work"] if struck else [])
    assert codes(record(replicates=[first, honest, honest])) == []


@pytest.mark.parametrize(
    ("p50_ns", "pipeline"),
    [
        # As seen of ncnn, MLX and OpenVINO on a tiny model, on a machine with three times as many
        # tasks as cores.
        (21 * US, split(26 * US, 40 * US, 45 * US, 12 * US)),
        (25 * US, split(29 * US, 50 * US, 11 * US, 5 * US)),
        (2 * US, split(500, 4 * US, 3 * US, 4 * US)),
        (19 * US, split(5 * US, 46 * US, 11 * US, 5 * US)),
    ],
)
def test_copying_arrays_is_not_moved_work(p50_ns: int, pipeline: Pipeline) -> None:
    assert codes(of(p50_ns, pipeline=pipeline)) == []


def test_threads_that_must_be_woken_first_are_no_moved_work() -> None:
    """As seen of ncnn on a busy machine: 59 us in a closed loop, 111 ms after each pause."""
    made = of(59 * US, pipeline=split(9 * US, 111 * MS, 20 * US, 7 * US))
    assert codes(made) == []


def test_a_record_that_does_not_tell_what_copying_costs_is_judged_by_the_whole() -> None:
    def older(inference_ns: int) -> Pipeline:
        return Pipeline(
            preprocess_ns=[US] * 5,
            inference_ns=[inference_ns] * 5,
            postprocess_ns=[US] * 5,
            end_to_end_ns=[inference_ns + 2 * US] * 5,
        )

    assert codes(of(400, pipeline=older(600 * US))) == ["moved_work"]
    assert codes(of(400, pipeline=older(20 * US))) == []
    woken = of(59 * US, pipeline=older(111 * MS))
    two = Effective(device="cpu", precision="fp32", threads=2)
    assert codes(msgspec.structs.replace(woken, effective=two)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"window_ns": WINDOW_NS // 2},  # the clock of the loop alone
        {"window_ns": WINDOW_NS // 2, "window_end_ns": 5 * WINDOW_NS + WINDOW_NS // 2},
        {"accounts": counted(raw_ns=2 * WINDOW_NS)},
    ],
)
def test_clocks_that_disagree_make_no_latency(changes: dict[str, Any]) -> None:
    row = judged(of(7e6, **changes))
    assert ([reason.code for reason in row.reasons], row.status) == (["clock_disagrees"], "invalid")


def test_a_stop_between_two_looks_at_the_clock_strikes_nothing() -> None:
    end_ns = 5 * WINDOW_NS + 60 * MS
    made = of(7e6, window_ns=20 * MS, window_end_ns=end_ns, accounts=counted(raw_ns=60 * MS))
    assert "clock_disagrees" not in codes(made)


# --- against what the kernel counted


@pytest.mark.parametrize(
    "accounts",
    [
        counted(
            children=1, child_cpu_ns=800 * MS, child_bytes=60 * MIB, runnable_ns=WINDOW_NS // 9
        ),
        counted(children=2, child_cpu_ns=0, child_bytes=300 * MIB),
    ],
)
def test_work_and_memory_of_another_process_are_no_measure(accounts: Accounts) -> None:
    memory = Memory(peak_bytes=200 * MIB, peak_source="VmHWM")
    row = judged(of(7e6, accounts=accounts, memory=memory))
    assert ([reason.code for reason in row.reasons], row.status) == (["helper_process"], "invalid")
    assert row.reasons[0].fix


def test_an_idle_child_that_watches_over_resources_is_nothing() -> None:
    memory = Memory(peak_bytes=200 * MIB, peak_source="VmHWM")
    watcher = counted(children=1, child_cpu_ns=0, child_bytes=12 * MIB)
    assert codes(of(7e6, accounts=watcher, memory=memory)) == []


@pytest.mark.parametrize(
    ("told", "threads", "asleep", "struck"),
    [
        (1, 4.0, 0.0, True),
        (1, 2.0, 0.0, True),  # both cores of a small machine, however busy it is
        (1, 1.1, 0.0, False),
        (1, 1.6, 0.4, False),  # the caller hands the work on, as MLX and OpenVINO do
        (2, 2.1, 0.0, False),
        (2, 4.0, 0.0, True),
        (None, 9.0, 0.0, False),
    ],
)
def test_threads_beyond_those_told_are_seen(
    told: int | None, threads: float, asleep: float, struck: bool
) -> None:
    accounts = counted(runnable_ns=round(threads * WINDOW_NS), asleep_ns=round(asleep * WINDOW_NS))
    made = of(7e6, accounts=accounts, cpu_ns=WINDOW_NS // 2)
    effective = Effective(device="cpu", precision="fp32", threads=told)
    found = codes(msgspec.structs.replace(made, effective=effective))
    assert found == (["threads_beyond_told"] if struck else [])


def test_helpers_of_a_drafts_session_are_no_threads_beyond_those_told() -> None:
    """Two sessions of two threads share the caller: three compute, and as many more are seen as of any other."""
    two = Effective(device="cpu", precision="fp32", threads=2)
    made = generating(10).generate
    assert made is not None
    drafted = msgspec.structs.replace(made, draft_sha256="a" * 64)
    for generate, threads, struck in (
        (made, 3.1, True),
        (drafted, 3.1, False),
        (drafted, 4.6, True),
    ):
        accounts = counted(runnable_ns=round(threads * WINDOW_NS), asleep_ns=0)
        judged_record = msgspec.structs.replace(
            of(7e6, accounts=accounts, cpu_ns=WINDOW_NS // 2, generate=generate), effective=two
        )
        assert ("threads_beyond_told" in codes(judged_record)) is struck


@pytest.mark.parametrize(
    ("changes", "struck"),
    [
        ({}, True),
        ({"major_faults": 12}, False),  # it waited for pages from storage
        ({"waited_ns": 900 * MS, "runnable_ns": 950 * MS}, False),  # for a core
    ],
)
def test_a_process_that_says_cpu_and_sleeps_does_not_compute(
    changes: dict[str, Any], struck: bool
) -> None:
    accounts = counted(**({"asleep_ns": 950 * MS, "runnable_ns": 50 * MS} | changes))
    assert codes(of(7e6, accounts=accounts)) == (["computed_elsewhere"] if struck else [])


def test_a_process_that_waits_for_a_device_or_its_turn_may_sleep() -> None:
    accounts = counted(asleep_ns=950 * MS, runnable_ns=50 * MS)
    made = of(7e6, accounts=accounts)
    gpu = Effective(device="gpu:0", precision="fp32")
    assert codes(msgspec.structs.replace(made, effective=gpu)) == []


# --- less than fp32


def checked(error: float, rounding: float | None, **changes: Any) -> Record:
    check = OutputCheck(
        against="reference", relative_error=error, limit=1e-3, passed=True, rounding=rounding
    )
    return of(7e6, output_check=check, **changes)


@pytest.mark.parametrize(
    ("error", "rounding", "struck"),
    [
        (2.5e-4, 3e-7, True),  # bf16 of an AMX unit under the name of fp32
        (2.5e-4, 0.0, True),
        (3e-6, 3e-7, False),
        (4e-5, 2e-7, False),  # Winograd's algorithm
        (6e-4, 5e-5, False),  # a model that amplifies rounding
        (9e-4, None, False),  # nothing to compare with
    ],
)
def test_reduced_precision_is_no_fp32(error: float, rounding: float | None, struck: bool) -> None:
    assert codes(checked(error, rounding)) == (["reduced_precision"] if struck else [])


def test_declared_reduced_precision_is_judged_by_parity_alone() -> None:
    made = checked(2.5e-4, 3e-7)
    for told in (
        Effective(device="cpu", precision="bf16"),
        Effective(device="gpu:0", precision="fp32"),  # TF32 counts as fp32 there
    ):
        assert codes(msgspec.structs.replace(made, effective=told)) == []


def test_precision_of_an_accelerator_is_unproven_beyond_the_rounding_of_fp32() -> None:
    told = Effective(device="gpu:0", precision="fp32")
    for error, proven in ((2.5e-4, False), (3e-6, True)):
        record = msgspec.structs.replace(checked(error, 3e-7), effective=told)
        row = judge(row_of(record), record)
        assert row.effective is not None
        assert row.effective.precision == ("fp32" if proven else None)
        assert ("effective.precision" in row.unknown) is not proven


# --- against what was asked


@pytest.mark.parametrize(
    ("variant", "told", "code"),
    [
        ({"precision": "fp32"}, {"precision": "fp16"}, "precision_not_as_asked"),
        ({"precision": "fp32"}, {"precision": "mixed"}, "precision_not_as_asked"),
        ({"precision": "int8-static"}, {"precision": "fp32"}, "precision_not_as_asked"),
        ({"precision": "int8-static"}, {"precision": "int8"}, None),
        ({"precision": "int8-static"}, {"precision": "mixed"}, None),
        ({"precision": "as-is"}, {"precision": "int8"}, None),
        ({"precision": "fp32"}, {"precision": None}, None),
        ({"precision": "fp32", "inference_precision": "bf16"}, {"precision": "bf16"}, None),
        ({"precision": "fp32", "fp16_storage": True}, {"precision": "mixed"}, None),
        (
            {"precision": "fp32", "fp16_storage": False},
            {"precision": "mixed"},
            "precision_not_as_asked",
        ),
        ({"threads": 1}, {"threads": 4}, "threads_not_as_asked"),
        ({"threads": 4}, {"threads": 4}, None),
        ({"threads": 0}, {"threads": 4}, None),
        ({"threads": 4}, {"threads": None}, None),
        ({"device": "gpu"}, {"device": "cpu"}, "device_not_as_asked"),
        ({"device": "GPU.0"}, {"device": "gpu:0"}, None),
        ({"device": "cpu"}, {"device": "gpu:0+cpu"}, None),
        ({"device": "auto"}, {"device": "cpu"}, None),
    ],
)
def test_effective_settings_are_compared_with_requested_ones(
    variant: dict[str, Any], told: dict[str, Any], code: str | None
) -> None:
    effective = Effective(**({"device": "cpu", "precision": "fp32"} | told))
    found = plausibility.unlike_asked({"precision": "as-is"} | variant, effective)
    assert [reason.code for reason in found] == ([] if code is None else [code])
    assert all(reason.fix for reason in found)


def test_an_imported_row_is_judged_by_what_it_tells() -> None:
    from tests.records import reported

    assert (
        plausibility.impossible(
            row_of(reported("latency.p50", 1e-9)), reported("latency.p50", 1e-9)
        )
        == []
    )


def test_a_superseded_replicate_is_evidence_alone() -> None:
    made = of(7e6, window_ns=WINDOW_NS // 2)
    parts = [msgspec.structs.replace(each, superseded_by=9) for each in made.replicates]
    assert isinstance(parts[0], Replicate)
    assert "clock_disagrees" not in codes(msgspec.structs.replace(made, replicates=parts))


def test_a_library_that_spins_on_after_its_last_work_is_no_thread_beyond_those_told() -> None:
    """Seen with LiteRT: the window of a model of a microsecond is over in 12 ms."""
    accounts = counted(wall_ns=20 * MS, runnable_ns=40 * MS)
    made = of(7e6, accounts=accounts, cpu_ns=WINDOW_NS // 2)
    effective = Effective(device="cpu", precision="fp32", threads=1)
    assert codes(msgspec.structs.replace(made, effective=effective)) == []
