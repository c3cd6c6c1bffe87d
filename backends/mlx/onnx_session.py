"""A session on an imported model: compiled or eager, whichever is faster, and what really ran."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

from edgebench.backend import Effective, ModelFile, Scalar, Session
from edgebench.errors import EdgebenchError, UnsupportedError

from .._session_facts import closed, one_precision
from . import blas
from . import mlx_device as device
from .arrays import to_numpy
from .program import Program
from .trace import Plan

if TYPE_CHECKING:
    from edgebench.backend import Feeds, Outputs
    from edgebench.operator_times import Profiler

_POLICIES = {"fp16": "float16", "bf16": "bfloat16"}
_NAMES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
_BITS = {"w8": 8, "w4": 4}
#: Pairs of runs that decide between compiled and eager.
_TRIALS = 5


@dataclass(frozen=True)
class _Choice:
    """How one plan runs, and what finding that out took."""

    function: Callable[[list[Any]], list[Any]]
    compiled: bool
    why: str
    compile_s: float | None


@dataclass(frozen=True)
class _Query:
    """One query, ready: the function and its arrays, which lie in MLX's memory."""

    function: Callable[[list[Any]], list[Any]]
    arrays: list[Any]
    plan: Plan | None


class MlxSession(Session):
    def __init__(self, model: ModelFile, options: dict[str, Scalar]) -> None:
        from edgebench.models import onnx_file

        try:
            proto = onnx_file.load_model(model.path)
            self.inputs, self.outputs = onnx_file.describe(proto)
        except EdgebenchError as error:
            raise UnsupportedError(error.message, error.fix) from None
        self._model, self._options = model, options
        self._device = device.chosen_device(options.get("device"))
        device.set_threads(options.get("threads"), self._device)
        self._compile = options.get("compile")
        if self._compile == "always" and not device.can_compile(self._device):
            raise UnsupportedError("mx.compile needs g++ on this platform", "apt install g++")
        settings = {
            "bits": _BITS.get(model.precision, 0),
            "group_size": int(options.get("group_size", 64)),
        }
        policy = _POLICIES.get(model.precision, "float32")
        self._program = Program(proto, self._device, policy, settings)
        self._choices: dict[int, _Choice] = {}
        self._plan: Plan | None = None
        self._looked_ahead()
        self.run: Callable[[Any], Any] = _run

    def _looked_ahead(self) -> None:
        """Plans and decides while the model is loaded, where the shapes of inputs are known."""
        samples = {
            info.name: np.zeros(info.sizes, np.dtype(info.dtype))
            for info in self.inputs
            if info.sizes is not None
        }
        if len(samples) < len(self.inputs):
            return
        self._program.find_keys(samples)
        if self._program.by_value:
            return  # a value decides the shapes: zeros tell nothing
        plan = self._program.plan(samples)
        if plan is not None:
            self._judge_precision(plan)
            self._choose(plan, self._program.arguments(plan, samples))

    def _judge_precision(self, plan: Plan) -> None:
        """Refuses a variant that nothing in the graph would execute."""
        self._plan = plan
        asked, precision = self._model.precision, self._precision(plan)
        if asked == "fp32" and precision not in ("fp32", None):
            raise UnsupportedError(f"fp32 was asked for, but the model computes in {precision}")
        if asked in _BITS and asked not in plan.compute:
            raise UnsupportedError(
                f"{asked} was asked for, but no matrix product has a weight of whole groups",
                "--set group_size=32",
            )

    def _precision(self, plan: Plan) -> str | None:
        kind = one_precision(plan.compute)
        return None if kind is None else _NAMES.get(kind, kind)

    def _choose(self, plan: Plan, arrays: list[Any]) -> _Choice:
        known = self._choices.get(id(plan))
        if known is not None:
            return known
        self._choices[id(plan)] = choice = self._tried(plan, arrays)
        return choice

    def _tried(self, plan: Plan, arrays: list[Any]) -> _Choice:
        if self._compile == "never":
            return _Choice(plan, False, "asked for", None)
        if not plan.compilable:
            if self._compile == "always":
                raise UnsupportedError("this graph has outputs that mx.compile does not take")
            return _Choice(plan, False, "the graph has outputs that mx.compile does not take", None)
        if not device.can_compile(self._device):
            return _Choice(plan, False, "no g++ for mx.compile", None)
        compiled = mx.compile(plan)
        start = time.perf_counter()
        try:
            mx.eval(compiled(arrays))
        except RuntimeError as error:  # the compiler's message
            if self._compile == "always":
                raise UnsupportedError(f"mx.compile failed: {_line(error)}") from None
            return _Choice(plan, False, f"mx.compile failed: {_line(error)}", None)
        compile_s = time.perf_counter() - start
        if self._compile == "always":
            return _Choice(compiled, True, "asked for", compile_s)
        return _faster(plan, compiled, arrays, compile_s)

    def device(self) -> str:
        return self._device

    def prepare(self, feeds: Feeds) -> Any:
        feeds = {info.name: feeds[info.name] for info in self.inputs}
        plan = self._program.plan(feeds)
        if plan is None:
            return _Query(functools.partial(self._walk, feeds), [], None)
        self._judge_precision(plan)
        arrays = self._program.arguments(plan, feeds)
        mx.eval(arrays)
        choice = self._choose(plan, arrays)
        return _Query(choice.function, arrays, plan)

    def _walk(self, feeds: Mapping[str, Any], _arrays: list[Any]) -> list[Any]:
        return self._program.walk(feeds)

    def outputs_of(self, prepared: Any, raw: Any) -> Outputs:
        outputs = {}
        for info, array in zip(self.outputs, raw, strict=True):
            values = to_numpy(array)
            outputs[info.name] = np.array(values, dtype=np.dtype(info.dtype))
        return outputs

    def effective(self) -> Effective:
        plan = self._plan
        choice = None if plan is None else self._choices.get(id(plan))
        notes = device.notes(self._device)
        for name, why in self._program.data_dependent.items():
            notes.append(f"runs node by node: {name}: {why}")
        if choice is not None:
            notes.append(f"{'compiled' if choice.compiled else 'eager'}: {choice.why}")
        return Effective(
            device=self._device,
            telemetry="none",
            precision=None if plan is None else self._precision(plan),
            compute_nodes=None
            if plan is None
            else {_NAMES.get(k, k): n for k, n in plan.compute.items()},
            weight_bytes=None if plan is None else plan.weight_bytes(),
            threads=blas.threads() if self._device == "cpu" else None,
            inputs=self.inputs,
            outputs=self.outputs,
            runtime=f"mlx {mx.__version__}",
            notes=tuple(notes),
            not_deployable=device.not_deployable(self._device),
            options={
                "device": self._device,
                "compile": None if choice is None else "always" if choice.compiled else "never",
                "compile_s": None if choice is None else choice.compile_s,
                "group_size": self._group_size(plan),
                "blas": blas.running().name if self._device == "cpu" else None,
                "steps": None if plan is None else len(plan.steps),
            },
        )

    def _group_size(self, plan: Plan | None) -> int:
        asked = int(self._options.get("group_size", 64))
        return asked if plan is None else plan.group_size or asked

    def arena_bytes(self) -> int | None:
        return int(mx.get_active_memory() + mx.get_cache_memory())

    def profiler(self) -> Profiler:
        raise UnsupportedError(
            "MLX computes a graph as a whole and tells no times of operators",
            "explain the model on another backend, such as --backend ort",
        )

    def close(self) -> None:
        self._choices.clear()
        self._program = None  # type: ignore[assignment]
        self._plan = None
        self.run = closed
        mx.clear_cache()


def _run(query: _Query) -> list[Any]:
    """The measured call: the results lie in memory when it returns."""
    outputs = query.function(query.arrays)
    mx.eval(outputs)
    return outputs


def _faster(
    plan: Plan, compiled: Callable[[list[Any]], list[Any]], arrays: list[Any], compile_s: float
) -> _Choice:
    """Both in turns; the lower minimum wins."""
    mx.eval(plan(arrays))
    best = {True: float("inf"), False: float("inf")}
    for _ in range(_TRIALS):
        for kind, function in ((True, compiled), (False, plan)):
            start = time.perf_counter()
            mx.eval(function(arrays))
            best[kind] = min(best[kind], time.perf_counter() - start)
    ratio = best[False] / best[True]
    won = ratio >= 1
    why = f"eager takes {ratio:.2f}x the time of compiled"
    return _Choice(compiled if won else plan, won, why, compile_s)


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
