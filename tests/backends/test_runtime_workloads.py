"""Files in a runtime's own format: planning, preparing, checking, and the two tasks on them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgebench import registry
from edgebench.assets import needs_of
from edgebench.backend import Effective, ModelFile, Session, TensorInfo
from edgebench.definitions.workload import Quality as QualitySpec
from edgebench.definitions.workload_loader import load_workload, load_workloads
from edgebench.errors import EdgebenchError, SpecError, UnsupportedError
from edgebench.installed_packages import installed_version
from edgebench.measure.replicate import quality_checks
from edgebench.measure.replicate.quality_checks import Standard
from edgebench.planning.cells import plan
from edgebench.preparation import input_pool as inputs
from edgebench.preparation.preparation_messages import PrepareJob, Reference
from edgebench.preparation.prepare import prepare
from edgebench.task import TaskContext
from edgebench.tasks import _synthetic_speech, wake_word
from edgebench.tasks.face_detection import FaceDetection
from edgebench.tasks.wake_word import WakeWord, resampled, with_quiet
from edgebench.testing.models import two_by_two

if TYPE_CHECKING:
    from edgebench.task import Feeds, Outputs

ROOT = Path(__file__).parents[2]
NATIVE = ("face-detection", "wake-word")
#: What the definitions' models reached when they were written, on LiteRT 2.3.
MEASURED = {
    "face-detection": {"auc": 0.9998, "accuracy": 0.985},
    "wake-word": {"auc": 1.0, "recall": 1.0, "false_accepts": 0.036},
}


# --- the plan, the file, the checks -------------------------------------------------------------


@pytest.mark.parametrize("name", NATIVE)
def test_other_backends_get_a_row_that_says_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgebench.planning.cells.installed_version", lambda *names: "1")
    for backend in ("ort", "null"):
        (cell,) = plan(
            [load_workloads()[name]], [backend], sets={"threads": [1]} if backend == "ort" else {}
        )[:1]
        assert cell.unsupported is not None
        assert cell.unsupported.code == "unsupported_format"
        assert "opens no tflite models" in cell.unsupported.message


def test_a_workload_without_its_data_makers_is_a_row_with_the_fix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edgebench.planning.cells.installed_version", lambda *names: None)
    cell = plan([load_workloads()["wake-word"]], ["ort"])[0]
    assert cell.unsupported is not None
    assert cell.unsupported.code == "requirement_missing"
    assert cell.unsupported.fix == "pip install pymicro-features espeakng-loader"


def native_job(source: Path, **changes: Any) -> PrepareJob:
    facts = {"source": str(source), "source_sha256": "0" * 64, "cache": str(source.parent)}
    return PrepareJob(task="seeded_inputs", format="tflite", **{**facts, **changes})


def test_a_native_file_is_used_as_it_came(tmp_path: Path) -> None:
    source = tmp_path / "m.tflite"
    source.write_bytes(b"1234TFL3")
    made = prepare(native_job(source))
    assert (made.path, made.format, made.size_bytes) == (str(source), "tflite", 8)
    assert made.reference.path == ""
    for wrong in ({"precision": "int8-static"}, {"batch": 2}):
        with pytest.raises(UnsupportedError, match="used unchanged"):
            prepare(native_job(source, **wrong))
    with pytest.raises(EdgebenchError, match="no model file"):
        prepare(native_job(tmp_path / "other.tflite"))


class Counting(Session):
    """Answers how often it was called since it was told to forget; `leak` forgets less."""

    inputs = outputs = (TensorInfo("x", "float32", (1, 1)),)

    def __init__(self, leak: bool) -> None:
        self.calls = 0.0
        self.leak = leak
        self.run = self._count

    def _count(self, prepared: Any) -> float:
        self.calls += 1
        return self.calls

    def prepare(self, feeds: Any) -> Any:
        return feeds

    def outputs_of(self, prepared: Any, raw: float) -> Outputs:
        return {"x": np.full((1, 1), raw, np.float32)}

    def reset(self) -> None:
        if not self.leak:
            self.calls = 0

    def effective(self) -> Effective:
        raise NotImplementedError


class OneNumber:
    """As much of a task as the output check asks for."""

    def __len__(self) -> int:
        return 4

    def raw(self, index: int) -> int:
        return index

    def preprocess(self, raw: int) -> Feeds:
        return {"x": np.full((1, 1), raw, np.float32)}


@pytest.mark.parametrize("leak", [False, True])
def test_without_a_reference_a_session_is_held_against_itself(tmp_path: Path, leak: bool) -> None:
    session = Counting(leak)
    session.calls = 17  # as the measured window left it
    task: Any = OneNumber()
    items = inputs.first_items(task, quality_checks.CHECKED_ITEMS)
    found = [
        quality_checks.output_check(
            session,
            items,
            Standard(precision="as-is"),
            expected=str(tmp_path / "e.npz"),
        )
        for _ in range(2)
    ]
    assert [each.against for each in found] == ["itself", "replicate 0"]
    assert [each.passed for each in found] == [not leak, not leak]


def test_parity_without_a_reference_is_no_verdict() -> None:
    task: Any = OneNumber()
    task.metrics = {"parity_error": None}
    quality = quality_checks.quality(
        Counting(leak=False),
        task,
        QualitySpec(metric="parity_error", ceiling=1e-3),
        Standard(precision="as-is", reference=Reference(note="nobody can run it")),
    )
    assert not quality.passed
    assert quality.value is None
    assert quality.reason == "nobody can run it"


# --- the makers' own file of a workload -----------------------------------------------------------


def test_a_backend_that_opens_it_gets_the_makers_own_file() -> None:
    """For the precision it stands for, at batch 1; every other cell comes from the ONNX model."""
    workload = load_workloads()["music-transcription"]
    chosen = {
        (cell.backend, cell.precision, cell.batch): cell.native
        for cell in plan(
            [workload],
            ["ort", "litert"],
            sets={"threads": [1], "batch": [1, 8], "precision": ["fp32", "int8-static"]},
            scenarios=["single_stream"],
        )
    }
    native = chosen.pop(("litert", "fp32", 1))
    assert native is not None
    assert native.format == "tflite"
    assert native.model.uri.endswith("/nmp.tflite")
    assert set(chosen.values()) == {None}
    assert len(chosen) == 7
    assert native.model in [need.asset for need in needs_of([workload])]


def test_a_native_file_uses_the_names_of_the_workload(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    case, backend = two_by_two(), registry.load("litert")
    made = backend.convert(case.write(tmp_path), {}, tmp_path)
    names = {"first": "right", "second": "left", "p": "product"}
    session = backend.open(replace(made, names=names), {})
    assert [info.name for info in session.inputs] == ["first", "second"]
    assert [info.name for info in session.outputs] == ["p", "difference"]
    feeds = case.feeds(1)
    prepared = session.prepare({"first": feeds["right"], "second": feeds["left"]})
    found = session.outputs_of(prepared, session.run(prepared))
    np.testing.assert_allclose(found["p"], case.reference(feeds)["product"], rtol=1e-4, atol=1e-5)
    with pytest.raises(
        UnsupportedError, match="no input or output 'prodct'; did you mean 'product'"
    ):
        backend.open(replace(made, names={"p": "prodct"}), {})


def test_its_definition_is_checked_like_any_asset(tmp_path: Path) -> None:
    text = (ROOT / "workloads" / "music-transcription.yaml").read_text("utf-8")
    head, native, tail = text.partition("    tflite:\n")
    path = tmp_path / "music-transcription.yaml"
    path.write_text(head + native + tail.replace("license: Apache-2.0", 'license: " "', 1))
    with pytest.raises(SpecError, match=r"(?s)native.*license.*is empty"):
        load_workload(path)


# --- face detection -----------------------------------------------------------------------------


@pytest.fixture
def faces(tmp_path: Path) -> FaceDetection:
    """Three bright faces, three dark backgrounds, in the order of the file."""
    pictures = np.zeros((6, 25, 25))
    pictures[:3] = 0.9
    path = tmp_path / "p.npy"
    np.save(path, pictures)
    inputs = [TensorInfo("pixels", "float32", (1, 128, 128, 3))]
    return FaceDetection(TaskContext(data={"pictures": path}, inputs=inputs))


def bright(items: Sequence[Feeds]) -> list[Outputs]:
    return [
        {
            "boxes": np.zeros((1, 3, 16), np.float32),
            "logits": np.array([[[-9.0], [10 * float(item["pixels"].mean())], [-5.0]]], np.float32),
        }
        for item in items
    ]


def test_faces_are_told_from_backgrounds_by_the_best_anchor(faces: FaceDetection) -> None:
    feeds = faces.preprocess(faces.raw(0))
    assert feeds["pixels"].shape == (1, 128, 128, 3)
    assert feeds["pixels"].dtype == np.float32
    assert -1 <= feeds["pixels"].min() <= feeds["pixels"].max() <= 1
    assert faces.evaluate(bright) == {"auc": 1.0, "accuracy": 1.0}
    upside_down = [
        1 - p
        for p in map(
            faces.postprocess, bright([faces.preprocess(faces.raw(i)) for i in range(6)]), range(6)
        )
    ]
    assert faces.score(upside_down)["auc"] == 0.0


def test_face_scores_do_not_overflow(faces: FaceDetection) -> None:
    for logit, score in ((1e30, 1.0), (-1e30, 0.0)):
        found = faces.postprocess({"logits": np.full((1, 2, 1), logit, np.float32)}, None)
        assert found == pytest.approx(score)


# --- wake word ----------------------------------------------------------------------------------


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WakeWord:
    """Speech whose loudness tells the wake word; a front end that passes loudness on."""
    settings = tmp_path / "s.json"
    micro = {"probability_cutoff": 0.5, "sliding_window_size": 3}
    settings.write_text(json.dumps({"micro": micro}))

    def speak(utterances: Sequence[Any]) -> tuple[list[Any], int]:
        return [
            np.full(4000, 9000 if u.text == "alexa" else 900, np.int16) for u in utterances
        ], 16_000

    def features(self: WakeWord, audio: Any) -> Any:
        loud = np.abs(audio[: len(audio) // 480 * 480].astype(np.float32)).reshape(-1, 3, 160)
        return np.repeat(loud.mean(axis=2, keepdims=True) / 200, 40, axis=2)

    monkeypatch.setattr(wake_word, "speak", speak)
    monkeypatch.setattr(WakeWord, "_features", features)
    options = {"word": "alexa", "frames_per_step": 3, "input_scale": 0.1, "input_zero_point": -128}
    inputs = [TensorInfo("audio", "int8", (1, 3, 40))]
    return WakeWord(TaskContext(data={"settings": settings}, options=options, inputs=inputs))


def test_steps_are_quantised_as_the_model_wants_them(words: WakeWord) -> None:
    feeds = words.preprocess(np.full((3, 40), 1.0, np.float32))["audio"]
    assert feeds.shape == (1, 3, 40)
    assert feeds.dtype == np.int8
    assert set(feeds.reshape(-1).tolist()) == {-118}
    assert words.preprocess(np.full((3, 40), 1e6, np.float32))["audio"].max() == 127


def test_clips_are_streamed_after_silence_and_scored_by_their_windows(words: WakeWord) -> None:
    seen: list[int] = []

    def infer(items: Sequence[Feeds]) -> list[Outputs]:
        seen.append(len(items))
        assert all((item["audio"] == -128).all() for item in items[: wake_word.FLUSH_STEPS])
        return [
            {"p": np.array([[255 if item["audio"].max() > 50 else 0]], np.uint8)} for item in items
        ]

    assert words.evaluate(infer) == {"auc": 1.0, "recall": 1.0, "false_accepts": 0.0}
    assert len(seen) == len(words.clips)
    assert sum(seen) == len(words) + wake_word.FLUSH_STEPS * len(words.clips)


def test_one_loud_step_is_no_word(words: WakeWord) -> None:
    """The cut-off is for the mean over the window."""
    predictions = []
    for clip in words.clips:
        heard = np.zeros(len(clip.steps))
        heard[5] = 1.0
        predictions += heard.tolist()
    assert words.score(predictions)["recall"] == 0.0


def test_items_are_all_steps_and_neighbours_lie_apart(words: WakeWord) -> None:
    found = {int(i * wake_word._STRIDE % len(words)) for i in range(len(words))}
    assert len(found) == len(words)


def test_resampling_keeps_a_tone() -> None:
    time_s = np.arange(22050) / 22050
    tone = (10_000 * np.sin(2 * np.pi * 440 * time_s)).astype(np.int16)
    made = resampled(tone, 22050)
    wanted = 10_000 / 32768 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    assert len(made) == 16_000
    assert np.abs(made - wanted).max() < 1e-3
    audio = with_quiet(made, np.random.default_rng(0))
    assert len(audio) == 16_000 * 2.75
    assert np.abs(audio[:16_000]).max() < 300


def test_speech_is_made_in_a_process_of_its_own() -> None:
    pytest.importorskip("espeakng_loader")
    one, two = (
        _synthetic_speech.Utterance("alexa", "en-us", 140, 40),
        _synthetic_speech.Utterance("hello", "en", 165, 60),
    )
    said, rate = _synthetic_speech.speak([one, two])
    again, _ = _synthetic_speech.speak([one, two])
    assert rate >= 16_000
    assert len(said[0]) > 0.2 * rate
    assert all(map(np.array_equal, said, again))
    assert not np.array_equal(said[0], said[1])
    with pytest.raises(EdgebenchError, match="no voice 'nobody'"):
        _synthetic_speech.speak([one._replace(voice="nobody")])


# --- with the real files ------------------------------------------------------------------------


@pytest.mark.downloads
@pytest.mark.parametrize("name", NATIVE)
def test_measured_quality(name: str, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    from edgebench import assets
    from edgebench.tasks import load_task

    workload = load_workloads()[name]
    if any(installed_version(needed) is None for needed in workload.requires):
        pytest.skip(f"needs {', '.join(workload.requires)}")
    paths, errors = assets.fetch_each([workload.model, *workload.data.values()])
    assert not errors
    model = ModelFile(paths[workload.model.sha256], "tflite", workload.model.sha256)
    session = registry.load("litert").open(model, {"threads": 1})
    context = TaskContext(
        data={key: paths[asset.sha256] for key, asset in workload.data.items()},
        options=workload.options,
        inputs=session.inputs,
    )
    task = load_task(workload.task, context)
    values = task.evaluate(lambda items: quality_checks.infer(session, 1, items))
    assert values == pytest.approx(MEASURED[name], abs=0.02)
    assert session.effective().precision == {"face-detection": "fp32", "wake-word": "int8"}[name]
