"""ONNX Runtime GenAI: decoders that its own builder makes of a GGUF file's weights.

The builder needs PyTorch and Transformers and works offline from a folder written here. Its int8 and
int4 forms are quantised anew from the weights taken apart: quality tells what that costs.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebench.backend import (
    Capabilities,
    Effective,
    ModelFile,
    Option,
    Ready,
    Scalar,
    Unavailable,
)
from edgebench.errors import UnsupportedError
from edgebench.generation import Drafting, GenerationSession, OwnSpeculation, Room
from edgebench.processes.python_command import module_command
from edgebench.processes.telemetry import Telemetry, ort_telemetry

from ._decoder_base import CountingSession, GgufBackend
from ._kept_conversions import converted, kept_folder
from ._session_facts import one_precision

if TYPE_CHECKING:
    from edgebench.generation import Prompts

_FORMAT = "genai_folder"
_BUILDER = ("torch", "transformers", "onnx_ir", "safetensors")
_BUILDER_FIX = "pip install torch transformers onnx-ir safetensors (for the conversion only)"
_OPTIONS = (
    Option("threads", "int", None, "threads inside an operator (intra_op_num_threads)", minimum=1),
)


class OrtGenAiBackend(GgufBackend):
    name = title = "ort_genai"
    summary = "ONNX Runtime GenAI (decoders, built by its own model builder)"
    distribution = "onnxruntime-genai"
    install = "pip install 'edgebench[ort-genai]'"
    capabilities = Capabilities(formats=("gguf",), precisions=("fp32",), options=())
    generation = Capabilities(
        formats=("gguf", _FORMAT),
        precisions=("fp32", "int8", "int4"),
        options=_OPTIONS,
        speculates=("lookup", "draft"),
    )

    def availability(self) -> Ready | Unavailable:
        state, missing = super().availability(), _missing()
        if isinstance(state, Ready) and missing:
            return replace(state, note=missing, fix=_BUILDER_FIX, runs_only=True)
        return state

    def import_runtime(self) -> str:
        import onnxruntime_genai

        return str(onnxruntime_genai.__version__)

    def convert(self, model: ModelFile, options: Mapping[str, Scalar], cache: Path) -> ModelFile:
        """The builder's folder for this precision. Minutes and gigabytes where PyTorch is new."""

        def build(scratch: Path) -> Path:
            if missing := _missing():
                raise UnsupportedError(missing, _BUILDER_FIX)
            return _build(model, scratch)

        made_from = [model.sha256, model.precision, importlib.metadata.version(self.distribution)]
        folder = kept_folder(cache, made_from, ".genai", build)
        return converted(model, folder, _FORMAT, sorted(folder.glob("model.onnx*")))

    def _opened(
        self, model: ModelFile, options: Mapping[str, Scalar], room: Room
    ) -> OrtGenAiSession:
        return OrtGenAiSession(model, options, room)

    def open_speculation(
        self, model: ModelFile, options: Mapping[str, Scalar], room: Room, drafting: Drafting
    ) -> OwnSpeculation:
        from ._ort_genai_speculation import OrtGenAiSpeculation

        self.generation.check(model, options)
        return OrtGenAiSpeculation(model.path, _decoder_settings(options), drafting)


def _decoder_settings(options: Mapping[str, Scalar]) -> dict[str, Any]:
    """What is laid over the decoder's part of a configuration."""
    threads = options.get("threads")
    return {} if threads is None else {"session_options": {"intra_op_num_threads": threads}}


def _build(model: ModelFile, scratch: Path) -> Path:
    """Runs the builder in a process of its own, without a network: it would ask a hub. Returns its folder."""
    from edgebench.models.llm.gguf_file import GgufFile
    from edgebench.models.llm.hf_folder import write_folder

    source, out = scratch / "source", scratch / "out"
    source.mkdir()
    write_folder(GgufFile(model.path), source)
    command = module_command("onnxruntime_genai.models.builder", "-i", str(source))
    command += ["-o", str(out), "-p", model.precision, "-e", "cpu", "-c", str(scratch / "cache")]
    done = subprocess.run(
        [*command, "--extra_options", "hf_token=false"],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode or not (out / "genai_config.json").exists():
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        why = lines[-1] if lines else f"exit code {done.returncode}"
        raise UnsupportedError(f"the builder of ONNX Runtime GenAI failed: {why}")
    return out


def _missing() -> str:
    """What keeps GGUF files from being converted; empty where nothing does."""
    missing = [name for name in _BUILDER if importlib.util.find_spec(name) is None]
    return f"the builder of ONNX Runtime GenAI needs {', '.join(missing)}" if missing else ""


def _telemetry(package: Path) -> Telemetry | None:
    """Returns the state of the library in the package; None if the library lies elsewhere."""
    library = next(package.glob("libonnxruntime-genai.*"), None)
    return None if library is None else ort_telemetry(library)


class OrtGenAiSession(CountingSession):
    """One generator, wound back to the start for each request."""

    score = GenerationSession.score  # token by token: a generator gives the last logits

    def __init__(self, model: ModelFile, options: Mapping[str, Scalar], room: Room) -> None:
        import onnxruntime_genai as genai

        if room.width > 1:
            raise UnsupportedError(
                "ONNX Runtime GenAI takes further tokens of a caller's choice for one sequence only"
            )
        super().__init__(room)
        self._folder = model.path
        config = genai.Config(str(model.path))
        settings = _decoder_settings(options)
        if settings:
            config.overlay(json.dumps({"model": {"decoder": settings}}))
        try:
            self._model: Any = genai.Model(config)
        except Exception as error:  # noqa: BLE001 - the binding raises plain exceptions
            raise UnsupportedError(f"ONNX Runtime GenAI refuses the decoder: {error}") from None
        self._facts = json.loads((model.path / "genai_config.json").read_text())["model"]
        self.vocabulary = int(self._facts["vocab_size"])
        parameters = genai.GeneratorParams(self._model)
        # The last token of a full cache is fed as well, which generate_next_token would not do.
        parameters.set_search_options(
            max_length=self.positions + 1, batch_size=self.width, do_sample=False
        )
        self._generator: Any = genai.Generator(self._model, parameters)

    def _fed(self, rows: Prompts) -> Any:
        import numpy as np

        self._generator.append_tokens(np.array(rows, np.int32))
        logits = np.asarray(self._generator.get_logits())
        return logits.reshape(self.width, -1, self.vocabulary)[:, -1]

    def reset(self) -> None:
        if self._used:
            self._generator.rewind_to(0)
        super().reset()

    def kv_cache_bytes(self) -> int | None:
        """Returns None: the cache is inside the generator."""
        return None

    def effective(self) -> Effective:
        import onnx
        import onnxruntime_genai as genai

        from edgebench.models.onnx_file import precision_census

        graph = onnx.load(
            str(self._folder / self._facts["decoder"]["filename"]), load_external_data=False
        )
        nodes, weight_bytes = precision_census(graph)
        cached = next(info for info in graph.graph.input if info.name.startswith("past_key_values"))
        kind = onnx.helper.tensor_dtype_to_np_dtype(cached.type.tensor_type.elem_type).name
        return Effective(
            device="cpu",
            precision=one_precision(nodes),
            compute_nodes=nodes,
            weight_bytes=weight_bytes,
            runtime=f"onnxruntime-genai {genai.__version__}",
            telemetry=_telemetry(Path(genai.__file__).parent),
            notes=(
                "precisions are those of the file, as this runtime does not report what it computes in",
            ),
            options={"kv_cache": {"float32": "fp32", "float16": "fp16"}.get(kind, kind)},
        )

    def close(self) -> None:
        self._generator = self._model = None


BACKEND = OrtGenAiBackend
