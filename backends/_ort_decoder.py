"""Decoders on ONNX Runtime: graphs that edgebench made of GGUF files, and a user's own.

Both are driven through IO binding. A graph of ours writes keys and values in place, in buffers of their
final size; another one (inputs `past_key_values.N.key`, outputs `present.N.key`, as exporters write
them) returns them longer by the new tokens, and they become the next call's inputs.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edgebench.backend import Effective, ModelFile, Scalar
from edgebench.errors import UnsupportedError
from edgebench.generation import GenerationSession, Room, check_extension, check_room

from ._decoder_base import ScoringSession
from ._kept_conversions import kept_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgebench.generation import Logits, Prompts

_FORM = "edgebench.decoder/1"
MAX_BOUND = 16  # tokens of an extension whose binding is kept
_GRAPHS = {_FORM: "contrib", "standard": "standard"}  # form in the metadata -> value of the option
_PAST = re.compile(r"past_key_values\.(\d+)\.(key|value)")
_TYPES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


def convert(model: ModelFile, options: Mapping[str, Scalar], cache: Path) -> ModelFile:
    """The ONNX graph of a GGUF file, in `cache`."""
    from edgebench.assets import file_sha256
    from edgebench.models.llm import onnx_decoder, onnx_standard
    from edgebench.models.llm.gguf_file import GgufFile
    from edgebench.models.llm.onnx_linear import IN_BLOCKS, PRECISIONS

    if model.precision not in PRECISIONS:
        raise UnsupportedError(
            f"no decoder of precision {model.precision!r} is made of a GGUF file"
        )
    level = int(options.get("accuracy_level", 0))
    if level and model.precision not in IN_BLOCKS:
        raise UnsupportedError(
            f"accuracy_level has no effect on {model.precision}: only blocks of integers have it",
            f"--set precision={' or '.join(IN_BLOCKS)}",
        )
    graph = str(options.get("graph", "contrib"))
    made_from = [model.sha256, model.precision, level, graph, onnx_decoder.code_sha256()]
    made_from.append(importlib.metadata.version("onnx"))
    path = kept_path(cache, made_from, ".onnx")
    if not path.exists():
        if graph == "standard":
            onnx_standard.write_standard_decoder(GgufFile(model.path), path, model.precision)
        else:
            onnx_decoder.write_decoder(GgufFile(model.path), path, model.precision, level)
    digests = file_sha256(path) + file_sha256(path.with_suffix(".data"))
    return replace(
        model, path=path, format="onnx", sha256=hashlib.sha256(digests.encode()).hexdigest()
    )


def open_decoder(
    inner: Any,
    options: Mapping[str, Scalar],
    room: Room,
    device: str,
    facts: Callable[[], Effective],
) -> GenerationSession:
    """The session for an `onnxruntime.InferenceSession`; `facts` reads back what is not the cache's.

    Raises UnsupportedError where the graph is not what `options` say of it.
    """
    metadata = inner.get_modelmeta().custom_metadata_map
    _check_graph(metadata, options)
    if metadata.get("form") == _FORM:
        return InPlaceSession(inner, room, device, facts)
    return GrowingSession(inner, room, device, facts)


def _check_graph(metadata: Mapping[str, str], options: Mapping[str, Scalar]) -> None:
    """Refuses options that a user's own graph does not have; a graph that `convert` made has what was asked for."""
    defaults: dict[str, Scalar] = {}
    if metadata.get("form") in _GRAPHS:
        level = int(metadata.get("accuracy_level") or 0)
        defaults = {"graph": _GRAPHS[metadata["form"]], "accuracy_level": level}
    for name in ("graph", "accuracy_level"):
        if name in options and options[name] != defaults.get(name):
            raise UnsupportedError(
                f"{name}={options[name]} has no effect on an ONNX file: it is for graphs that are "
                "made of GGUF files",
                f"leave {name} out",
            )


class _OrtDecoder(ScoringSession):
    """Holds what both kinds share: the runtime's session, and what is read back of it."""

    def __init__(self, inner: Any, room: Room, device: str, facts: Callable[[], Effective]) -> None:
        super().__init__(room)
        self._inner, self._device, self._facts = inner, device, facts
        self._metadata = inner.get_modelmeta().custom_metadata_map
        self._form = self._metadata.get("form", "")
        self._inputs = {node.name: node for node in inner.get_inputs()}
        self._outputs = [node.name for node in inner.get_outputs()]
        self._cached = [name for name in self._inputs if _PAST.fullmatch(name)]
        if not self._cached:
            raise UnsupportedError(
                "this ONNX model has no inputs past_key_values.N.key: it is no decoder with a cache",
                "export it with past keys and values",
            )
        self._cache_type = np.dtype(_numpy_type(self._inputs[self._cached[0]].type))
        logits = next((node for node in inner.get_outputs() if node.name == "logits"), None)
        if logits is None or not isinstance(logits.shape[-1], int):
            raise UnsupportedError("this ONNX model has no output `logits` of a known size")
        self.vocabulary = int(logits.shape[-1])

    def _cache_shape(self, name: str, positions: int) -> list[int]:
        """(batch, heads, positions, head size), as the graph says."""
        heads, size = self._inputs[name].shape[1], self._inputs[name].shape[3]
        if not isinstance(heads, int) or not isinstance(size, int):
            raise UnsupportedError(f"{name} does not tell its heads and their size")
        return [self.width, heads, positions, size]

    def effective(self) -> Effective:
        facts = self._facts()
        read_back = {
            "kv_cache": _TYPES.get(self._cache_type.name, self._cache_type.name),
            "accuracy_level": self._accuracy_level(),
            "graph": _GRAPHS.get(self._form),
        }
        return msgspec.structs.replace(facts, options={**facts.options, **read_back})

    def _accuracy_level(self) -> int | None:
        """Of the graph's MatMulNBits, where the graph tells it."""
        level = self._metadata.get("accuracy_level", "")
        return int(level) if level else None

    def close(self) -> None:
        self._inner = None
        self._cached = []


class InPlaceSession(_OrtDecoder):
    """A graph of edgebench's: the cache is written where it lies; steps bind nothing anew."""

    def __init__(self, inner: Any, room: Room, device: str, facts: Callable[[], Effective]) -> None:
        import onnxruntime

        super().__init__(inner, room, device, facts)
        check_room(room, int(self._metadata["context_length"]))
        self._buffers = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(
                np.zeros(self._cache_shape(name, room.positions), self._cache_type), device, 0
            )
            for name in self._cached
        }
        self._one = _Call(self, tokens=1, kept=1)
        self.rewinds = self.width == 1
        self._several: dict[tuple[int, int], _Call] = {}  # by the numbers of tokens and of logits

    def extend(self, tokens: Sequence[int]) -> Logits:
        logits: Logits = self._extended(tokens, kept=len(tokens))[0]
        return logits

    def read_on(self, tokens: Sequence[int]) -> Logits:
        last: Logits = self._extended(tokens, kept=1)[0]
        return last

    def _extended(self, tokens: Sequence[int], kept: int) -> Logits:
        """Few tokens are bound once: a draft's come again and again, those of a turn do not."""
        count = len(tokens)
        check_extension(count, self.width, self._used, self.positions)
        call = self._several.get((count, kept))
        if call is None:
            call = _Call(self, tokens=count, kept=kept)
            if count <= MAX_BOUND:
                self._several[count, kept] = call
        logits = self._run(call, [tokens])
        self._used += count
        return logits

    def _fed(self, rows: Prompts) -> Logits:
        count = len(rows[0])
        call = self._one if count == 1 else _Call(self, tokens=count, kept=1)
        return self._run(call, rows)[:, -1]

    def _every(self, rows: Prompts) -> Logits:
        count = len(rows[0])
        return self._run(_Call(self, tokens=count, kept=count), rows)

    def _run(self, call: _Call, tokens: Prompts) -> Logits:
        used = self._used + call.tokens.shape[1]
        call.tokens[:] = tokens
        call.last[:] = used - 1
        call.total[...] = used
        self._inner.run_with_iobinding(call.binding)
        return call.logits

    def kv_cache_bytes(self) -> int:
        return sum(
            int(np.prod(value.shape())) * self._cache_type.itemsize
            for value in self._buffers.values()
        )

    def kv_used_bytes(self) -> int:
        return self.kv_cache_bytes() * self._used // self.positions

    def close(self) -> None:
        super().close()
        self._buffers = {}
        self.__dict__.pop("_one", None)
        self._several = {}


class _Call:
    """A binding and the arrays it reads and writes, for one number of tokens."""

    def __init__(self, session: InPlaceSession, tokens: int, kept: int) -> None:
        width = session.width
        self.tokens = np.zeros((width, tokens), np.int64)
        self.kept = np.arange(tokens - kept, tokens, dtype=np.int64)
        self.last = np.zeros(width, np.int32)
        self.total = np.zeros((), np.int32)
        self.logits = np.zeros((width, kept, session.vocabulary), np.float32)
        self.binding = session._inner.io_binding()
        arrays: dict[str, NDArray[Any]] = {
            "input_ids": self.tokens,
            "kept": self.kept,
            "last_position": self.last,
            "total_length": self.total,
        }
        for name, array in arrays.items():
            pointer = array.ctypes.data
            self.binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, pointer)
        for name, value in session._buffers.items():
            self.binding.bind_ortvalue_input(name, value)
            self.binding.bind_ortvalue_output(_present(name), value)
        self.binding.bind_output(
            "logits", "cpu", 0, np.float32, self.logits.shape, self.logits.ctypes.data
        )


class GrowingSession(_OrtDecoder):
    """A graph whose outputs `present.N` are its inputs `past_key_values.N`, longer by the tokens."""

    def __init__(self, inner: Any, room: Room, device: str, facts: Callable[[], Effective]) -> None:
        super().__init__(inner, room, device, facts)
        known = {"input_ids", "attention_mask", "position_ids", *self._cached}
        unknown = sorted(set(self._inputs) - known)
        if unknown or "input_ids" not in self._inputs:
            named = ", ".join(unknown) or "no input_ids"
            raise UnsupportedError(f"a decoder with {named} is not supported")
        missing = [_present(name) for name in self._cached if _present(name) not in self._outputs]
        if missing:
            raise UnsupportedError(f"this ONNX model has no output {missing[0]}")
        self._past: dict[str, Any] = {}

    def _every(self, rows: Prompts) -> Logits:
        tokens = np.array(rows, np.int64)
        used = self._used + tokens.shape[1]
        arrays = {
            "input_ids": tokens,
            "attention_mask": np.ones((self.width, used), np.int64),
            "position_ids": np.tile(np.arange(self._used, used), (self.width, 1)),
        }
        binding = self._inner.io_binding()
        for name, array in arrays.items():
            if name in self._inputs:
                kind = _numpy_type(self._inputs[name].type)
                binding.bind_cpu_input(name, np.ascontiguousarray(array, dtype=kind))
        for name in self._cached:
            binding.bind_ortvalue_input(name, self._past.get(name) or self._empty(name))
        for name in self._outputs:
            binding.bind_output(name, "cpu" if name == "logits" else self._device)
        self._inner.run_with_iobinding(binding)
        results = dict(zip(self._outputs, binding.get_outputs(), strict=True))
        self._past = {name: results[_present(name)] for name in self._cached}
        return np.asarray(results["logits"].numpy())

    def _empty(self, name: str) -> Any:
        import onnxruntime

        nothing = np.zeros(self._cache_shape(name, 0), self._cache_type)
        return onnxruntime.OrtValue.ortvalue_from_numpy(nothing, self._device, 0)

    def reset(self) -> None:
        super().reset()
        self._past = {}

    def kv_cache_bytes(self) -> int:
        """Returns the size of the cache now; it grows with every token."""
        size = self._cache_type.itemsize
        return sum(int(np.prod(value.shape())) * size for value in self._past.values())

    def kv_used_bytes(self) -> int:
        return self.kv_cache_bytes()

    def close(self) -> None:
        super().close()
        self._past = {}


def _present(name: str) -> str:
    return name.replace("past_key_values", "present")


def _numpy_type(kind: str) -> str:
    names = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(int64)": "int64"}
    names["tensor(int32)"] = "int32"
    if kind not in names:
        raise UnsupportedError(f"a decoder with values of {kind} is not supported")
    return names[kind]
