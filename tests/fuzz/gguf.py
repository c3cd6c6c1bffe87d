"""GGUF files: the architecture, the reference in numpy, and the tokenizer that they carry."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from edgebench.models.llm.gguf_file import GgufFile
from edgebench.models.llm.reference_decoder import ReferenceSession
from edgebench.models.llm.tokenizer import gguf_vocabulary
from edgebench.testing.decoders import write_decoder

MESSAGES = [{"role": "user", "content": "in the end"}]
TINY: dict[str, Any] = {"width": 32, "layers": 1, "heads": 2, "kv_heads": 1, "hidden": 32}


def _seed(architecture: Any, **changes: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return write_decoder(
            Path(folder, "tiny.gguf"), architecture, **TINY | changes
        ).path.read_bytes()


SEEDS = [_seed("llama"), _seed("qwen2", weights="F32"), _seed("qwen3"), _seed("gemma", tied=False)]


def read(data: bytes, folder: Path) -> None:
    path = folder / "model.gguf"
    path.write_bytes(data)
    file = GgufFile(path)
    vocabulary = gguf_vocabulary(file.metadata)
    prompt = vocabulary.chat(MESSAGES)[:8]
    vocabulary.decode(prompt)
    ReferenceSession(file, 16).prefill([prompt])
