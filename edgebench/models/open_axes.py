"""Sizes for axes that a file leaves open and nobody gave: shapes that the model was seen to run with.

What size is meant only its user knows, and the latency depends on it, so that none is taken silently. But what
an error proposes works when it is followed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Shapes = Mapping[str, Sequence[int | str]]

#: Of pictures, sequences, frames and samples of audio, the likeliest first.
SIZES = (224, 128, 512, 640, 32, 16000, 16, 8, 1)
#: After this time no further shapes are tried.
MAX_TRIAL_S = 5.0


def options_of(shapes: Shapes) -> str:
    return " ".join(f"--shape {name}={','.join(map(str, each))}" for name, each in shapes.items())


def seen_to_run(shapes: Shapes) -> str:
    return f"{options_of(shapes)} (it runs with these; take the sizes that you deploy)"


def unknown(shapes: Shapes) -> str:
    return f"{options_of(shapes)} with sizes that the model was made for"


def proposals(proposed: Callable[[int, int], Shapes]) -> Iterator[Shapes]:
    """`proposed` with sizes for axes, and for those of further inputs that have no name: these may be the batch."""
    for size in SIZES:
        yield proposed(size, 1)
        yield proposed(size, size)


def that_run(
    model: Path, tried: Iterator[Shapes], feeds: Callable[[Shapes], Mapping[str, Any]]
) -> Shapes | None:
    """The first shapes with which ONNX Runtime gives an answer to such feeds; None: none did in time."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    end = time.monotonic() + MAX_TRIAL_S
    try:
        session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001 - the runtime's exceptions share no base class but Exception
        return None
    for shapes in tried:
        if time.monotonic() > end:
            return None
        try:
            session.run(None, dict(feeds(shapes)))
        except Exception:  # noqa: BLE001, S112 - these sizes do not fit together: the next ones
            continue
        return shapes
    return None
