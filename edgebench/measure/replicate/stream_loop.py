"""A stream in real time: hops arrive at their own rate, and state goes from one to the next."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebench.errors import EdgebenchError
from edgebench.measure.replicate import loops
from edgebench.text.did_you_mean import did_you_mean

if TYPE_CHECKING:
    from edgebench.backend import Session, TensorInfo
    from edgebench.preparation.input_pool import Feeds

#: Hops that arrive while the stream is stopped, and how many more it gets to catch up.
STALLED_HOPS, CATCHING_UP = 4, 40


class Stepper:
    """Gives a session one hop after the other, each with the state that the one before it left.

    Handing the state on is part of a step, as it is in an application: preparing the inputs, the run, and reading
    the outputs. A model that keeps its state itself has none declared.
    """

    def __init__(self, session: Session, state: Mapping[str, str], first: Feeds) -> None:
        check_state(session, state)
        self._session, self._pairs = session, dict(state)
        self.state = {name: np.zeros_like(first[name]) for name in state}

    def __call__(self, feeds: Feeds) -> None:
        prepared = self._session.prepare({**feeds, **self.state})
        outputs = self._session.outputs_of(prepared, self._session.run(prepared))
        self.state = {name: outputs[source] for name, source in self._pairs.items()}

    @property
    def state_bytes(self) -> int:
        return sum(array.nbytes for array in self.state.values())


def check_state(session: Session, state: Mapping[str, str]) -> None:
    """Raises EdgebenchError where a declared state is no input and output of the model that fit each other."""
    for name, source in state.items():
        before = _tensor(session.inputs, name, "input")
        after = _tensor(session.outputs, source, "output")
        if before.dtype != after.dtype or not _fit(before, after):
            raise EdgebenchError(
                f"stream.state: the output {source} ({after.dtype} {after.shape}) is no next value of the "
                f"input {name} ({before.dtype} {before.shape})",
                "pair each state input with the output that replaces it",
            )


def _tensor(tensors: Sequence[TensorInfo], name: str, kind: str) -> TensorInfo:
    found = next((tensor for tensor in tensors if tensor.name == name), None)
    if found is None:
        names = [tensor.name for tensor in tensors]
        raise EdgebenchError(
            f"stream.state: the model has no {kind} {name!r}{did_you_mean(name, names)}",
            f"its {kind}s are {', '.join(names)}",
        )
    return found


def _fit(before: TensorInfo, after: TensorInfo) -> bool:
    """Whether nothing that is known of two shapes speaks against their being the same."""
    if before.shape is None or after.shape is None:
        return True
    pairs = zip(before.shape, after.shape, strict=False)
    alike = all(None in pair or pair[0] == pair[1] for pair in pairs)
    return alike and len(before.shape) == len(after.shape)


def recovery_ns(
    step: Callable[[Any], Any],
    hops: Sequence[Any],
    hop_ns: int,
    *,
    clock: loops.Clock = time.perf_counter_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> int | None:
    """How long a stream takes to catch up after it was stopped while `STALLED_HOPS` arrived: until a hop is done
    before the next one arrives. None: it does not within `CATCHING_UP` hops."""
    begin = clock()
    sleep(STALLED_HOPS * hop_ns / 1e9)
    resumed = clock()
    for number in range(STALLED_HOPS + CATCHING_UP):
        due = begin + number * hop_ns
        if (early_ns := due - clock()) > 0:
            sleep(early_ns / 1e9)
        step(hops[number % len(hops)])
        if (done := clock()) <= due + hop_ns:
            return done - resumed
    return None
