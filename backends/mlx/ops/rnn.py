"""Recurrent layers: unrolled over time, weights in MLX's order made once."""

from __future__ import annotations

from collections.abc import Callable
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

    def bias(self, b: Any, direction: int, half: int, gates: int) -> Any | None:
        if b is None:
            return None
        width = gates * self.hidden
        return self.node.mx(b)[direction, half * width : (half + 1) * width]

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
    node.attr("output_sequence")
    runs = []
    for direction in range(len(layer.backward)):
        (f,) = layer.functions[direction]
        bias = layer.bias(b, direction, 0, 1)
        if bias is not None:
            bias = bias + layer.bias(b, direction, 1, 1)
        back = node.mx(r)[direction].T
        projected = _projected(layer.x, node.mx(w)[direction], bias)

        def step(now: Any, h: Any, f: Any = f, back: Any = back) -> Any:
            return (f(layer.clipped(mx.addmm(now, h, back))),)

        runs.append(layer.run(direction, projected, step))
    return layer.results(runs)


@op("GRU", 1, 3, 7, 14, 22)
def gru(node: Node, x: Any, w: Any, r: Any, b: Any = None, lengths: Any = None,
        h0: Any = None) -> Any:  # fmt: skip
    layer = _Layer(node, x, lengths, [h0], ["Sigmoid", "Tanh"])
    node.attr("output_sequence")
    linear_first = node.attr("linear_before_reset", 0)
    n = layer.hidden
    runs = []
    for direction in range(len(layer.backward)):
        f, g = layer.functions[direction]
        projected = _projected(layer.x, node.mx(w)[direction], layer.bias(b, direction, 0, 3))
        back = node.mx(r)[direction]
        bias = layer.bias(b, direction, 1, 3)

        def step(
            now: Any, h: Any, f: Any = f, g: Any = g, back: Any = back, bias: Any = bias
        ) -> Any:
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

        runs.append(layer.run(direction, projected, step))
    return layer.results(runs)


@op("LSTM", 1, 7, 14, 22)
def lstm(node: Node, x: Any, w: Any, r: Any, b: Any = None, lengths: Any = None,
         h0: Any = None, c0: Any = None, p: Any = None) -> Any:  # fmt: skip
    layer = _Layer(node, x, lengths, [h0, c0], ["Sigmoid", "Tanh", "Tanh"])
    node.attr("output_sequence")
    coupled = node.attr("input_forget", 0)
    if coupled:
        node.refuse("input_forget=1")
    n = layer.hidden
    runs = []
    for direction in range(len(layer.backward)):
        f, g, out = layer.functions[direction]
        bias = layer.bias(b, direction, 0, 4)
        if bias is not None:
            bias = bias + layer.bias(b, direction, 1, 4)
        back = node.mx(r)[direction].T
        peep = None if p is None else node.mx(p)[direction]
        projected = _projected(layer.x, node.mx(w)[direction], bias)

        def step(
            now: Any, h: Any, c: Any, f: Any = f, g: Any = g, out: Any = out,
            back: Any = back, peep: Any = peep,
        ) -> Any:  # fmt: skip
            gates = mx.addmm(now, h, back)
            i, o, forget, new = mx.split(gates, 4, axis=-1)
            if peep is not None:
                i, forget = i + peep[:n] * c, forget + peep[2 * n :] * c
            c = f(layer.clipped(forget)) * c + f(layer.clipped(i)) * g(layer.clipped(new))
            o = o if peep is None else o + peep[n : 2 * n] * c
            return f(layer.clipped(o)) * out(c), c

        runs.append(layer.run(direction, projected, step))
    return layer.results(runs)
