"""Holds what parity with a reference can tell of a model: how far rounding moves its answers, and whether it
gives the same answers at all.

The reference is the file on ONNX Runtime's CPU provider, one thread, graph optimisations off.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebench.models.output_distance import distances, is_number
from edgebench.preparation.preparation_messages import Parity

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

    Arrays = Mapping[str, NDArray[Any]]
    Run = Callable[[Arrays], dict[str, NDArray[Any]]]

#: Answers of one session to one input that lie further apart are random.
_SAME = 1e-4
#: Share of labels (wide integers, flags) that rounding may flip, however few it did flip: two scores that
#: are a rounding apart need not be among so few items.
_LABELS_FLIP = 0.25
#: After this time nobody looks at a further item for what rounding in fp32 does to it.
MAX_FP32_S = 2.0
#: Operators whose answer is drawn anew each time.
_RANDOM_OPS = frozenset(
    {
        *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
        *("Multinomial", "Bernoulli", "Dropout"),
    }
)


def unoptimised(model: Path | bytes, names: Sequence[str], folder: Path | None = None) -> Run:
    """How the reference answers. `names`: of the outputs, by place; `folder`: where weights of a model in
    memory lie beside it."""
    import onnxruntime as ort

    options = _one_thread()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if folder is not None:
        entry = "session.model_external_initializers_file_folder_path"
        options.add_session_config_entry(entry, str(folder))
    source = model if isinstance(model, bytes) else str(model)
    return _on_runtime(source, names, options)


def _one_thread() -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return options


def _on_runtime(source: str | bytes, names: Sequence[str], options: Any) -> Run:
    import onnxruntime as ort

    session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])

    def run(feeds: Arrays) -> dict[str, NDArray[Any]]:
        return dict(zip(names, session.run(None, dict(feeds)), strict=True))

    return run


def by_evaluator(model: Path, names: Sequence[str]) -> Run:
    """How ONNX's own evaluator answers, in numpy: slow, and of every operator that ONNX defines."""
    from onnx.reference import ReferenceEvaluator

    from edgebench.models.onnx_file import load_model

    evaluator = ReferenceEvaluator(load_model(model))

    def run(feeds: Arrays) -> dict[str, NDArray[Any]]:
        answer: Any = evaluator.run(None, dict(feeds))
        return dict(zip(names, answer, strict=True))

    return run


def telling(run: Run, say: Callable[[], object]) -> Run:
    """`run`, which says before each item that it is still at work."""

    def told(feeds: Arrays) -> dict[str, NDArray[Any]]:
        say()
        return run(feeds)

    return told


def parity_of(
    path: Path,
    run: Run,
    items: Sequence[Arrays],
    outputs: Sequence[Arrays],
    say: Callable[[], object] = lambda: None,
) -> Parity:
    """`outputs`: what the reference, `run`, made of `items`. `say` is called before each further run."""
    from edgebench.models.onnx_file import load_model
    from edgebench.preparation.quantization_noise import jittered

    model = load_model(path, weights=False)
    random = _randomness(model, run, items[0], outputs[0])
    rounded, arithmetic = jittered(model)
    if random:
        return Parity(arithmetic=arithmetic, random=random)
    if not arithmetic:
        return Parity(moved=_moved_by_fp32(path, items, outputs, say))
    moved = _moved(rounded, path.parent, items, outputs, say)
    floors = {name: 0.0 if is_number(array) else _LABELS_FLIP for name, array in outputs[0].items()}
    return Parity(arithmetic=arithmetic, moved={n: max(far, floors[n]) for n, far in moved.items()})


def _nudged(feeds: Arrays) -> Arrays:
    """Floats as far off as a rounded value: what the first operators sum up may cancel out."""
    from edgebench.preparation.quantization_noise import FP32_STEP

    noise = np.random.RandomState(0).uniform
    return {
        name: array * (1 + noise(-FP32_STEP, FP32_STEP, array.shape)).astype(array.dtype)
        if array.dtype.kind == "f"
        else array
        for name, array in feeds.items()
    }


def unmeasured(path: Path) -> Parity:
    """The parity of a model that was not run."""
    from edgebench.models.onnx_file import load_model
    from edgebench.preparation.quantization_noise import jittered

    _, arithmetic = jittered(load_model(path, weights=False))
    return Parity(arithmetic=arithmetic)


def is_constant(run: Run, items: Sequence[Arrays], outputs: Sequence[Arrays]) -> bool:
    """Whether no two items gave outputs that differ by more than rounding: parity would prove nothing.

    Of a single item its altered copy is the second one.
    """
    if len(items) > 1:
        return not _differ(outputs)
    try:
        return not _differ([*outputs, run(_altered(items[0]))])
    except Exception:  # noqa: BLE001 - the runtime's exceptions share no base class but Exception
        return False  # what such a model answers depends on what it is asked


def _altered(feeds: Arrays) -> Arrays:
    """Other values of the same kind: floats a little larger, others in another order."""
    return {
        name: array * array.dtype.type(1.01)
        if array.dtype.kind == "f"
        else np.roll(array.reshape(-1), 1).reshape(array.shape)
        for name, array in feeds.items()
    }


def _differ(outputs: Sequence[Arrays]) -> bool:
    """Whether any two items gave outputs that differ by more than rounding."""

    def differs(mine: Any, first: Any) -> bool:
        mine, first = np.asarray(mine), np.asarray(first)
        if mine.shape != first.shape:
            return True
        if mine.dtype.kind not in "fc":
            return not np.array_equal(mine, first)
        return not np.allclose(mine, first, rtol=1e-5, atol=0, equal_nan=True)

    return any(differs(item[name], outputs[0][name]) for item in outputs[1:] for name in item)


def _randomness(model: ModelProto, run: Run, feeds: Arrays, first: Arrays) -> str:
    """Why the model gives other outputs for the same input; "": it gives the same."""
    apart = distances([run(feeds)], [first])
    unlike = sorted(name for name, far in apart.items() if not far <= _SAME)
    if not unlike:
        return ""
    from edgebench.models.onnx_file import graph_nodes

    drawn = (
        f"{node.op_type} {node.name or node.output[0]!r}"
        for node in graph_nodes(model.graph)
        if node.op_type in _RANDOM_OPS
    )
    cause = next(drawn, "")
    told = f" ({cause})" if cause else ""
    return (
        f"the model is random by itself{told}: the same input gives other values of "
        f"{', '.join(map(repr, unlike))} each time"
    )


def _moved_by_fp32(
    path: Path, items: Sequence[Arrays], outputs: Sequence[Arrays], say: Callable[[], object]
) -> dict[str, float]:
    """The same of a file in fp32, whose answers rounding hardly moves: but a logarithm of nearly nothing, a
    probability of nearly 0 or a difference of what is nearly the same shows in which order a sum was made."""
    from edgebench.models.onnx_file import load_model
    from edgebench.preparation.quantization_noise import jittered

    rounded, _ = jittered(load_model(path, weights=False), fp32=True)
    nudged = [_nudged(feeds) for feeds in items]
    return _moved(rounded, path.parent, nudged, outputs, say, MAX_FP32_S)


def _moved(
    rounded: ModelProto,
    folder: Path,
    items: Sequence[Arrays],
    outputs: Sequence[Arrays],
    say: Callable[[], object],
    most_s: float = math.inf,
) -> dict[str, float]:
    """How far each output moves where every rounded value does, over the items that fit into the time; empty
    where that cannot be run."""
    answers: list[Arrays] = []
    end = time.monotonic() + most_s
    try:
        run = telling(unoptimised(rounded.SerializeToString(), list(outputs[0]), folder), say)
        for feeds in items:
            if answers and time.monotonic() > end:
                break
            answers.append(run(feeds))
        apart = distances(answers, outputs[: len(answers)])
    except Exception:  # noqa: BLE001 - the runtime's exceptions share no base class but Exception
        return {}
    # What rounding makes infinite or not a number is as far off as an answer can be.
    return {name: min(far, 1.0) for name, far in apart.items()}


def fp32_rounding(
    path: str,
    items: Sequence[Arrays],
    reference: Sequence[Arrays],
    say: Callable[[str], object] = lambda step: None,
) -> float | None:
    """The distance between the reference and the same model with its operators fused and reordered: both
    in fp32, so that what they differ by is rounding. None where ONNX Runtime cannot run it that way."""
    try:
        run = telling(_on_runtime(path, list(reference[0]), _one_thread()), lambda: say("rounding"))
        answers = [run(feeds) for feeds in items]
    except Exception:  # noqa: BLE001 - the runtime's exceptions share no base class but Exception
        return None
    pairs = [
        (np.asarray(mine[name]), np.asarray(known[name]))
        for mine, known in zip(answers, reference, strict=True)
        for name in known
    ]
    return max((_distance(mine, known) for mine, known in pairs), default=0.0)


def _distance(mine: NDArray[Any], known: NDArray[Any]) -> float:
    """||a - b|| / ||b|| of finite numbers; 0 of anything else, which rounding does not move by little."""
    if known.dtype.kind != "f" or mine.shape != known.shape:
        return 0.0
    finite = np.isfinite(mine) & np.isfinite(known)
    norm = float(np.linalg.norm(known[finite].astype(np.float64)))
    gap = mine[finite].astype(np.float64) - known[finite].astype(np.float64)
    return float(np.linalg.norm(gap)) / norm if norm > 0 else 0.0
