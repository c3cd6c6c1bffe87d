"""OpenVINO GenAI's own speculation: its pipeline looks drafts up in the prompt, or has a second model draft."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgebench.errors import UnsupportedError
from edgebench.generation import DraftCounts, Drafting, OwnSpeculation

from .openvino import reason

_END = None


class OpenVinoSpeculation(OwnSpeculation):
    """One pipeline. It gives tokens to a callback on a thread of its own, in pieces: one for each of its steps."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], drafting: Drafting) -> None:
        import openvino_genai as genai

        if not (folder / "openvino_tokenizer.xml").exists():
            raise UnsupportedError(f"openvino_genai made no tokenizer of {folder.name}")
        self._genai, self._drafting = genai, drafting
        scheduler = genai.SchedulerConfig()
        scheduler.enable_prefix_caching = False  # nothing of a request reaches the next
        own = self._own_properties(settings)
        try:
            self._pipeline: Any = genai.LLMPipeline(
                str(folder),
                genai.Tokenizer(str(folder)),
                "CPU",
                scheduler_config=scheduler,
                **own,
                **settings,
            )
        except RuntimeError as error:
            raise UnsupportedError(
                f"OpenVINO GenAI refuses to speculate: {reason(error)}"
            ) from None
        self.counts = DraftCounts(steps=0, accepted=0)

    def _own_properties(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        draft = self._drafting.draft
        if draft is None:
            return {"prompt_lookup": True}
        folder = str(draft.path.parent)
        return {"draft_model": self._genai.draft_model(folder, "CPU", **settings)}

    def stream(self, prompt: Sequence[int], most: int) -> Iterator[int]:
        pieces: queue.SimpleQueue[Sequence[int] | Exception | None] = queue.SimpleQueue()
        streamer = _streamer(self._genai, pieces)
        results: list[Any] = []
        # The call returns when the answer is whole, and the thread that calls it computes nothing itself.
        caller = threading.Thread(
            target=self._call, args=(prompt, most, streamer, pieces, results), daemon=True
        )
        caller.start()
        given, steps = 0, 0
        try:
            while (piece := pieces.get()) is not _END:
                if isinstance(piece, Exception):
                    raise piece
                steps += 1
                for token in piece:
                    given += 1
                    yield int(token)
        finally:
            streamer.stopped = True
            caller.join()
        self.counts = _counts(results[0].extended_perf_metrics, given, steps)

    def _call(
        self,
        prompt: Sequence[int],
        most: int,
        streamer: Any,
        pieces: queue.SimpleQueue[Any],
        results: list[Any],
    ) -> None:
        import numpy as np
        import openvino

        try:
            tokens = openvino.Tensor(np.array([prompt], np.int64))
            results.append(self._pipeline.generate(tokens, self._request(most), streamer))
        except Exception as error:  # noqa: BLE001 - raised again where the tokens are read
            pieces.put(error)
        pieces.put(_END)

    def _request(self, most: int) -> Any:
        request = self._genai.GenerationConfig()
        request.max_new_tokens = most
        request.ignore_eos = True
        request.do_sample = False
        request.apply_chat_template = False
        request.num_assistant_tokens = self._drafting.draft_tokens
        if self._drafting.lookup:
            request.max_ngram_size = self._drafting.lookup
        return request

    def close(self) -> None:
        self._pipeline = None


def _streamer(genai: Any, pieces: queue.SimpleQueue[Any]) -> Any:
    class Streamer(genai.StreamerBase):  # type: ignore[misc]
        stopped = False

        def write(self, tokens: int | Sequence[int]) -> Any:
            piece = [tokens] if isinstance(tokens, int) else list(tokens)
            if piece:
                pieces.put(piece)
            status = genai.StreamingStatus
            return status.CANCEL if self.stopped else status.RUNNING

        def end(self) -> None:
            """The caller says so itself, with what the runtime counted."""

    return Streamer()


def _counts(metrics: Any, given: int, steps: int) -> DraftCounts:
    """A look-up's own figures are not told: what a step gave beyond its own token was accepted."""
    if metrics is None:
        return DraftCounts(steps=steps, accepted=given - steps)
    accepted = int(metrics.get_num_accepted_tokens())
    return DraftCounts(
        steps=given - accepted, accepted=accepted, drafted=int(metrics.get_num_draft_tokens())
    )
