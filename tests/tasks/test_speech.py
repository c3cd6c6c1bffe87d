"""Voice activity and speech enhancement on a tone that stands for speech."""

from __future__ import annotations

import json
import math
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgebench.backend import TensorInfo
from edgebench.task import TaskContext
from edgebench.tasks import _speech, speech_enhancement, voice_activity
from edgebench.tasks.speech_enhancement import SpeechEnhancement, overlap_add, si_sdr, spectra
from edgebench.tasks.voice_activity import VoiceActivity, chunked, golden_order

if TYPE_CHECKING:
    from edgebench.task import Feeds, Outputs

RATE = _speech.SAMPLE_RATE
FRAMES = 40


def write_wav(path: Path, samples: NDArray[Any], rate: int = RATE) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def tone(seconds: float, begin: float, end: float) -> NDArray[Any]:
    """Silence with a 440 Hz tone in it, which the alignment below calls a word."""
    time = np.arange(int(seconds * RATE)) / RATE
    return np.where((time >= begin) & (time < end), 0.5 * np.sin(2 * np.pi * 440 * time), 0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("speech")
    for name, begin, end in (("b", 0.2, 0.9), ("a", 0.4, 1.0)):
        write_wav(folder / f"{name}.wav", tone(1.2, begin, end))
        word = {"b": begin, "d": end - begin, "t": "hum"}
        silence = {"b": 0.0, "d": begin, "t": "<sil>"}
        (folder / f"{name}.json").write_text(json.dumps({"b": 0, "w": [silence, word]}), "utf-8")
    write_wav(folder / "unlabelled.wav", tone(1.0, 0, 1))
    calibration = folder.parent / "calibration.raw"
    calibration.write_bytes((tone(1.0, 0, 1) * 32767).astype("<i2").tobytes())
    return {"speech": folder, "calibration": calibration}


@pytest.fixture(scope="module")
def vad(data: dict[str, Path]) -> VoiceActivity:
    inputs = [
        TensorInfo("input", "float32", (1, 576)),
        TensorInfo("state", "float32", (2, 1, 128)),
    ]
    return VoiceActivity(TaskContext(data=data, inputs=inputs))


@pytest.fixture(scope="module")
def enhancement(data: dict[str, Path]) -> SpeechEnhancement:
    inputs = [TensorInfo("input", "float32", (1, FRAMES, 161))]
    return SpeechEnhancement(TaskContext(data=data, inputs=inputs))


# --- recordings ---------------------------------------------------------------------------------


def test_only_aligned_recordings_are_read_and_words_are_marked(data: dict[str, Path]) -> None:
    a, b = _speech.read_aligned(data["speech"])
    assert np.flatnonzero(a.speech)[[0, -1]].tolist() == [int(0.4 * RATE), int(1.0 * RATE) - 1]
    assert b.speech.sum() == pytest.approx(0.7 * RATE, abs=2)
    assert a.audio.dtype == np.float32
    assert float(np.abs(a.audio[~a.speech]).max()) == 0.0


def test_another_sample_rate_is_refused(tmp_path: Path) -> None:
    write_wav(tmp_path / "x.wav", np.zeros(100), rate=8000)
    with pytest.raises(ValueError, match="16000 Hz"):
        _speech.read_wav(tmp_path / "x.wav")


def test_noise_is_as_loud_as_asked_and_pink(data: dict[str, Path]) -> None:
    recording = _speech.read_aligned(data["speech"])[0]
    noise = _speech.add_noise(recording, 6.0, seed=1) - recording.audio
    speech_power = np.mean(recording.audio[recording.speech] ** 2)
    assert 10 * np.log10(speech_power / np.mean(noise**2)) == pytest.approx(6, abs=0.01)
    power = np.abs(np.fft.rfft(_speech.pink_noise(RATE, seed=2))) ** 2
    low, high = power[100:200].mean(), power[1000:2000].mean()
    assert low / high == pytest.approx(10, rel=0.3)


# --- voice activity -----------------------------------------------------------------------------


@given(st.integers(1, 500))
def test_golden_order_is_a_permutation_spread_evenly(count: int) -> None:
    order = golden_order(count)
    assert sorted(order.tolist()) == list(range(count))
    first = order[: count // 2]
    assert len(first) < 8 or abs(first.mean() - (count - 1) / 2) < count / 8


@given(st.integers(1, 3000))
def test_chunks_continue_each_other(length: int) -> None:
    audio = np.arange(1, length + 1, dtype=np.float32)
    chunks = chunked(audio) if length >= 512 else np.zeros((0, 576), np.float32)
    assert len(chunks) == length // 512
    for number, chunk in enumerate(chunks):
        assert chunk[64:].tolist() == audio[number * 512 : (number + 1) * 512].tolist()
        before = audio[number * 512 - 64 : number * 512] if number else np.zeros(64)
        assert chunk[:64].tolist() == before.tolist()


class LoudnessModel:
    """Calls loud chunks speech and counts, in its state, how many chunks it has seen."""

    def __init__(self) -> None:
        self.counts: list[float] = []

    def __call__(self, queries: Sequence[Feeds]) -> list[Outputs]:
        (query,) = queries  # a stream cannot be batched
        assert query["input"].shape == (1, 576)
        assert query["input"].dtype == query["state"].dtype == np.float32
        self.counts.append(float(query["state"][0, 0, 0]))
        loudness = np.sqrt(np.mean(query["input"][:, 64:] ** 2, axis=1, keepdims=True))
        return [{"output": loudness, "stateN": query["state"] + 1}]


def test_the_state_flows_through_each_stream(vad: VoiceActivity) -> None:
    model = LoudnessModel()
    scores = vad.evaluate(model)
    chunks = len(vad) // 2
    assert model.counts == [*range(chunks), *range(chunks)]
    assert scores["auc_clean"] > 0.99
    assert (
        0.6 < scores["auc"] < scores["auc_clean"]
    )  # noise as loud as speech hides it from loudness


def test_a_detector_that_ignores_the_sound_is_at_chance(vad: VoiceActivity) -> None:
    assert vad.score([0.5] * len(vad)) == {"auc": 0.5, "auc_clean": 0.5}


def test_an_answer_that_is_no_number_is_not_passed_over(vad: VoiceActivity) -> None:
    noisy = [0.5 if index else math.nan for index in range(len(vad))]
    scores = vad.score(noisy)
    assert [name for name, value in scores.items() if math.isnan(value)] in (["auc"], ["auc_clean"])


def test_items_score_like_the_stream_where_no_state_is_needed(vad: VoiceActivity) -> None:
    model = LoudnessModel()
    items = [
        vad.postprocess(model([vad.preprocess(chunk)])[0], chunk)
        for chunk in map(vad.raw, range(len(vad)))
    ]
    assert vad.score(items) == vad.evaluate(LoudnessModel())
    assert set(model.counts) == {0.0}


def test_the_first_items_are_distinct_and_hold_both_classes(vad: VoiceActivity) -> None:
    first = [vad.raw(index) for index in range(32)]
    assert len({chunk.samples.tobytes() for chunk in first}) == 32
    speech = np.concatenate([stream.speech for stream in vad.streams])[vad.order[:32]]
    assert 5 < speech.sum() < 27


def test_vad_calibrates_on_another_recording(vad: VoiceActivity) -> None:
    calibration = [feeds["input"].tobytes() for feeds in vad.calibration()]
    items = {vad.preprocess(vad.raw(index))["input"].tobytes() for index in range(len(vad))}
    assert len(calibration) == RATE // 512
    assert not items & set(calibration)


# --- speech enhancement -------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1))
def test_overlap_add_inverts_the_spectra(seed: int) -> None:
    audio = np.random.default_rng(seed).standard_normal(160 * 12)
    back = overlap_add(spectra(audio))
    assert len(back) == len(audio)
    assert back[160:-160] == pytest.approx(audio[160:-160], abs=1e-5)


def test_si_sdr_of_known_signals() -> None:
    rng = np.random.default_rng(0)
    reference = rng.standard_normal(10_000)
    noise = rng.standard_normal(10_000)
    noise -= (noise @ reference) / (reference @ reference) * reference  # exactly uncorrelated
    noise *= np.sqrt(np.sum(reference**2) / np.sum(noise**2)) / 10
    assert si_sdr(reference, reference + noise) == pytest.approx(20)
    assert si_sdr(reference, 7 * (reference + noise)) == pytest.approx(20)  # the scale is no matter


def all_gains(task: SpeechEnhancement, gain: float) -> dict[str, float]:
    outputs = {"output": np.full((1, FRAMES, 161), gain, dtype=np.float32)}
    return task.score([task.postprocess(outputs, task.raw(i)) for i in range(len(task))])


def test_equal_gains_improve_nothing(enhancement: SpeechEnhancement) -> None:
    assert all_gains(enhancement, 1.0)["si_sdr_improvement"] == pytest.approx(0, abs=1e-3)
    assert all_gains(enhancement, 0.3)["si_sdr_improvement"] == pytest.approx(0, abs=1e-3)


def test_gains_are_limited(enhancement: SpeechEnhancement) -> None:
    gains = np.resize(np.array([-1.0, 0.5, 3.0], np.float32), 12)
    outputs = {"output": gains[None, :, None].repeat(161, 2)}
    limited = {"output": np.clip(outputs["output"], 1e-4, 1.0)}
    task = SpeechEnhancement(TaskContext(inputs=[TensorInfo("input", "float32", (1, 12, 161))]))
    raw = np.random.default_rng(0).standard_normal(13 * 160).astype(np.float32)
    assert task.postprocess(outputs, raw) == pytest.approx(task.postprocess(limited, raw))
    half = {"output": np.full((1, 12, 161), 0.5, np.float32)}
    assert task.postprocess(half, raw) == pytest.approx(0.5 * overlap_add(spectra(raw[-4 * 160 :])))


def test_ideal_gains_improve_much(enhancement: SpeechEnhancement) -> None:
    """Of every window, the gain a Wiener filter would give that knows speech and noise."""
    task = enhancement
    predictions = []
    for index in range(len(task)):
        start = index * task.fresh_frames * 160
        window = slice(start, start + (FRAMES + 1) * 160)
        clean = np.abs(spectra(task.speech.audio[window])) ** 2
        noise = np.abs(spectra(task.noisy[window] - task.speech.audio[window])) ** 2
        gains = (clean / (clean + noise + 1e-12)).astype(np.float32)
        predictions.append(task.postprocess({"output": gains[None]}, task.raw(index)))
    assert task.score(predictions)["si_sdr_improvement"] > 10


def test_windows_follow_each_other_with_history(enhancement: SpeechEnhancement) -> None:
    task = enhancement
    first, second = task.raw(0), task.raw(1)
    assert len(first) == (FRAMES + 1) * 160
    assert np.array_equal(first[task.fresh_frames * 160 :], second[: -task.fresh_frames * 160])
    assert float(np.abs(task.speech.audio[: 30 * 160]).max()) == 0.0  # history before any speech
    features = task.preprocess(first)["input"]
    assert (features.shape, features.dtype.name) == ((1, FRAMES, 161), "float32")
    assert features.flags.c_contiguous
    assert float(features.min()) >= -12


def test_enhancement_is_the_same_every_time(data: dict[str, Path]) -> None:
    context = TaskContext(data=data, inputs=[TensorInfo("input", "float32", (1, FRAMES, 161))])
    one, two = SpeechEnhancement(context), SpeechEnhancement(context)
    assert np.array_equal(one.noisy, two.noisy)
    calibration = [feeds["input"].tobytes() for feeds in one.calibration()]
    assert calibration == [feeds["input"].tobytes() for feeds in two.calibration()]
    assert len(set(calibration)) == len(speech_enhancement.CALIBRATION_NOISE_DB)


def test_voice_activity_streams_are_the_same_every_time(data: dict[str, Path]) -> None:
    one, two = (VoiceActivity(TaskContext(data=data)) for _ in range(2))
    for mine, theirs in zip(one.streams, two.streams, strict=True):
        assert np.array_equal(mine.chunks, theirs.chunks)
    assert float(np.abs(one.streams[0].chunks).max()) == pytest.approx(voice_activity.PEAK)
