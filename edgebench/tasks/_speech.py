"""Recorded speech with known word times, and noise to mix in. All audio is 16 kHz mono."""

from __future__ import annotations

import json
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Audio = NDArray[np.float32]

SAMPLE_RATE = 16_000
_NOT_SPEECH = {"<sil>", "<s>", "</s>", "[NOISE]", "[SPEECH]"}


@dataclass(frozen=True)
class Recording:
    """A recording, samples in -1 .. 1, and which of its samples lie inside a word."""

    audio: Audio
    speech: NDArray[np.bool_]


def read_aligned(folder: Path) -> list[Recording]:
    """Every WAV file of a folder that has a word alignment (JSON) beside it, by name."""
    return [
        _read_aligned(path)
        for path in sorted(folder.glob("*.wav"))
        if path.with_suffix(".json").is_file()
    ]


def _read_aligned(path: Path) -> Recording:
    audio = read_wav(path)
    speech = np.zeros(len(audio), dtype=np.bool_)
    alignment = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    for word in alignment["w"]:
        if word["t"] not in _NOT_SPEECH:
            begin, end = word["b"], word["b"] + word["d"]
            speech[int(begin * SAMPLE_RATE) : int(end * SAMPLE_RATE)] = True
    return Recording(audio, speech)


def read_wav(path: Path) -> Audio:
    """Samples of a 16-bit mono WAV file at 16 kHz. Raises ValueError for another kind."""
    with wave.open(str(path), "rb") as file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (SAMPLE_RATE, 1, 2):
            raise ValueError(f"{path.name} is not 16-bit mono audio at {SAMPLE_RATE} Hz")
        return decode_pcm(file.readframes(file.getnframes()))


def decode_pcm(data: bytes) -> Audio:
    """Samples of little-endian 16-bit PCM, scaled to -1 .. 1."""
    return np.frombuffer(data, dtype="<i2").astype(np.float32) / np.float32(32768)


def join(recordings: list[Recording], pause: int) -> Recording:
    """Joins recordings to one, each after a pause of that many silent samples."""
    silence = Recording(np.zeros(pause, np.float32), np.zeros(pause, np.bool_))
    parts = [part for recording in recordings for part in (silence, recording)]
    return Recording(
        np.concatenate([part.audio for part in parts]),
        np.concatenate([part.speech for part in parts]),
    )


def pink_noise(samples: int, seed: int) -> Audio:
    """Noise of unit power whose power falls as 1/frequency, cut from one spectrum."""
    # A power of two: with large prime factors the transform takes many times the memory, which would
    # count as the worker's.
    length = 1 << (samples - 1).bit_length()
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(length))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1))
    pink = np.fft.irfft(spectrum, length)[:samples]
    return np.asarray(pink / np.sqrt(np.mean(pink**2)), dtype=np.float32)


def add_noise(recording: Recording, snr_db: float, seed: int) -> Audio:
    """The recording with pink noise at a ratio to the power of its speech (pauses do not count)."""
    power = float(np.mean(recording.audio[recording.speech] ** 2))
    level = np.float32(np.sqrt(power / 10 ** (snr_db / 10)))
    return recording.audio + level * pink_noise(len(recording.audio), seed)
