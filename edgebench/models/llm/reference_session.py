"""The fp32 reference of a decoder file, behind the seam of runtimes."""

from __future__ import annotations

from pathlib import Path

from edgebench.backend import ModelFile
from edgebench.errors import UnsupportedError
from edgebench.generation import GenerationSession, Room
from edgebench.models.file_kind import format_of


def reference_session(path: Path, positions: int) -> GenerationSession:
    """A GGUF file in numpy, float32; an ONNX decoder on ONNX Runtime without graph optimisations."""
    form = format_of(path)
    if form == "gguf":
        from edgebench.models.llm.gguf_file import GgufFile
        from edgebench.models.llm.reference_decoder import ReferenceSession

        return ReferenceSession(GgufFile(path), positions)
    if form == "onnx":
        from edgebench import registry

        backend = registry.load("ort")
        backend.import_runtime()
        model = ModelFile(path, "onnx", "")
        room = Room(width=1, positions=positions)
        return backend.open_generation(model, {"optimization": "disable", "threads": 1}, room)
    raise UnsupportedError(f"no reference for decoders in {form} files")
