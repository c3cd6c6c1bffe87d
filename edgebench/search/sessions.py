"""Opens, compares, times in turns and profiles sessions of ONNX Runtime on models in memory, for exploring.

What is found here only decides which maps are worth measuring; what is reported comes from processes of its own.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebench.backend import ModelFile, Scalar
from edgebench.errors import UnsupportedError
from edgebench.models.onnx_file import fits_inline, save_model

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

    from edgebench.operator_times import Profile
    from edgebench.task import Feeds, Infer, Outputs

_WARM_UP = 3
#: Of the times of a kernel or a run: others' turns on the core only make them longer.
LOW_PERCENTILE = 10
#: A runtime writes down each operator of each run: of a network of 50 us, 12 s of it were 6 GiB to read.
MAX_PROFILED_TURNS = 400
MIN_TURN_S = 0.004  # short runs follow each other, each timed


@dataclass(frozen=True)
class RuntimeChoice:
    """What maps are found for."""

    backend: str
    options: Mapping[str, Scalar]


def open_session(model: ModelProto, threads: int) -> Any:
    """A session of a model in memory. Raises UnsupportedError for one beyond 2 GB."""
    import onnxruntime as ort

    if not fits_inline(model):
        raise UnsupportedError("a model of more than 2 GB is not searched", "search a smaller one")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def infer_with(session: Any) -> Infer:
    """How a task runs items through a session."""
    names = [output.name for output in session.get_outputs()]

    def infer(items: Sequence[Feeds]) -> list[Outputs]:
        return [dict(zip(names, session.run(names, dict(item)), strict=True)) for item in items]

    return infer


def infer_by(runtime: RuntimeChoice, path: Path, precision: str) -> Infer:
    """How a task runs items through a backend, which computes in a precision. Raises UnsupportedError where it does
    not."""
    from edgebench import registry
    from edgebench.assets import file_sha256
    from edgebench.measure.replicate.quality_checks import infer

    backend = registry.load(runtime.backend)
    backend.import_runtime()
    file = ModelFile(path, "onnx", file_sha256(path), precision)
    session = backend.open(file, dict(runtime.options))
    return lambda items: infer(session, 1, items)


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
    sessions: Mapping[str, Any], feeds: Sequence[Feeds], until: Callable[[], bool]
) -> dict[str, float]:
    """Milliseconds of a run of each session, a low percentile; they take turns in a drawn order."""
    clock, rng = time.thread_time_ns, np.random.default_rng(0)
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


def profiles_in_turns(
    models: Sequence[ModelProto],
    feeds: Sequence[Feeds],
    runtime: RuntimeChoice,
    until: Callable[[], bool],
) -> list[Profile]:
    """The operator times of each model in a backend, whose runs take turns. Raises UnsupportedError where the
    backend tells none."""
    from edgebench import registry

    backend = registry.load(runtime.backend)
    backend.import_runtime()
    with tempfile.TemporaryDirectory(prefix="edgebench-") as folder:
        profilers = []
        for number, model in enumerate(models):
            path = Path(folder, f"{number}.onnx")
            save_model(model, path, keep_opset=True)
            file = ModelFile(path, "onnx", sha256=str(number))
            session = backend.open(file, dict(runtime.options))
            profilers.append(session.profiler())
            session.close()
        turn = 0
        while turn < 2 * _WARM_UP or not (turn >= MAX_PROFILED_TURNS or until()):
            for profiler in profilers:
                profiler.run(dict(feeds[turn % len(feeds)]))
            turn += 1
        return [profiler.finish() for profiler in profilers]
