"""Tokenizers in the files beside an ONNX decoder, as Hugging Face's exporters leave them.

The bytes of one case hold all of them, with a zero byte between.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from edgebench.models.llm.gguf_file import GgufFile
from edgebench.models.llm.tokenizer import folder_vocabulary, gguf_vocabulary
from edgebench.testing.decoders import TEMPLATE, write_decoder
from tests.fuzz.gguf import MESSAGES, TINY

#: What parts the files of one seed: no character of JSON.
_BETWEEN = b"\x00"
_NAMES = ("tokenizer.json", "tokenizer_config.json", "generation_config.json")


def _seed(settings: dict[str, Any], generation: dict[str, Any]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = GgufFile(write_decoder(Path(folder, "tiny.gguf"), **TINY).path)
        gguf_vocabulary(file.metadata).save(Path(folder, "tokenizer.json"))
        tokenizer = Path(folder, "tokenizer.json").read_bytes()
    others = (json.dumps(settings).encode(), json.dumps(generation).encode())
    return _BETWEEN.join((tokenizer, *others))


SEEDS = [
    _seed({"chat_template": TEMPLATE, "bos_token": "<|im_start|>"}, {"eos_token_id": [2, 0]}),
    _seed({"eos_token": {"content": "<|im_end|>"}, "add_bos_token": True}, {"eos_token_id": 2}),
]


def read(data: bytes, folder: Path) -> None:
    for name, content in zip(_NAMES, data.split(_BETWEEN), strict=False):
        (folder / name).write_bytes(content)
    vocabulary = folder_vocabulary(folder)
    vocabulary.decode(vocabulary.chat(MESSAGES))
