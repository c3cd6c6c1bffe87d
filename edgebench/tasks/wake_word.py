"""Waking at a word: streaming detectors over micro speech features (microWakeWord).

The model keeps its own state between calls and answers every 30 ms; a word was heard where the mean of
its last few probabilities passes a cut-off. Speech is synthesised, so labels are known by construction.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from edgebench.task import Metric, Task
from edgebench.tasks._statistics import auc
from edgebench.tasks._synthetic_speech import Utterance, speak

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgebench.task import Feeds, Infer, Outputs

SAMPLE_RATE = 16_000
FRAME_BYTES = 2 * SAMPLE_RATE // 100  # 10 ms of 16-bit samples
VOICES = ("en-us", "en", "en-us+f3", "en+m3", "en-us+f2")
RATES, PITCHES = (140, 165), (40, 60)
OTHERS = (
    "good morning everyone",
    "please turn on the kitchen light",
    "the weather is nice today",
    "what time is it",
    "play some music",
    "hello computer",
    "set a timer for ten minutes",
    "thank you very much",
    "hey jarvis",
    "okay nabu",
    "hey mycroft",
)
LEVEL = 0.5  # of speech
NOISE_LEVEL = 1e-3  # of the quiet before and after it
BEFORE_S, AFTER_S = 1.0, 0.75
#: Frames of silence between clips: the model remembers less, and forgets the clip before.
FLUSH_STEPS = 60


class Clip(NamedTuple):
    """Features of an utterance, (steps, frames per step, 40), and whether it is the wake word."""

    steps: NDArray[np.float32]
    wakes: bool


class WakeWord(Task):
    """Items are single steps in the order of the clips; the quality pass streams clip after clip."""

    option_names: ClassVar = ("word", "frames_per_step", "input_scale", "input_zero_point")
    metrics: ClassVar = {
        "auc": Metric("1", "higher", "chance that the wake word scores higher than other speech"),
        "recall": Metric("1", "higher", "share of wake words that are heard"),
        "false_accepts": Metric(
            "1", "lower", "share of other utterances that were mistaken for the wake word"
        ),
    }

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Returns what the model's makers say beside it: cut-off and length of the sliding window."""
        described = json.loads(self.context.data["settings"].read_text("utf-8"))
        micro: dict[str, Any] = described["micro"]
        return micro

    @cached_property
    def clips(self) -> list[Clip]:
        utterances = [
            *(
                Utterance(str(self.context.options["word"]), *way)
                for way in product(VOICES, RATES, PITCHES)
            ),
            *(
                Utterance(text, voice, RATES[0], PITCHES[0])
                for text, voice in product(OTHERS, VOICES)
            ),
        ]
        said, rate = speak(utterances)
        rng = np.random.default_rng(self.context.seed)
        wakes = len(VOICES) * len(RATES) * len(PITCHES)
        return [
            Clip(self._features(with_quiet(resampled(samples, rate), rng)), index < wakes)
            for index, samples in enumerate(said)
        ]

    @cached_property
    def steps(self) -> NDArray[np.float32]:
        """All clips' steps, one after the other."""
        return np.concatenate([clip.steps for clip in self.clips])

    @property
    def frames_per_step(self) -> int:
        return int(self.context.options["frames_per_step"])

    def __len__(self) -> int:
        return len(self.steps)

    def raw(self, index: int) -> NDArray[np.float32]:
        """Features of one step: their front end keeps a state of its own, so it ran ahead.

        Neighbours are alike, so items are taken from all over.
        """
        step: NDArray[np.float32] = self.steps[index * _STRIDE % len(self.steps)]
        return step

    def preprocess(self, raw: NDArray[np.float32]) -> Feeds:
        """The features as the model's 8-bit numbers."""
        scale = float(self.context.options["input_scale"])
        zero = int(self.context.options["input_zero_point"])
        quantised = np.clip(np.round(raw / scale) + zero, -128, 127).astype(np.int8)
        return {self._input_name: quantised[None]}

    @cached_property
    def _input_name(self) -> str:
        return self.context.inputs[0].name if self.context.inputs else "input"

    def postprocess(self, outputs: Outputs, raw: Any) -> float:
        """Probability that the word ended here; the model gives it in steps of 1/256."""
        (value,) = outputs.values()
        return float(value.reshape(-1)[0]) / 256

    def score(self, predictions: Sequence[float]) -> dict[str, float]:
        """Of probabilities of all steps, in the clips' order."""
        ends = np.cumsum([len(clip.steps) for clip in self.clips])[:-1]
        width = int(self.settings["sliding_window_size"])
        window = np.ones(width) / width
        heard = np.array(
            [
                float(np.convolve(part, window, mode="valid").max())
                for part in np.split(np.asarray(predictions, dtype=np.float64), ends)
            ]
        )
        wakes = np.array([clip.wakes for clip in self.clips])
        accepted = heard > float(self.settings["probability_cutoff"])
        return {
            "auc": auc(wakes, heard),
            "recall": float(np.mean(accepted[wakes])),
            "false_accepts": float(np.mean(accepted[~wakes])),
        }

    def evaluate(self, infer: Infer) -> dict[str, float]:
        """Streams every clip, with silence before it: the model's state is the backend's business."""
        silence = np.zeros((self.frames_per_step, self.steps.shape[-1]), np.float32)
        quiet = [self.preprocess(silence)] * FLUSH_STEPS
        predictions: list[float] = []
        for clip in self.clips:
            outputs = infer([*quiet, *(self.preprocess(step) for step in clip.steps)])
            predictions += [self.postprocess(output, None) for output in outputs[FLUSH_STEPS:]]
        return self.score(predictions)

    def _features(self, audio: NDArray[np.int16]) -> NDArray[np.float32]:
        """(steps, frames per step, 40) of micro speech features, one frame every 10 ms."""
        from pymicro_features import MicroFrontend

        front, content = MicroFrontend(), audio.tobytes()
        frames = [
            found
            for start in range(0, len(content) - FRAME_BYTES + 1, FRAME_BYTES)
            if (found := front.process_samples(content[start : start + FRAME_BYTES]).features)
        ]
        whole = len(frames) - len(frames) % self.frames_per_step
        features = np.array(frames[:whole], dtype=np.float32)
        return features.reshape(-1, self.frames_per_step, features.shape[-1])


#: A prime: multiples of it visit every step.
_STRIDE = 7919


def resampled(samples: NDArray[np.int16], rate: int) -> NDArray[np.float64]:
    """Samples at 16 kHz in [-1, 1], by cutting the spectrum off."""
    count = round(len(samples) * SAMPLE_RATE / rate)
    spectrum = np.fft.rfft(samples / 32768)
    bins = count // 2 + 1
    spectrum = np.pad(spectrum[:bins], (0, max(0, bins - len(spectrum))))
    return np.fft.irfft(spectrum, count) * (count / len(samples))


def with_quiet(speech: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int16]:
    """The speech between two stretches of faint noise, as 16-bit samples."""
    before, after = (
        rng.normal(0, NOISE_LEVEL, round(seconds * SAMPLE_RATE)) for seconds in (BEFORE_S, AFTER_S)
    )
    audio = np.concatenate([before, LEVEL * speech, after])
    return np.asarray(np.clip(audio, -1, 1) * 32767, dtype=np.int16)


TASK = WakeWord
