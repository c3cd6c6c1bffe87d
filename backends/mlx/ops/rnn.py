"""Recurrent layers: unrolled over time, weights in MLX's order made once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mlx.core as mx
import numpy as np

from ..node import Node
from ..operator_registry import op

_ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "sigmoid": mx.sigmoid,
    "tanh": mx.tanh,
    "relu": lambda x: mx.maximum(x, 0),
    "affine": lambda x, alpha=1.0, beta=0.0: x * alpha + beta,
    "leakyrelu": lambda x, alpha=0.01: mx.where(x < 0, x * alpha, x),
    "hardsigmoid": lambda x, alpha=0.2, beta=0.5: mx.clip(x * alpha + beta, 0, 1),
    "softsign": lambda x: x / (1 + mx.abs(x)),
}
#: Makes the step of a direction, of its number, its functions, its recurrent weight and the bias of that.
StepOf = Callable[[int, list[Any], Any, Any], Callable[..., Any]]
_WITH_BETA = ("affine", "hardsigmoid")
_WITH_ALPHA = ("affine", "hardsigmoid", "leakyrelu")


def _activations(node: Node, default: list[str], directions: int) -> list[list[Any]]:
    names = node.attr("activations") or default * directions
    alphas = list(node.attr("activation_alpha") or [])
    betas = list(node.attr("activation_beta") or [])
    made = []
    for name in names:
        key = name.lower()
        if key not in _ACTIVATIONS:
            node.refuse(f"activation {name}")
        settings = {}
        if key in _WITH_ALPHA and alphas:
            settings["alpha"] = alphas.pop(0)
        if key in _WITH_BETA and betas:
            settings["beta"] = betas.pop(0)
        made.append(_bound(_ACTIVATIONS[key], settings))
    each = len(default)
    return [made[i * each : (i + 1) * each] for i in range(directions)]


def _bound(function: Callable[..., Any], settings: dict[str, float]) -> Callable[[Any], Any]:
    return (lambda x: function(x, **settings)) if settings else function


class _Layer:
    """Holds what the three operators share: directions, lengths, initial states, the loop."""

    def __init__(
        self, node: Node, x: Any, lengths: Any, states: list[Any], defaults: list[str]
    ) -> None:
        self.node = node
        self.hidden = int(node.attr("hidden_size"))
        node.attr("output_sequence")
        direction = node.attr("direction", "forward")
        self.backward = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[
            direction
        ]
        self.layout = node.attr("layout", 0)
        self.clip = node.attr("clip")
        self.functions = _activations(node, defaults, len(self.backward))
        x = node.mx(x)
        self.x = mx.swapaxes(x, 0, 1) if self.layout else x
        self.steps: int = self.x.shape[0]
        self.batch: int = self.x.shape[1]
        self.mask = None
        if lengths is not None:
            at = node.array(np.arange(self.steps).reshape(-1, 1, 1), "int32")
            self.mask = at < node.mx(lengths).reshape(1, -1, 1)
        self.initial = [self._state(state) for state in states]

    def _state(self, given: Any) -> Any:
        if given is None:
            return mx.zeros((len(self.backward), self.batch, self.hidden), self.x.dtype)
        given = self.node.mx(given)
        return mx.swapaxes(given, 0, 1) if self.layout else given

    def clipped(self, x: Any) -> Any:
        return x if self.clip is None else mx.clip(x, -self.clip, self.clip)

    def outputs(
        self, weights: Sequence[Any], gates: int, step_of: StepOf, *, one_bias: bool
    ) -> Any:
        """Runs each direction by the step that `step_of` makes of its functions, its recurrent weight and its bias. `weights`
        are W, R and B; `one_bias`: both halves of B are added ahead, and the step has none."""
        w, r, b = (self.node.mx(weight) for weight in weights)
        width = gates * self.hidden
        runs = []
        for direction, functions in enumerate(self.functions):
            bias = second = None
            if b is not None:
                bias, second = b[direction, :width], b[direction, width : 2 * width]
                if one_bias:
                    bias, second = bias + second, None
            projected = _projected(self.x, w[direction], bias)
            step = step_of(direction, functions, r[direction], second)
            runs.append(self.run(direction, projected, step))
        return self.results(runs)

    def run(self, direction: int, projected: Any, step: Callable[..., Any]) -> Any:
        """Walks time; `step(inputs, *states)` gives the next states, the first is the output."""
        states = [initial[direction] for initial in self.initial]
        outputs: list[Any] = [None] * self.steps
        times = range(self.steps)
        for time in reversed(times) if self.backward[direction] else times:
            after = step(projected[time], *states)
            if self.mask is None:
                states = list(after)
                outputs[time] = states[0]
            else:
                keep = self.mask[time]
                outputs[time] = mx.where(keep, after[0], mx.zeros((), after[0].dtype))
                states = [mx.where(keep, a, s) for a, s in zip(after, states, strict=True)]
        return mx.stack(outputs), states

    def results(self, runs: list[Any]) -> tuple[Any, ...]:
        output = mx.stack([made for made, _ in runs], axis=1)  # time, directions, batch, hidden
        finals = [mx.stack(list(column)) for column in zip(*(s for _, s in runs), strict=True)]
        if self.layout:
            output = mx.transpose(output, (2, 0, 1, 3))
            finals = [mx.swapaxes(final, 0, 1) for final in finals]
        return (output, *finals)


def _projected(x: Any, weight: Any, bias: Any | None) -> Any:
    """All time steps in one product."""
    steps, batch, width = x.shape
    flat = x.reshape(steps * batch, width)
    made = flat @ weight.T if bias is None else mx.addmm(bias, flat, weight.T)
    return made.reshape(steps, batch, -1)


@op("RNN", 1, 7, 14, 22)
def rnn(node: Node, x: Any, w: Any, r: Any, b: Any = None, lengths: Any = None,
        h0: Any = None) -> Any:  # fmt: skip
    layer = _Layer(node, x, lengths, [h0], ["Tanh"])

    def step_of(_direction: int, functions: list[Any], weight: Any, _bias: Any) -> Any:
        (f,), back = functions, weight.T

        def step(now: Any, h: Any) -> Any:
            return (f(layer.clipped(mx.addmm(now, h, back))),)

        return step

    return layer.outputs((w, r, b), 1, step_of, one_bias=True)


@op("GRU", 1, 3, 7, 14, 22)
def gru(node: Node, x: Any, w: Any, r: Any, b: Any = None, lengths: Any = None,
        h0: Any = None) -> Any:  # fmt: skip
    layer = _Layer(node, x, lengths, [h0], ["Sigmoid", "Tanh"])
    linear_first = node.attr("linear_before_reset", 0)
    n = layer.hidden

    def step_of(_direction: int, functions: list[Any], back: Any, bias: Any) -> Any:
        f, g = functions

        def step(now: Any, h: Any) -> Any:
            if linear_first:
                inner = h @ back.T if bias is None else mx.addmm(bias, h, back.T)
                gates = f(layer.clipped(now[:, : 2 * n] + inner[:, : 2 * n]))
                z, reset = gates[:, :n], gates[:, n:]
                new = g(layer.clipped(now[:, 2 * n :] + reset * inner[:, 2 * n :]))
            else:
                inner = mx.addmm(now[:, : 2 * n], h, back[: 2 * n].T)
                inner = inner if bias is None else inner + bias[: 2 * n]
                gates = f(layer.clipped(inner))
                z, reset = gates[:, :n], gates[:, n:]
                new = mx.addmm(now[:, 2 * n :], reset * h, back[2 * n :].T)
                new = g(layer.clipped(new if bias is None else new + bias[2 * n :]))
            return ((1 - z) * new + z * h,)

        return step

    return layer.outputs((w, r, b), 3, step_of, one_bias=False)


@op("LSTM", 1, 7, 14, 22)
def lstm(node: Node, x: Any, w: Any, r: Any, b: Any = None, lengths: Any = None,
         h0: Any = None, c0: Any = None, p: Any = None) -> Any:  # fmt: skip
    layer = _Layer(node, x, lengths, [h0, c0], ["Sigmoid", "Tanh", "Tanh"])
    if node.attr("input_forget", 0):
        node.refuse("input_forget=1")
    n = layer.hidden

    def step_of(direction: int, functions: list[Any], weight: Any, _bias: Any) -> Any:
        (f, g, out), back = functions, weight.T
        peep = None if p is None else node.mx(p)[direction]

        def step(now: Any, h: Any, c: Any) -> Any:
            i, o, forget, new = mx.split(mx.addmm(now, h, back), 4, axis=-1)
            if peep is not None:
                i, forget = i + peep[:n] * c, forget + peep[2 * n :] * c
            c = f(layer.clipped(forget)) * c + f(layer.clipped(i)) * g(layer.clipped(new))
            o = o if peep is None else o + peep[n : 2 * n] * c
            return f(layer.clipped(o)) * out(c), c

        return step

    return layer.outputs((w, r, b), 4, step_of, one_bias=True)
