"""Music transcription: which notes sound when, in two seconds of audio (the input of Basic Pitch).

Clips are synthesised from seeded notes, one to three voices, so pitch, onset and length of each are
known exactly. Thresholds are those that Basic Pitch comes with (Bittner et al. 2022): a frame sounds
above 0.3; a note begins at a peak of the onset output above 0.5 and sounds for 11 frames or more.

Option `clips`: number of clips (default 40).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgebench.errors import EdgebenchError
from edgebench.task import Metric, Task, TaskContext
from edgebench.tasks._boxes import f1

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgebench.task import Feeds, Outputs

_RATE_HZ = 22050
_SAMPLES = 43844
_HOP = 256  # samples a frame of the output
_FRAMES_PER_S = _RATE_HZ / _HOP
_LOWEST_MIDI, _PITCHES = 21, 88  # the keys of a piano

_FRAME_THRESHOLD = 0.3
_ONSET_THRESHOLD = 0.5
_MIN_FRAMES = 11  # 128 ms
_ONSET_TOLERANCE_S = 0.1

#: Outputs of Basic Pitch's ONNX file; each is [1, 172, 88].
_FRAME_OUTPUT = "StatefulPartitionedCall:1"
_ONSET_OUTPUT = "StatefulPartitionedCall:2"

_CALIBRATION_CLIPS = 16
_CALIBRATION_SEED = 1_000_000  # far from the seeds of evaluation clips
_DRAW_SEEDS = 2_000_000  # from one draw to the next


@dataclass(frozen=True)
class Note:
    onset_s: float
    duration_s: float
    midi: int

    @property
    def frequency_hz(self) -> float:
        return float(440 * 2 ** ((self.midi - 69) / 12))


@dataclass(frozen=True)
class Transcription:
    """`sounding` is [frames, 88] of bool; `onsets` are (time in s, MIDI number)."""

    sounding: NDArray[np.bool_]
    onsets: tuple[tuple[float, int], ...]


class MusicTranscription(Task):
    option_names: ClassVar = ("clips",)
    draws: ClassVar = "clips of other seeds"
    metrics: ClassVar = {
        "frame_f1": Metric("1", "higher", "F1 of (frame, pitch) pairs that sound"),
        "onset_f1": Metric("1", "higher", "F1 of notes by pitch and onset within 100 ms"),
    }

    def __init__(self, context: TaskContext) -> None:
        super().__init__(context)
        self._clips = int(context.options.get("clips", 40))
        self._input = context.inputs[0].name if context.inputs else "serving_default_input_2:0"

    def __len__(self) -> int:
        return self._clips

    def raw(self, index: int) -> bytes:
        """Mono PCM, 16 bits little-endian, 22,050 Hz: as a recorder delivers it."""
        return clip(self._seed(index), voices=1 + index % 3)

    def _seed(self, index: int) -> int:
        return index + _DRAW_SEEDS * self.context.draw

    def preprocess(self, raw: bytes) -> Feeds:
        audio = np.frombuffer(raw, "<i2").astype(np.float32) / 32768
        return {self._input: audio[None, :, None]}

    def postprocess(self, outputs: Outputs, raw: Any) -> Transcription:
        missing = {_FRAME_OUTPUT, _ONSET_OUTPUT} - outputs.keys()
        if missing:
            raise EdgebenchError(f"the model has no output {min(missing)!r}")
        frames, onsets = outputs[_FRAME_OUTPUT][0], outputs[_ONSET_OUTPUT][0]
        return Transcription(frames > _FRAME_THRESHOLD, _onsets(frames, onsets))

    def score(self, predictions: Sequence[Transcription]) -> dict[str, float]:
        frames, onsets = np.zeros(3, np.int64), np.zeros(3, np.int64)
        for index, prediction in enumerate(predictions):
            notes = clip_notes(self._seed(index), voices=1 + index % 3)
            frames += _compare_frames(prediction.sounding, notes)
            onsets += _compare_onsets(prediction.onsets, notes)
        return {"frame_f1": f1(*frames.tolist()), "onset_f1": f1(*onsets.tolist())}

    def calibration(self) -> Iterator[Feeds]:
        for number in range(_CALIBRATION_CLIPS):
            yield self.preprocess(clip(_CALIBRATION_SEED + number, voices=1 + number % 3))


TASK = MusicTranscription


def clip_notes(seed: int, voices: int) -> list[Note]:
    """Notes of a clip: each voice plays one after the other, with short rests."""
    # RandomState, because numpy promises that its stream never changes.
    rng = np.random.RandomState(seed)
    notes = []
    for _voice in range(voices):
        time_s = rng.uniform(0.05, 0.2)
        while time_s < 1.6:
            duration_s = rng.uniform(0.15, 0.4)
            notes.append(Note(time_s, duration_s, int(rng.randint(45, 84))))
            time_s += duration_s + rng.uniform(0.02, 0.1)
    return notes


def clip(seed: int, voices: int) -> bytes:
    """The notes as plucked tones of eight harmonics, over faint noise; PCM as in `raw`."""
    rng = np.random.RandomState([seed, 1])
    audio = np.zeros(_SAMPLES)
    for note in clip_notes(seed, voices):
        start = int(note.onset_s * _RATE_HZ)
        tone = _tone(note, rng)[: max(0, _SAMPLES - start)]
        audio[start : start + tone.size] += tone
    audio *= 0.5 / np.abs(audio).max()
    audio += rng.normal(0, 0.002, _SAMPLES)
    return np.round(np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes()


def _tone(note: Note, rng: np.random.RandomState) -> NDArray[np.float64]:
    time_s = np.arange(int((note.duration_s + 0.08) * _RATE_HZ)) / _RATE_HZ
    tone: Any = np.zeros_like(time_s)
    for harmonic in range(1, 9):
        frequency_hz = note.frequency_hz * harmonic
        if frequency_hz < _RATE_HZ / 2:
            phase = rng.uniform(0, 2 * np.pi)
            tone += 0.7 ** (harmonic - 1) * np.sin(2 * np.pi * frequency_hz * time_s + phase)
    attack = np.minimum(time_s / 0.005, 1)
    release = np.clip((note.duration_s + 0.05 - time_s) / 0.05, 0, 1)
    result: NDArray[np.float64] = tone * attack * np.exp(-2.5 * time_s) * release
    return result


def _onsets(frames: NDArray[Any], onsets: NDArray[Any]) -> tuple[tuple[float, int], ...]:
    """Peaks of the onset output that a sounding note follows, as (time in s, MIDI number)."""
    middle = onsets[1:-1]
    peak = (middle > _ONSET_THRESHOLD) & (middle >= onsets[:-2]) & (middle > onsets[2:])
    return tuple(
        (float(frame / _FRAMES_PER_S), int(pitch) + _LOWEST_MIDI)
        for frame, pitch in np.argwhere(np.pad(peak, ((1, 0), (0, 0))))
        if frames[frame : frame + _MIN_FRAMES, pitch].min() > _FRAME_THRESHOLD
    )


def _compare_frames(sounding: NDArray[np.bool_], notes: Sequence[Note]) -> tuple[int, int, int]:
    """Pairs of frame and pitch: that were found right, that there are, that were found."""
    truth = np.zeros_like(sounding)
    for note in notes:
        first = int(note.onset_s * _FRAMES_PER_S)
        last = int((note.onset_s + note.duration_s) * _FRAMES_PER_S)
        truth[first : last + 1, note.midi - _LOWEST_MIDI] = True
    return int((sounding & truth).sum()), int(truth.sum()), int(sounding.sum())


def _compare_onsets(
    onsets: Sequence[tuple[float, int]], notes: Sequence[Note]
) -> tuple[int, int, int]:
    """The same of onsets. Each that was found answers for one note of its pitch at most."""
    free = list(onsets)
    hits = 0
    for note in notes:
        near = [
            onset
            for onset in free
            if onset[1] == note.midi and abs(onset[0] - note.onset_s) <= _ONSET_TOLERANCE_S
        ]
        if near:
            free.remove(min(near, key=lambda onset: abs(onset[0] - note.onset_s)))
            hits += 1
    return hits, len(notes), len(onsets)
