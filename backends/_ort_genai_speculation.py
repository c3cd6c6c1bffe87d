"""ONNX Runtime GenAI's own speculation: its generator looks drafts up in the text, or has a second decoder draft."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgebench.errors import UnsupportedError
from edgebench.generation import DraftCounts, Drafting, OwnSpeculation

#: What `set_speculative_options` takes.
_MAX_DRAFT_TOKENS = 16
_MAX_LOOKUP = 15


class OrtGenAiSpeculation(OwnSpeculation):
    """One model; each request has a generator of its own, as an application makes one."""

    def __init__(self, folder: Path, decoder: Mapping[str, Any], drafting: Drafting) -> None:
        import onnxruntime_genai as genai

        _check(genai, drafting)
        self._genai, self._drafting = genai, drafting
        config = genai.Config(str(folder))
        parts = {"decoder": decoder}
        if drafting.draft is not None:
            parts["draft"] = _decoder_of(drafting.draft.path, folder, decoder)
        config.overlay(json.dumps({"model": parts}))
        try:
            self._model: Any = genai.Model(config)
            self._generator(1, 1)  # what it cannot do it says when a generator is made
        except Exception as error:  # noqa: BLE001 - the binding raises plain exceptions
            raise UnsupportedError(
                f"ONNX Runtime GenAI refuses to speculate: {str(error).strip()}"
            ) from None
        self.counts = DraftCounts(steps=0, accepted=0)

    def _generator(self, prompt_tokens: int, most: int) -> Any:
        parameters = self._genai.GeneratorParams(self._model)
        length = prompt_tokens + most
        parameters.set_search_options(
            max_length=length, min_length=length, batch_size=1, do_sample=False
        )
        options = {"max_draft_tokens": self._drafting.draft_tokens}
        if self._drafting.lookup:
            # An n-gram is what is compared and the token behind it.
            options["ngram_size"] = self._drafting.lookup + 1
        parameters.set_speculative_options(**options)
        return self._genai.Generator(self._model, parameters)

    def stream(self, prompt: Sequence[int], most: int) -> Iterator[int]:
        import numpy as np

        generator = self._generator(len(prompt), most)
        generator.append_tokens(np.array([prompt], np.int32))
        for given in range(1, most + 1):
            generator.generate_next_token()
            token = int(generator.get_next_tokens()[0])
            if given == most:
                self.counts = _counts(generator.get_speculative_stats(), given)
            yield token

    def close(self) -> None:
        self._model = None


def _check(genai: Any, drafting: Drafting) -> None:
    """Raises UnsupportedError for a version without speculation, and for what its options do not hold."""
    if not hasattr(genai.GeneratorParams, "set_speculative_options"):
        raise UnsupportedError(
            f"ONNX Runtime GenAI {genai.__version__} does not speculate",
            "pip install -U 'onnxruntime-genai>=0.18'",
        )
    if drafting.draft_tokens > _MAX_DRAFT_TOKENS or drafting.lookup > _MAX_LOOKUP:
        raise UnsupportedError(
            f"ONNX Runtime GenAI drafts at most {_MAX_DRAFT_TOKENS} tokens and looks up at most {_MAX_LOOKUP}",
            f"--set draft_tokens={_MAX_DRAFT_TOKENS}, --set lookup={_MAX_LOOKUP} or fewer",
        )


def _decoder_of(folder: Path, target: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """The decoder of another folder as a part of the target's configuration, with the same settings of its session. Its
    file is named from there: GenAI puts the target's folder before it."""
    decoder = json.loads((folder / "genai_config.json").read_text())["model"]["decoder"]
    return {
        **decoder,
        "filename": os.path.relpath(folder / decoder["filename"], target),
        "session_options": {**decoder["session_options"], **options.get("session_options", {})},
    }


def _counts(told: Mapping[str, Any], given: int) -> DraftCounts:
    """Tokens that were accepted and not asked for any more are left out."""
    waiting = int(told["tokens_buffered"])
    accepted = int(told["draft_tokens_accepted"]) - max(0, waiting - 1)
    return DraftCounts(
        steps=given - accepted, accepted=accepted, drafted=int(told["draft_tokens_proposed"])
    )
