"""Peak arithmetic and memory bandwidth of this machine, each in fresh processes, in turns.

Arithmetic is ONNX Runtime's matrix product (fp32, and unsigned by signed int8) of several sizes;
bandwidth is the add kernel of STREAM (a = b + c) over arrays far larger than the caches. A ceiling
is the best pass that was seen: whatever else runs can only lower it. Its interval is that of the
best pass of a process, which tells how steady the machine was.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from edgebench import __version__, stats
from edgebench.calibration import Calibration, Ceiling, What
from edgebench.errors import EdgebenchError
from edgebench.measure.cpu_pinning import usable_cpus
from edgebench.probes.python_distributions import onnxruntime_owners
from edgebench.processes.child import QUOTED_BYTES, Failed, Limits, Setup, ask
from edgebench.processes.parent_tie import die_with_parent
from edgebench.processes.python_command import module_command
from edgebench.record import DeviceFacts, StateCheck
from edgebench.text.plain_text import plain, shortened

KINDS: tuple[What, ...] = ("gemm_fp32", "gemm_int8", "memory_add")
_GEMM_SIZES = (512, 1024, 2048)
_ARRAY_BYTES = 64 * 2**20
_TIME_OUT_S = 120.0
_FIXED_PASSES = 2  # before anything is timed

Rate = tuple[float, str]


def calibrate(
    device: DeviceFacts,
    state: list[StateCheck],
    processes: int,
    seconds: float,
    on_step: Callable[[str, int, int], None] = lambda what, number, total: None,
    measure: Callable[[What, int, float], Rate] | None = None,
) -> Calibration:
    """Measures every ceiling with one thread and with all, `processes` times each.

    Raises EdgebenchError where a process does not answer. `measure` is for tests.
    """
    measure = measure or _in_process
    owners = onnxruntime_owners()  # before anything is measured, which would be lost
    if not owners:
        raise EdgebenchError("ONNX Runtime is not installed", "pip install onnxruntime")
    counts = sorted({1, usable_cpus()})
    settings = [(what, threads) for what in KINDS for threads in counts]
    rates_of: dict[tuple[What, int], list[Rate]] = {setting: [] for setting in settings}
    total, number = processes * len(settings), 0
    for _ in range(processes):
        for what, threads in settings:
            number += 1
            on_step(f"{what}, {threads} thread{'s' if threads > 1 else ''}", number, total)
            rates_of[what, threads].append(measure(what, threads, seconds))
    return Calibration(
        device=device,
        started_utc=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        edgebench=__version__,
        onnxruntime=owners[0].version,
        state=[check for check in state if check.level in ("warn", "invalid")],
        ceilings=[_ceiling(what, threads, rates) for (what, threads), rates in rates_of.items()],
    )


def _ceiling(what: What, threads: int, rates: list[Rate]) -> Ceiling:
    values = [rate for rate, _ in rates]
    best, detail = max(rates)
    low, high = stats.ends_around(best, stats.log_interval(values))
    return Ceiling(
        what=what,
        threads=threads,
        per_s=best,
        low_per_s=low,
        high_per_s=high,
        of_processes_per_s=values,
        detail=detail,
    )


def _in_process(what: What, threads: int, seconds: float) -> Rate:
    job = json.dumps(
        {"what": what, "threads": threads, "seconds": seconds, "parent_pid": os.getpid()}
    )
    command = module_command("edgebench.roofline.measure_ceilings", job)
    setup = Setup(standard=True, environment={**os.environ, "OMP_NUM_THREADS": "1"})
    answer = ask(command, Limits(_TIME_OUT_S), setup=setup)
    if isinstance(answer, Failed):
        if answer.reason.code == "timed_out":
            raise EdgebenchError(f"calibration of {what} gave no answer in {_TIME_OUT_S:g} s")
        why = answer.last_line or answer.reason.message
        raise EdgebenchError(f"calibration of {what} failed: {why}")
    try:
        rate = json.loads(answer)
        return float(rate["per_s"]), str(rate["detail"])
    except (ValueError, KeyError, TypeError):
        said = plain(shortened(answer.decode(errors="replace"), QUOTED_BYTES))
        raise EdgebenchError(f"calibration of {what} failed: it answered {said}") from None


# --- in the child


def _best(run: Callable[[], Any], work: float, seconds: float) -> float:
    """Work per second of the fastest pass within the time."""
    for _ in range(_FIXED_PASSES):
        run()
    best = float("inf")
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        run()
        best = min(best, time.perf_counter() - start)
    return work / best


def _gemm(what: What, threads: int, seconds: float) -> Rate:
    rates = [
        (_best(_product(size, what == "gemm_int8", threads), 2.0 * size**3, seconds / 3), size)
        for size in _GEMM_SIZES
    ]
    rate, size = max(rates)
    return rate, f"matrix product of {size}x{size}, the best of {_GEMM_SIZES}"


def _product(size: int, int8: bool, threads: int) -> Callable[[], Any]:
    """ONNX Runtime's product of two square matrices, the second one constant (as weights are)."""
    import numpy as np
    import onnxruntime as ort
    from numpy.typing import NDArray
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    left: NDArray[Any]
    right: NDArray[Any]
    if int8:
        kinds = (TensorProto.UINT8, TensorProto.INT32)
        left = rng.integers(0, 255, (size, size), dtype=np.uint8)
        right = rng.integers(-64, 64, (size, size), dtype=np.int8)
    else:
        kinds = (TensorProto.FLOAT, TensorProto.FLOAT)
        left = rng.standard_normal((size, size), dtype=np.float32)
        right = rng.standard_normal((size, size), dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger" if int8 else "MatMul", ["a", "b"], ["y"])],
        "product",
        [helper.make_tensor_value_info("a", kinds[0], [size, size])],
        [helper.make_tensor_value_info("y", kinds[1], [size, size])],
        [numpy_helper.from_array(right, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    binding = session.io_binding()
    binding.bind_cpu_input("a", left)
    binding.bind_output("y")
    return lambda: session.run_with_iobinding(binding)


def _memory_add(threads: int, seconds: float) -> Rate:
    import numpy as np

    length = _ARRAY_BYTES // 8
    one, two, out = (np.ones(length) for _ in range(3))
    parts = [slice(i * length // threads, (i + 1) * length // threads) for i in range(threads)]
    with ThreadPoolExecutor(threads) as pool:

        def run() -> None:  # numpy lets go of the interpreter while it adds
            list(pool.map(lambda part: np.add(one[part], two[part], out=out[part]), parts))

        rate = _best(run, 3.0 * _ARRAY_BYTES, seconds)
    return rate, f"a = b + c over arrays of {_ARRAY_BYTES // 2**20} MiB: two read, one written"


def main() -> None:
    job = json.loads(sys.argv[1])
    die_with_parent(job["parent_pid"])
    what, threads, seconds = job["what"], int(job["threads"]), float(job["seconds"])
    if what == "memory_add":
        rate, detail = _memory_add(threads, seconds)
    else:
        rate, detail = _gemm(what, threads, seconds)
    print(json.dumps({"per_s": rate, "detail": detail}))


if __name__ == "__main__":
    main()
