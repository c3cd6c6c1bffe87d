"""A model as MLX programs: one plan per form of its inputs, run eagerly or compiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx
import numpy as np

from . import functions
from .arrays import MLX_DTYPES, dtype_name, to_mlx, to_numpy
from .functions import Scope
from .onnx_attrs import type_name
from .trace import DataDependent, NeedsValue, Plan, Slot, Traced, Tracer
from .unsupported import UnsupportedOperator

#: Plans kept for one model; a graph input that decides shapes may take many values.
MAX_PLANS = 64


@dataclass
class Program:
    """An ONNX model, imported. `policy` is the type that float32 is computed in.

    Raises UnsupportedOperator, when made or when a query is prepared, for what MLX cannot answer.
    """

    model: Any
    device: str = "cpu"
    policy: str = "float32"
    tracer_settings: Mapping[str, Any] = field(default_factory=dict)
    by_value: set[str] = field(default_factory=set)  # graph inputs that decide shapes
    data_dependent: dict[str, str] = field(default_factory=dict)
    _plans: dict[tuple[Any, ...], Plan | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        graph = self.model.graph
        weights = {tensor.name for tensor in graph.initializer}
        self.inputs = [value for value in graph.input if value.name not in weights]
        self.scope = Scope(
            functions.opsets_of(self.model),
            {(functions.domain_of(f.domain), f.name): f for f in self.model.functions},
        )
        for value in [*self.inputs, *graph.output]:
            _check_type(value)
        self._check_operators()

    def _check_operators(self) -> None:
        """Refuses a model with an operator that nothing can serve, before any data is seen."""
        from .operator_support import check_graph

        check_graph(self.model.graph, self.scope)

    def plan(self, samples: Mapping[str, Any]) -> Plan | None:
        """The plan for inputs of this form; None where shapes depend on data.

        `samples` maps each input to a numpy or MLX array, a list of them, or None.
        """
        if any(isinstance(value, list) for value in samples.values()):
            return None  # how long a sequence is, is data as well
        while True:
            key = tuple(
                (name, _form(value, name in self.by_value)) for name, value in samples.items()
            )
            if key in self._plans:
                return self._plans[key]
            try:
                made = self._trace(samples)
            except NeedsValue as need:
                self.by_value.add(need.name)
                continue
            except DataDependent:
                made = None
            if len(self._plans) >= MAX_PLANS:
                self._plans.pop(next(iter(self._plans)))
            self._plans[key] = made
            return made

    def find_keys(self, samples: Mapping[str, Any]) -> None:
        """Finds the graph inputs that decide shapes; their values in `samples` do not matter."""
        try:
            self._trace(samples)
        except NeedsValue as need:
            self.by_value.add(need.name)  # what follows depends on its value
        except DataDependent:
            return

    def _trace(self, samples: Mapping[str, Any]) -> Plan:
        tracer = Tracer(self.device, self.policy, **self.tracer_settings)
        env: dict[str, Any] = {}
        for name, value in samples.items():
            env[name] = self._placed(tracer, name, value)
        outputs = self._outputs(tracer, env)
        slots = {
            name: env[name].slot
            for name in samples
            if isinstance(env[name], Traced) and name not in self.by_value
        }
        group_size = tracer.group_size if tracer.packed else None
        return Plan(
            slots, outputs, tracer.steps, tracer.slots, tracer.compute, tracer.weights(), group_size
        )

    def _placed(self, tracer: Tracer, name: str, value: Any) -> Any:
        if value is None:
            return None
        if name in self.by_value:
            return to_mlx(to_numpy(value))
        dtype = MLX_DTYPES[tracer.policy_name(dtype_name(value))]
        return tracer.input(name, mx.zeros(tuple(value.shape), dtype))

    def _outputs(self, tracer: Tracer, env: dict[str, Any]) -> list[Any]:
        names = {value.name for value in self.inputs}
        given = dict(env)
        for name in names - set(env):
            raise UnsupportedOperator(name, "input", "type", "no value was given")
        results = tracer.graph(self.model.graph, given, self.scope)
        outputs = []
        for value, result in zip(self.model.graph.output, results, strict=True):
            outputs.append(self._output(tracer, value, result))
        return outputs

    def _output(self, tracer: Tracer, declared: Any, value: Any) -> Any:
        if isinstance(value, list):
            return [self._output(tracer, None, item) for item in value]
        array = value
        if isinstance(value, Traced):
            first = tracer.first(value)
            array = first.sample
            value = first.sample if tracer.concrete else Slot(first.slot)
        if declared is not None and array is not None and declared.type.HasField("tensor_type"):
            wanted = type_name(declared.type.tensor_type.elem_type)
            found = dtype_name(array)
            if found not in (wanted, tracer.policy_name(wanted)):
                why = f"it would be {found}, the model says {wanted}"
                raise UnsupportedOperator(declared.name, "output", "type", why)
        return value

    def array(self, value: Any) -> Any:
        """An input array for MLX, in the type it is computed in."""
        array = to_mlx(np.asarray(value)) if isinstance(value, (np.ndarray, np.generic)) else value
        if dtype_name(array) == "float32" and self.policy != "float32":
            return array.astype(MLX_DTYPES[self.policy])
        return array

    def walk(self, samples: Mapping[str, Any]) -> list[Any]:
        """A run node by node on real arrays, for graphs whose shapes depend on data."""
        tracer = Tracer(self.device, self.policy, concrete=True, **self.tracer_settings)
        env: dict[str, Any] = {}
        for name, value in samples.items():
            env[name] = None if value is None else self._walked(tracer, name, value)
        outputs = self._outputs(tracer, env)
        self.data_dependent.update(tracer.dynamic)
        return outputs

    def _walked(self, tracer: Tracer, name: str, value: Any) -> Any:
        if isinstance(value, list):
            return [self._walked(tracer, name, item) for item in value]
        return tracer.input(name, self.array(value))

    def run(self, samples: Mapping[str, Any], *, compiled: bool = False) -> list[Any]:
        """Outputs of one query, evaluated. Plans first: nothing runs that cannot run to its end."""
        plan = self.plan(samples)
        if plan is None:
            outputs = self.walk(samples)
        else:
            run = mx.compile(plan) if compiled and plan.compilable else plan
            outputs = run(self.arguments(plan, samples))
        mx.eval(list(_arrays(outputs)))
        return outputs

    def arguments(self, plan: Plan, samples: Mapping[str, Any]) -> list[Any]:
        """The arrays that a plan takes, in its order."""
        return [self.array(samples[name]) for name in plan.inputs]


def _arrays(values: Sequence[Any]) -> Any:
    for value in values:
        if isinstance(value, list):
            yield from _arrays(value)
        elif value is not None and not isinstance(value, np.ndarray):
            yield value


def _form(value: Any, by_value: bool) -> Any:
    if value is None:
        return None
    if isinstance(value, list):
        return tuple(_form(item, by_value) for item in value)
    told = (tuple(value.shape), dtype_name(value))
    return (*told, to_numpy(value).tobytes()) if by_value else told


def _check_type(value: Any) -> None:
    """Refuses inputs and outputs of types that MLX does not have."""
    kind = value.type
    while kind.WhichOneof("value") in ("sequence_type", "optional_type"):
        kind = getattr(kind, kind.WhichOneof("value")).elem_type
    if kind.WhichOneof("value") != "tensor_type":
        why = f"{kind.WhichOneof('value') or 'an untyped value'} is not supported"
        raise UnsupportedOperator(value.name, "input or output", "type", why)
    name = type_name(kind.tensor_type.elem_type)
    if name not in MLX_DTYPES:
        raise UnsupportedOperator(value.name, "input or output", "type", f"type {name}")
