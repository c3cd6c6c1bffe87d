"""Measures how much fp32 rounding alone changes the outputs of a model on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


def fp32_rounding(
    path: str,
    items: Sequence[Arrays],
    reference: Sequence[Arrays],
    say: Callable[[str], object] = lambda step: None,
) -> float | None:
    """The distance between the reference and the same model with its operators fused and reordered: both
    in fp32, so that what they differ by is rounding. None where ONNX Runtime cannot run it that way."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        answers = []
        for feeds in items:
            say("rounding")
            answers.append(session.run(None, dict(feeds)))
    except Exception:  # noqa: BLE001 - the runtime's exceptions share no base class but Exception
        return None
    pairs = [
        (np.asarray(mine), np.asarray(known[name]))
        for answer, known in zip(answers, reference, strict=True)
        for name, mine in zip(known, answer, strict=True)  # outputs are places
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
