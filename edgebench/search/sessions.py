"""Sessions of ONNX Runtime on models in memory, for exploring: opened, compared, timed in turns, profiled.

What is found here only decides which maps are worth measuring; what is reported comes from processes of its own.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebench.errors import UnsupportedError
from edgebench.models.onnx_file import fits_inline

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

    from edgebench.task import Feeds, Infer, Outputs

_WARM_UP = 3
#: Of the times of a kernel or a run: others' turns on the core only make them longer.
LOW_PERCENTILE = 10
MIN_TURN_S = 0.004  # short runs follow each other, each timed


def open_session(model: ModelProto, threads: int, profile: str = "") -> Any:
    """A session of a model in memory. Raises UnsupportedError for one beyond 2 GB."""
    import onnxruntime as ort

    if not fits_inline(model):
        raise UnsupportedError("a model of more than 2 GB is not searched", "search a smaller one")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, profile
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def infer_with(session: Any, check: Callable[[], object] = lambda: None) -> Infer:
    """How a task runs items through a session; `check` is called before each one."""
    names = [output.name for output in session.get_outputs()]

    def infer(items: Sequence[Feeds]) -> list[Outputs]:
        answers = []
        for feeds in items:
            check()
            answers.append(dict(zip(names, session.run(names, dict(feeds)), strict=True)))
        return answers

    return infer


def output_error(outputs: Sequence[Outputs], reference: Sequence[Outputs]) -> float:
    """The relative error of outputs: root of the mean over items and outputs of its square."""
    squares = [
        _relative(mine[name], array) ** 2
        for mine, known in zip(outputs, reference, strict=True)
        for name, array in known.items()
    ]
    return float(np.sqrt(np.mean(squares)))


def _relative(mine: NDArray[Any], known: NDArray[Any]) -> float:
    if known.dtype.kind != "f":
        return float(np.mean(mine != known)) if known.size else 0.0
    norm = float(np.linalg.norm(known.astype(np.float64)))
    gap = float(np.linalg.norm(mine.astype(np.float64) - known.astype(np.float64)))
    return min(gap / norm, 1e3) if norm > 0 and np.isfinite(gap) else (0.0 if gap == 0 else 1e3)


def times_in_turns(
    sessions: Mapping[str, Any], feeds: Sequence[Feeds], until: Callable[[], bool], seed: int = 0
) -> dict[str, float]:
    """Milliseconds of a run of each session, a low percentile; they take turns in a drawn order."""
    clock, rng = time.thread_time_ns, np.random.default_rng(seed)
    taken: dict[str, list[int]] = {name: [] for name in sessions}
    repeats = {name: _repeats(session, feeds[0]) for name, session in sessions.items()}
    turn = 0
    while turn < _WARM_UP or not until():
        for name in rng.permutation(list(sessions)):
            session = sessions[name]
            for number in range(repeats[name]):
                item = dict(feeds[(turn + number) % len(feeds)])
                start = clock()
                session.run(None, item)
                taken[name].append(clock() - start)
        turn += 1
    return {n: float(np.percentile(t, LOW_PERCENTILE)) / 1e6 for n, t in taken.items()}


def _repeats(session: Any, feeds: Feeds) -> int:
    session.run(None, dict(feeds))
    start = time.perf_counter()
    session.run(None, dict(feeds))
    return max(1, round(MIN_TURN_S / max(time.perf_counter() - start, 1e-6)))


Profile = dict[tuple[str, str], float]  # (node, operator) -> microseconds


def profiles_in_turns(
    models: Sequence[ModelProto], feeds: Sequence[Feeds], threads: int, until: Callable[[], bool]
) -> list[Profile]:
    """The time of every kernel of each model, which run in turns; a low percentile."""
    with tempfile.TemporaryDirectory(prefix="edgebench-") as folder:
        sessions = [
            open_session(model, threads, str(Path(folder, f"{number}-")))
            for number, model in enumerate(models)
        ]
        turn = 0
        while turn < 2 * _WARM_UP or not until():
            for session in sessions:
                session.run(None, dict(feeds[turn % len(feeds)]))
            turn += 1
        return [_kernels(Path(session.end_profiling())) for session in sessions]


def _kernels(path: Path) -> Profile:
    times: dict[tuple[str, str], list[float]] = {}
    for event in json.loads(path.read_bytes()):
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith("_kernel_time"):
            key = (name.removesuffix("_kernel_time"), str(event["args"].get("op_name", "")))
            times.setdefault(key, []).append(float(event["dur"]))
    return {
        key: float(np.percentile(taken[_WARM_UP:] or taken, LOW_PERCENTILE))
        for key, taken in times.items()
    }
