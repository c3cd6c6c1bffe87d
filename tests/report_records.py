"""Records for tests of reports: two devices, energy, failures, and names that attack the page."""

from __future__ import annotations

import msgspec

from edgebench.backend import Scalar
from edgebench.record import (
    CurvePoint,
    Energy,
    Limit,
    Paced,
    Record,
    StateCheck,
    Sustained,
    Warmup,
)
from tests.records import (
    MIB,
    energy,
    failed,
    generating,
    offline,
    quality,
    record,
    replicate,
    samples,
)

#: What a result file may hold where people expect a name.
HOSTILE = (
    "</script><script>window.hacked=1</script>",
    '"><img src=x onerror="window.hacked=2">',
    "{{report}} {{title}} ${window.hacked=3} `window.hacked=4`",
    "datum['__proto__'];window.hacked=5//",
    "a.b[0]['c']\\",
    "javascript:window.hacked=6",
    "\u2028window.hacked=7\u2029",
    "http://attacker.invalid/beacon.png",
    "<!--<script>",
    "| a | b |\n\n# head\n```\n<b>bold</b> @everyone",
)

MEASURED = energy(0.021, scope="board", share=0.1, average_w=3.1, source="ina3221")
MODELLED = Energy(
    status="ok", j_per_inference=0.013, uncertainty_j=0.004, kind="modelled", scope="soc"
)


def variant(precision: str, threads: int = 1) -> dict[str, Scalar]:
    return {"precision": precision, "threads": threads, "batch": 1}


def realistic() -> list[Record]:
    """Two devices, several backends and workloads, a struck row, failures, offline, throttling."""
    hot = StateCheck(name="thermal_throttle", level="warn", evidence="the CPU throttled: 12 events")
    throttled = [
        replicate(i, samples(4.4e6, 200, 50 + i), state_after=[hot] if i == 1 else [])
        for i in range(3)
    ]
    cold = Warmup(iterations=3, duration_ns=900_000_000, steady=False)
    return [
        record(variant("fp32"), p50=7.3e6, energy=MEASURED),
        record(variant("fp32", 2), p50=4.2e6, seed=1, peak=121 * MIB, energy=MEASURED),
        record(variant("int8-static", 2), p50=2.3e6, spread=0.03, seed=3, quality=quality(0.87)),
        record(variant("int8-static"), p50=4.4e6, seed=4, quality=quality(0.41)),
        record(variant("fp32"), p50=5.1e6, seed=5, backend="openvino", peak=140 * MIB),
        record(variant("int8-static"), backend="openvino", replicates=throttled, energy=MODELLED),
        failed(variant("int8-dynamic"), "crashed", "the worker died of SIGSEGV"),
        record(variant("fp32"), p50=31e6, seed=6, device="board", run="board-1"),
        record(variant("int8-static"), p50=14e6, seed=7, device="board", run="board-1",
               quality=quality(0.868)),
        record(variant("fp32", 2), scenario="offline",
               replicates=[offline(i, 260 + i) for i in range(3)]),
        record(workload="wake-word", replicates=[replicate(i, warmup=cold) for i in range(3)]),
    ]  # fmt: skip


def loads() -> list[Record]:
    """A load that throttles from 42 s of 120 on, and one at 100 a second that misses four in ten."""
    curve = [
        CurvePoint(at_ns=second * 10**9, p50_ns=4_900_000 if second <= 42 else 6_200_000,
                   temperature_c=45.0 + second / 4)
        for second in range(1, 121)
    ]  # fmt: skip
    load = Sustained(
        burst_ns=[4_900_000] * 20, curve=curve, steady=True, limit_s=300.0,
        temperature_source="cpu-thermal",
    )  # fmt: skip
    paced = Paced(
        rate_per_s=100.0, misses=40, service_ns=[5_000_000] * 100, wake_late_ns=[60_000] * 100
    )
    return [
        record(
            variant("fp32"),
            scenario="sustained",
            replicates=[replicate(i, samples(6.2e6, 100, i), sustained=load) for i in range(3)],
        ),
        record(
            variant("fp32"),
            rate_per_s=100.0,
            replicates=[replicate(i, samples(5e6, 100, i), paced=paced) for i in range(3)],
        ),
    ]


def hostile() -> list[Record]:
    """Every text of a record is an attack."""
    found = []
    for number, words in enumerate(HOSTILE):
        each = record(
            {"precision": words, words: words, "batch": 1},
            workload=words,
            backend=words,
            device=words,
            run=words,
            seed=number,
            quality=quality(0.5, metric=words),
        )
        found.append(each)
        found.append(failed({"precision": words}, words, words, workload=words, device=words))
    for words in HOSTILE[:3]:
        found += reasoning(workload=words, backend=words)
    return found


def decoders() -> list[Record]:
    """Rows that generate text on two runtimes, one struck, one unsupported; and one that answered problems."""
    rows = [
        ("ort", "as-is", 1, 31.63, 1.0),
        ("ort", "as-is", 2, 31.63, 1.0),
        ("ort", "fp16", 1, 31.64, 1.0),
        ("ort_genai", "int4", 1, 43.7, 0.78),
    ]
    made = [
        record(
            {"precision": precision, "threads": threads, "batch": 1, "prompt_tokens": 128,
             "new_tokens": 16},
            workload="chat",
            backend=backend,
            scenario="generate",
            replicates=[
                generating(i, ttft_ns=(300_000_000 + 900_000 * i) // threads) for i in range(3)
            ],
            quality=quality(
                perplexity,
                33.0,
                metric="perplexity",
                better="lower",
                also=[
                    Limit(
                        metric="greedy_agreement",
                        value=agreement,
                        limit=0.9,
                        better="higher",
                        passed=agreement >= 0.9,
                    )
                ],
            ),
        )
        for backend, precision, threads, perplexity, agreement in rows
    ]  # fmt: skip
    unable: dict[str, Scalar] = {
        "precision": "int4",
        "threads": 1,
        "batch": 1,
        "prompt_tokens": 128,
        "new_tokens": 16,
    }
    why = "ort has no precision 'int4'"
    made.append(
        failed(unable, "unsupported_precision", why, status="unsupported", workload="chat",
               scenario="generate")
    )  # fmt: skip
    return made + reasoning()


def reasoning(**cell: str) -> list[Record]:
    """Four lengths of prompts, the first of which answered 24 problems five times each."""
    from tests.scaling.test_scaling import pass_of, records_of

    made = records_of(pass_of(5, thinking=[3] * 12 + [14] * 12))
    return [_renamed(one, cell) for one in made]


def _renamed(one: Record, cell: dict[str, str]) -> Record:
    return msgspec.structs.replace(one, cell=msgspec.structs.replace(one.cell, **cell))


def many(count: int) -> list[Record]:
    """Rows of few samples: `count` of them in groups of fifty."""
    return [
        record(
            {"precision": ("fp32", "int8-static", "int8-dynamic")[i % 3], "threads": 1 + i % 50},
            workload=f"workload-{i // 50}",
            backend=("ort", "openvino", "litert")[i % 7 % 3],
            p50=2e6 * (1 + (i * 7 % 50) / 10),
            count=80,
            seed=i,
            peak=(60 + i * 13 % 50) * MIB,
            quality=quality(0.86 + (i * 11 % 40) / 1000),
        )
        for i in range(count)
    ]
