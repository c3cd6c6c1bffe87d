"""Taking noise out of speech: networks that give a gain per time-frequency point, such as NSNet2.

Short-time spectrum (20 ms windows, 10 ms apart) -> log power -> gains -> spectrum times gains ->
audio. The network is recurrent but takes no state, so an application gives it a window of which the
first three quarters are history, and uses the gains of the last quarter. The answer of one item is
the audio of that quarter; neighbouring answers overlap by half a window, where they add up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

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

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgebench.task import Feeds, Outputs

WINDOW, HOP = 320, 160
NOISE_DB = 5.0
POWER_FLOOR = 1e-12
GAIN_FLOOR = 1e-4  # -80 dB
CALIBRATION_NOISE_DB = (20.0, 10.0, 5.0, 0.0)

#: Square root of a periodic Hann window: applied twice, neighbours add up to one.
SHAPE = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)


class SpeechEnhancement(Task):
    """Items are windows that follow each other through one noisy stream, a quarter apart."""

    option_names: ClassVar = ()
    metrics: ClassVar = {
        "si_sdr_improvement": Metric("dB", "higher", "gain in SI-SDR over the noisy input"),
        "si_sdr": Metric("dB", "higher", "scale-invariant signal-to-distortion ratio, enhanced"),
    }

    @cached_property
    def frames(self) -> int:
        """Spectra per item, history included."""
        sizes = self.context.inputs[0].sizes
        if sizes is None:
            raise ValueError("the model's number of frames must be fixed: give `shapes`")
        return sizes[1]

    @property
    def fresh_frames(self) -> int:
        """Spectra per item whose gains are used."""
        return self.frames // 4

    @cached_property
    def speech(self) -> Recording:
        """Sentences with pauses; before the first one a pause as long as the history."""
        sentences = join(read_aligned(self.context.data["speech"]), SAMPLE_RATE)
        history = np.zeros((self.frames - self.fresh_frames) * HOP, dtype=np.float32)
        return Recording(
            np.concatenate([history, sentences.audio]),
            np.concatenate([history.astype(np.bool_), sentences.speech]),
        )

    @cached_property
    def noisy(self) -> NDArray[np.float32]:
        return add_noise(self.speech, NOISE_DB, self.context.seed)

    def __len__(self) -> int:
        spare = len(self.speech.audio) - self._samples(self.frames)
        return spare // (self.fresh_frames * HOP) + 1

    def raw(self, index: int) -> NDArray[np.float32]:
        """Noisy audio, one window."""
        start = index * self.fresh_frames * HOP
        return self.noisy[start : start + self._samples(self.frames)]

    @staticmethod
    def _samples(frames: int) -> int:
        """Length of the audio that has so many spectra."""
        return (frames + 1) * HOP

    def preprocess(self, raw: NDArray[np.float32]) -> Feeds:
        """Log power of the spectra, (1, frames, 161)."""
        power = np.abs(spectra(raw)) ** 2
        features = np.log10(np.maximum(power, POWER_FLOOR)).astype(np.float32)[None]
        return {self.context.inputs[0].name: features}

    def postprocess(self, outputs: Outputs, raw: NDArray[np.float32]) -> NDArray[np.float64]:
        """Enhanced audio of the fresh frames, ((frames / 4 + 1) * HOP,)."""
        (gains,) = outputs.values()
        fresh = slice(-self.fresh_frames, None)
        noisy = spectra(raw[-self._samples(self.fresh_frames) :])
        return overlap_add(noisy * np.clip(gains[0, fresh], GAIN_FLOOR, 1))

    def score(self, predictions: Sequence[NDArray[np.float64]]) -> dict[str, float]:
        step = self.fresh_frames * HOP
        enhanced = np.zeros(step * len(predictions) + HOP)
        for number, audio in enumerate(predictions):
            enhanced[number * step : number * step + len(audio)] += audio
        start = (self.frames - self.fresh_frames) * HOP
        heard = slice(start, start + len(enhanced))
        clean, noisy = self.speech.audio[heard], self.noisy[heard]
        inside = slice(HOP, -HOP)  # the outermost half windows have no neighbour to add
        before, after = (si_sdr(clean[inside], audio[inside]) for audio in (noisy, enhanced))
        return {"si_sdr_improvement": after - before, "si_sdr": after}

    def calibration(self) -> Iterator[Feeds]:
        """Another speaker, repeated to the length of a window, in noise of several levels."""
        audio = decode_pcm(self.context.data["calibration"].read_bytes())
        speech = np.resize(audio, self._samples(self.frames))
        recording = Recording(speech, np.ones(len(speech), np.bool_))
        for number, level in enumerate(CALIBRATION_NOISE_DB):
            yield self.preprocess(add_noise(recording, level, self.context.seed + 1 + number))


def spectra(audio: NDArray[Any]) -> NDArray[Any]:
    """Short-time spectra, (frames, 161), of audio that holds whole windows."""
    windows = np.lib.stride_tricks.sliding_window_view(audio, WINDOW)[::HOP]
    return np.fft.rfft(windows * SHAPE, axis=-1)


def overlap_add(frames: NDArray[Any]) -> NDArray[np.float64]:
    """Audio of short-time spectra: the inverse of `spectra` but for the outermost half windows."""
    windows = np.fft.irfft(frames, WINDOW, axis=-1) * SHAPE
    halves = np.zeros((len(windows) + 1, HOP))
    halves[:-1] += windows[:, :HOP]
    halves[1:] += windows[:, HOP:]
    return halves.reshape(-1)


def si_sdr(reference: NDArray[Any], estimate: NDArray[Any]) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al., 2019), means kept."""
    reference, estimate = reference.astype(np.float64), estimate.astype(np.float64)
    target = (estimate @ reference) / (reference @ reference) * reference
    return float(10 * np.log10(np.sum(target**2) / np.sum((estimate - target) ** 2)))


TASK = SpeechEnhancement
