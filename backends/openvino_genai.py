"""OpenVINO GenAI: decoders of GGUF files, turned into OpenVINO's stateful form by its own reader.

Its pipeline generates text but shows no logits, so what it makes of the file is kept and run by the
runtime below it: the same compiled model, asked token by token.
"""

from __future__ import annotations

import importlib.metadata
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebench.backend import Capabilities, Effective, ModelFile, Option, Scalar
from edgebench.errors import UnsupportedError
from edgebench.generation import Drafting, OwnSpeculation, Room
from edgebench.processes.telemetry import openvino_telemetry

from ._decoder_base import CountingSession, GgufBackend
from ._kept_conversions import converted, kept_folder
from .openvino import compute_census, executed_layers, reason

if TYPE_CHECKING:
    from edgebench.generation import Prompts

_FORMAT = "openvino_ir"
_NAME = "openvino_model"
#: What is kept of a conversion: the pipeline, which speculates, wants a tokenizer beside the model.
_KEPT = (_NAME, "openvino_tokenizer", "openvino_detokenizer")
_CACHES = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "u8": "u8"}
_ACTIVATIONS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16"}
_NAMES = {"f32": "fp32", "f16": "fp16"}
_WEIGHTS = {"u4": "w4", "u8": "w8", "f16": "fp16", "f32": "fp32"}
_MIDDLES = 0x88  # two 4-bit zero points of 8
_ROUNDED = (
    "GenAI's reader rounds the offsets of 4-bit blocks to whole zero points: these are not quite the "
    "weights of the file, and perplexity tells"
)

_OPTIONS = (
    Option("threads", "int", None, "threads that compute (INFERENCE_NUM_THREADS)", minimum=1),
    Option(
        "activations",
        "str",
        "fp32",
        "type of what the weights are multiplied with (INFERENCE_PRECISION_HINT); OpenVINO alone "
        "would choose bf16 where the processor has it",
        tuple(_ACTIVATIONS),
    ),
    Option(
        "dynamic_quantization",
        "int",
        None,
        "activations quantised to int8 in groups of so many (DYNAMIC_QUANTIZATION_GROUP_SIZE); 0: not",
        minimum=0,
    ),
    Option(
        "kv_cache",
        "str",
        "fp16",
        "type of cached keys and values (KV_CACHE_PRECISION); OpenVINO alone would choose u8",
        tuple(_CACHES),
    ),
)


class OpenVinoGenAiBackend(GgufBackend):
    name = title = "openvino_genai"
    summary = "OpenVINO GenAI (decoders of GGUF files, on Intel and Arm processors)"
    distribution = "openvino-genai"
    install = "pip install 'edgebench[openvino-genai]'"
    capabilities = Capabilities(formats=("gguf",), precisions=("as-is",), options=())
    generation = Capabilities(
        formats=("gguf", _FORMAT),
        precisions=("as-is",),
        options=_OPTIONS,
        speculates=("lookup", "draft"),
    )

    def import_runtime(self) -> str:
        import openvino
        import openvino_genai  # noqa: F401 - what is timed is the import of what a deployment loads

        return str(openvino.__version__)

    def convert(self, model: ModelFile, options: Mapping[str, Scalar], cache: Path) -> ModelFile:
        """The stateful model that GenAI's reader makes of the file, weights packed as they are."""
        made_from = [model.sha256, importlib.metadata.version(self.distribution), _KEPT]
        folder = kept_folder(cache, made_from, ".ov", lambda scratch: _read_gguf(model, scratch))
        path = folder / f"{_NAME}.xml"
        return converted(model, path, _FORMAT, [path, path.with_suffix(".bin")])

    def _opened(
        self, model: ModelFile, options: Mapping[str, Scalar], room: Room
    ) -> OpenVinoGenAiSession:
        return OpenVinoGenAiSession(model, options, room)

    def open_speculation(
        self, model: ModelFile, options: Mapping[str, Scalar], room: Room, drafting: Drafting
    ) -> OwnSpeculation:
        from ._openvino_speculation import OpenVinoSpeculation

        self.generation.check(model, options)
        return OpenVinoSpeculation(model.path.parent, _settings(options), drafting)


def _read_gguf(model: ModelFile, scratch: Path) -> Path:
    """The folder of what is kept. GenAI writes what it made beside the file: hence a link to it."""
    import openvino_genai

    link = scratch / "model.gguf"
    link.symlink_to(model.path.resolve())
    try:
        openvino_genai.LLMPipeline(str(link), "CPU", enable_save_ov_model=True)
    except RuntimeError as error:
        raise UnsupportedError(
            f"openvino_genai refuses {model.path.name}: {reason(error)}"
        ) from None
    if not (scratch / f"{_NAME}.xml").exists():
        raise UnsupportedError("this version of openvino_genai keeps no model", "pip install -U it")
    made = scratch / "made"
    made.mkdir()
    for path in scratch.glob("openvino_*.*"):
        if path.stem in _KEPT:
            shutil.move(path, made / path.name)
    return made


class OpenVinoGenAiSession(CountingSession):
    """One infer request whose state is the cache; positions are counted here.

    Texts are scored token by token: within one call OpenVINO attends to keys that never were in the cache, and perplexity
    would tell nothing of its type.
    """

    def __init__(self, model: ModelFile, options: Mapping[str, Scalar], room: Room) -> None:
        import openvino

        super().__init__(room)
        core = openvino.Core()
        read = core.read_model(str(model.path))
        self._weights, self._rounded = _weight_bytes(read), _rounds_offsets(read)
        try:
            self._compiled: Any = core.compile_model(read, "CPU", _settings(options))
        except RuntimeError as error:
            raise UnsupportedError(f"OpenVINO refuses the decoder: {reason(error)}") from None
        self._facts = _read_back(self._compiled)
        for name, value in options.items():
            if self._facts[name] != value:
                raise UnsupportedError(
                    f"{name}={value} was asked for, OpenVINO takes {self._facts[name]} here"
                )
        self._request: Any = self._compiled.create_infer_request()
        self.vocabulary = int(self._compiled.output(0).get_partial_shape()[2].get_length())

    def _fed(self, rows: Prompts) -> Any:
        """In the request's own memory."""
        import numpy as np

        tokens = np.array(rows, np.int64)
        count = tokens.shape[1]
        positions = np.arange(self._used, self._used + count, dtype=np.int64)
        outputs = self._request.infer(
            {
                "input_ids": tokens,
                "attention_mask": np.ones((len(tokens), self._used + count), np.int64),
                "position_ids": np.broadcast_to(positions, tokens.shape).copy(),
                "beam_idx": np.arange(len(tokens), dtype=np.int32),
            },
            share_inputs=True,
            share_outputs=True,
        )
        return outputs[0][:, -1]

    def reset(self) -> None:
        self._request.reset_state()
        super().reset()

    def kv_cache_bytes(self) -> int | None:
        """It grows with the request, and its type is the plugin's affair: not told."""
        return None

    def effective(self) -> Effective:
        import openvino

        compute = compute_census(executed_layers(self._compiled))
        kinds = Counter(self._weights)
        return Effective(
            device="cpu",
            precision=kinds.most_common(1)[0][0] if kinds else None,
            compute_nodes=compute,
            weight_bytes=self._weights,
            threads=self._facts["threads"],
            runtime=f"openvino {openvino.__version__}",
            telemetry=openvino_telemetry(),
            notes=(_ROUNDED,) if self._rounded else (),
            options={name: value for name, value in self._facts.items() if name != "threads"},
        )

    def close(self) -> None:
        self._request = self._compiled = None


def _settings(options: Mapping[str, Scalar]) -> dict[str, Any]:
    """OpenVINO's properties for a variant."""
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": _ACTIVATIONS[str(options.get("activations", "fp32"))],
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
        "KV_CACHE_PRECISION": _CACHES[str(options.get("kv_cache", "fp16"))],
    }
    if options.get("threads") is not None:
        settings["INFERENCE_NUM_THREADS"] = options["threads"]
    if options.get("dynamic_quantization") is not None:
        settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = options["dynamic_quantization"]
    return settings


def _read_back(compiled: Any) -> dict[str, Any]:
    """Returns what the options of this backend became."""
    hint = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    cache = compiled.get_property("KV_CACHE_PRECISION").to_string()
    return {
        "threads": int(compiled.get_property("INFERENCE_NUM_THREADS")),
        "activations": _NAMES.get(hint, hint),
        "dynamic_quantization": int(compiled.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE")),
        "kv_cache": _NAMES.get(cache, cache),
    }


def _weight_bytes(read: Any) -> dict[str, int]:
    """Type of constants -> bytes of them: of matrices, and of what scales and shifts them."""
    sizes: Counter[str] = Counter()
    for node in read.get_ops():
        if node.get_type_name() == "Constant" and len(node.get_output_shape(0)) > 1:
            kind = str(node.get_element_type().to_string())
            sizes[_WEIGHTS.get(kind, kind)] += int(node.get_byte_size())
    return dict(sizes)


def _rounds_offsets(read: Any) -> bool:
    """Whether 4-bit weights have whole numbers for zero points, others than the middle: a block's own
    offset is lost. Blocks without an offset (Q4_0) have the middle, and lose nothing."""
    return any(
        node.get_type_name() == "Constant"
        and node.get_element_type().to_string() == "u4"
        and node.get_output_shape(0)[-1] == 1
        and bool((node.data != _MIDDLES).any())
        for node in read.get_ops()
    )


BACKEND = OpenVinoGenAiBackend
