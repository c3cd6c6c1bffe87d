"""Telling speech from pauses in a stream: Silero-style detectors with a state between calls.

Every 32 ms chunk goes in with the last 4 ms before it and the state that the previous chunk left.
Speech is read sentences whose words are aligned in time; it is scored clean and in pink noise as
loud as the speech.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from edgebench.task import Metric, Task
from edgebench.tasks._speech import (
    SAMPLE_RATE,
    Recording,
    add_noise,
    decode_pcm,
    join,
    read_aligned,
)
from edgebench.tasks._statistics import auc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgebench.task import Feeds, Infer, Outputs

CHUNK = 512
CHUNKS_PER_S = SAMPLE_RATE // CHUNK
CONTEXT = 64
NOISE_DB = 0.0
PEAK = 0.9
#: Pauses between recordings would be digital silence, which no microphone gives and which would make
#: many equal inputs: they get noise far below the recordings' own.
SILENCE_LEVEL = 1e-4
SEEDS_PER_DRAW = 2
#: Items are not in the order of the stream: a step of the golden ratio lets any first few of them
#: hold speech and pauses alike.
GOLDEN_RATIO = 0.6180339887


class Stream(NamedTuple):
    """Audio as chunks with their context, (chunks, 576), and whether each is mostly speech."""

    chunks: NDArray[np.float32]
    speech: NDArray[np.bool_]


class Chunk(NamedTuple):
    """Holds what an application holds when 512 new samples have arrived."""

    samples: NDArray[np.float32]  # (576,): context and new samples
    state: NDArray[np.float32]


class VoiceActivity(Task):
    """The quality pass runs both streams in order; single items start from a fresh state.

    A recurrent cell does the same work whatever its state, so latency may be read off such items.
    """

    option_names: ClassVar = ()
    draws: ClassVar = "the same recordings in other noise"
    same_sources: ClassVar = True
    metrics: ClassVar = {
        "auc": Metric("1", "higher", "area under the ROC curve per chunk, pink noise at 0 dB"),
        "auc_clean": Metric("1", "higher", "area under the ROC curve per chunk, no noise added"),
    }

    @cached_property
    def streams(self) -> tuple[Stream, Stream]:
        """The noisy stream and the clean one, of equal length."""
        seed = self.context.seed + SEEDS_PER_DRAW * self.context.draw
        speech = with_room_noise(join(read_aligned(self.context.data["speech"]), SAMPLE_RATE), seed)
        noisy = add_noise(speech, NOISE_DB, seed + 1)
        return to_stream(Recording(noisy, speech.speech)), to_stream(speech)

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Item number -> chunk number, over both streams one after the other."""
        return golden_order(2 * len(self.streams[0].speech))

    def __len__(self) -> int:
        return len(self.order)

    def raw(self, index: int) -> Chunk:
        stream, chunk = divmod(int(self.order[index]), len(self.streams[0].speech))
        return Chunk(self.streams[stream].chunks[chunk], self.fresh_state())

    def cluster(self, index: int) -> int:
        """The second that a chunk lies in, the same in both streams."""
        return int(self.order[index]) % len(self.streams[0].speech) // CHUNKS_PER_S

    def fresh_state(self) -> NDArray[np.float32]:
        shape = next(info.shape for info in self.context.inputs if info.name == "state")
        return np.zeros([size or 1 for size in shape or ()], dtype=np.float32)

    def preprocess(self, raw: Chunk) -> Feeds:
        return {"input": raw.samples[None].copy(), "state": raw.state}

    def postprocess(self, outputs: Outputs, raw: Any) -> float:
        return float(outputs["output"].reshape(-1)[0])

    def score(self, predictions: Sequence[float]) -> dict[str, float]:
        values, known = np.zeros(len(self)), np.zeros(len(self), np.bool_)
        answered = self.order[: len(predictions)]
        values[answered], known[answered] = predictions, True
        parts = zip(self.streams, np.split(values, 2), np.split(known, 2), strict=True)
        noisy, clean = (auc(stream.speech[told], scores[told]) for stream, scores, told in parts)
        return {"auc": noisy, "auc_clean": clean}

    def evaluate(self, infer: Infer) -> dict[str, float]:
        """Runs both streams from start to end, each chunk with the state of the one before it."""
        in_order = np.concatenate([self._run(stream, infer) for stream in self.streams])
        return self.score(in_order[self.order].tolist())

    def _run(self, stream: Stream, infer: Infer) -> NDArray[np.float64]:
        state = self.fresh_state()
        probabilities = []
        for samples in stream.chunks:
            chunk = Chunk(samples, state)
            (outputs,) = infer([self.preprocess(chunk)])
            state = outputs["stateN"]
            probabilities.append(self.postprocess(outputs, chunk))
        return np.array(probabilities)

    def calibration(self) -> Iterator[Feeds]:
        """Chunks of another speaker."""
        audio = decode_pcm(self.context.data["calibration"].read_bytes())
        for samples in chunked(scaled(audio)):
            yield self.preprocess(Chunk(samples, self.fresh_state()))


def with_room_noise(recording: Recording, seed: int) -> Recording:
    noise = np.random.default_rng(seed).standard_normal(len(recording.audio))
    return Recording(
        recording.audio + np.asarray(SILENCE_LEVEL * noise, dtype=np.float32), recording.speech
    )


def to_stream(recording: Recording) -> Stream:
    """Chunks of a recording, scaled to a fixed peak; a rest shorter than a chunk is dropped."""
    chunks = chunked(scaled(recording.audio))
    speech = recording.speech[: len(chunks) * CHUNK].reshape(-1, CHUNK).mean(axis=1) > 0.5
    return Stream(chunks, speech)


def scaled(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(audio * (PEAK / float(np.abs(audio).max())), dtype=np.float32)


def chunked(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Overlapping windows (chunks, 576): each chunk after the end of the one before (first: zeros)."""
    padded: NDArray[Any] = np.concatenate([np.zeros(CONTEXT, np.float32), audio])
    windows = np.lib.stride_tricks.sliding_window_view(padded, CONTEXT + CHUNK)
    return np.ascontiguousarray(windows[::CHUNK])


def golden_order(count: int) -> NDArray[np.int64]:
    """A permutation of 0 .. count - 1 whose every prefix is spread evenly over the range."""
    return np.argsort(np.arange(count) * GOLDEN_RATIO % 1, kind="stable").argsort()


TASK = VoiceActivity
