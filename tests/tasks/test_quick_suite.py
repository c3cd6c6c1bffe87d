"""The tasks of the suite `quick` on small data made here: inputs, answers and scores."""

from __future__ import annotations

import hashlib
import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgebench.backend import TensorInfo
from edgebench.errors import EdgebenchError, UsageError
from edgebench.models.onnx_file import save_model
from edgebench.task import Task, TaskContext
from edgebench.tasks import _file_samples as file_samples
from edgebench.tasks import load_task
from edgebench.tasks.file_typing import FileTyping
from edgebench.tasks.image_classification import Answer, ImageClassification
from edgebench.tasks.music_transcription import MusicTranscription, clip_notes
from edgebench.tasks.seeded_inputs import SeededInputs
from edgebench.tasks.text_recognition import TextRecognition, draw_line, edit_distance
from tests import onnx_models as models


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three photos, each with its own shade of grey, and two calibration images."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number, label in enumerate((7, 250, 999)):
        shade = (40 + 80 * number,) * 3
        Image.new("RGB", (260, 300), shade).save(folder / f"imagenet_{number:02}_{label}.jpg")
    for number in range(2):
        Image.new("RGB", (32, 32), (number * 90,) * 3).save(folder / f"cifar10_{number:02}_1.png")
    return folder


@pytest.fixture
def magika_config(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    labels = sorted([*file_samples.LABELS, "aaa", "zzz"])
    path.write_text(
        json.dumps(
            {
                "target_labels_space": labels,
                "beg_size": 8,
                "end_size": 6,
                "block_size": 12,
                "padding_token": 256,
            }
        )
    )
    return path


@pytest.fixture
def tasks(photos: Path, magika_config: Path, alphabet: Path) -> dict[str, Task]:
    options: dict[str, dict[str, int]] = {
        "image_classification": {},
        "text_recognition": {"lines": 2},
        "music_transcription": {"clips": 3},
        "file_typing": {"files": 2},
    }
    data = {"images": photos, "labels": magika_config}
    return {
        name: load_task(name, TaskContext(data=data, options=chosen, model=alphabet))
        for name, chosen in options.items()
    }


@pytest.fixture
def alphabet(tmp_path: Path) -> Path:
    model = models.constant()
    entry = model.metadata_props.add()
    entry.key, entry.value = "character", "a\nb\nc"
    save_model(model, tmp_path / "alphabet.onnx")
    return tmp_path / "alphabet.onnx"


def digest(feeds: dict[str, Any]) -> str:
    return hashlib.sha256(b"".join(feeds[name].tobytes() for name in sorted(feeds))).hexdigest()


SHAPES = {
    "image_classification": ((1, 3, 224, 224), np.float32),
    "text_recognition": ((1, 3, 48, 480), np.float32),
    "music_transcription": ((1, 43844, 1), np.float32),
    "file_typing": ((1, 14), np.int32),
}


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_inputs_have_the_models_shape_and_all_differ(tasks: dict[str, Task], name: str) -> None:
    task, (shape, dtype) = tasks[name], SHAPES[name]
    seen = set()
    for index in range(min(len(task), 3)):
        feeds = task.preprocess(task.raw(index))
        (array,) = feeds.values()
        assert array.shape == shape
        assert array.dtype == dtype
        assert array.flags.c_contiguous
        seen.add(digest(feeds))
    assert len(seen) == 3


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_inputs_are_the_same_every_time(tasks: dict[str, Task], name: str) -> None:
    first = tasks[name]
    second = load_task(name, first.context)
    assert digest(first.preprocess(first.raw(1))) == digest(second.preprocess(second.raw(1)))


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_calibration_has_no_evaluation_item(tasks: dict[str, Task], name: str) -> None:
    task = tasks[name]
    evaluated = {digest(task.preprocess(task.raw(index))) for index in range(len(task))}
    calibrated = {digest(feeds) for feeds in islice(task.calibration(), 8)}
    assert len(calibrated) >= 2
    assert not calibrated & evaluated


# --- image classification -----------------------------------------------------------------------


def answer(task: Task, label: int, confidence: float = 9.0) -> Any:
    logits = np.zeros((1, 1000), np.float32)
    logits[0, label] = confidence
    return task.postprocess({"logits": logits}, None)


def test_photos_answer_with_the_likeliest_classes(tasks: dict[str, Task]) -> None:
    found = answer(tasks["image_classification"], 42)
    assert isinstance(found, Answer)
    assert (found.top[0], len(found.top)) == (42, 5)
    assert np.exp(found.log_probability).sum() == pytest.approx(1)


def test_photo_scores_tell_centre_crops_from_all(tasks: dict[str, Task]) -> None:
    task = tasks["image_classification"]
    labels = [7, 250, 999]
    assert len(task) == 30
    perfect = [answer(task, labels[index % 3]) for index in range(30)]
    assert task.score(perfect)["top1_10crop"] == task.score(perfect)["top1"] == 1
    # The centre crops come first: one photo of three wrong there only.
    scores = task.score([answer(task, 5), *perfect[1:]])
    assert scores["top1"] == pytest.approx(2 / 3)
    assert scores["top1_10crop"] == pytest.approx(29 / 30)
    assert scores["nll"] > scores["nll_10crop"] > task.score(perfect)["nll"]


def test_the_right_class_among_five_counts(tasks: dict[str, Task]) -> None:
    task = tasks["image_classification"]
    logits = np.zeros((1, 1000), np.float32)
    logits[0, [1, 2, 3, 4, 7]] = [9, 8, 7, 6, 5]
    scores = task.score([task.postprocess({"logits": logits}, None)] * 3)
    assert scores["top1"] == 0
    assert scores["top5"] == pytest.approx(1 / 3)


def test_a_mirrored_view_is_the_mirror_image(photos: Path) -> None:
    gradient = np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (256, 1, 3))
    Image.fromarray(gradient).save(photos / "imagenet_00_7.jpg", quality=100)
    task = ImageClassification(TaskContext(data={"images": photos}))
    plain, mirrored = (task.preprocess(task.raw(index))["image"] for index in (0, 3))
    assert np.array_equal(plain, mirrored[..., ::-1])
    assert not np.array_equal(plain, mirrored)


def test_a_folder_without_photos_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EdgebenchError, match="holds no files"):
        ImageClassification(TaskContext(data={"images": tmp_path}))


# --- text recognition ---------------------------------------------------------------------------


def ctc(codes: list[int]) -> dict[str, Any]:
    return {"scores": np.eye(5, dtype=np.float32)[codes][None]}


@pytest.mark.parametrize(
    ("codes", "text"),
    [([0, 1, 1, 0, 1, 2], "aab"), ([3, 3, 3], "c"), ([1, 4, 2], "a b"), ([0, 0], "")],
)
def test_repeats_and_blanks_are_not_read(
    tasks: dict[str, Task], codes: list[int], text: str
) -> None:
    assert tasks["text_recognition"].postprocess(ctc(codes), None) == text


def test_a_model_without_an_alphabet_is_an_error(tmp_path: Path) -> None:
    save_model(models.constant(), tmp_path / "m.onnx")
    task = TextRecognition(TaskContext(model=tmp_path / "m.onnx"))
    with pytest.raises(EdgebenchError, match="no alphabet"):
        task.postprocess(ctc([1]), None)


def test_lines_fit_the_models_width() -> None:
    for seed in range(60):
        height, width = draw_line(seed, grade=0).picture.shape[:2]
        assert 48 * width / height <= 481


def test_grades_degrade_the_same_line() -> None:
    lines = [draw_line(3, grade) for grade in range(3)]
    assert len({line.text for line in lines}) == 1
    noise = [float(np.std(np.diff(line.picture[:3].astype(float), axis=1))) for line in lines]
    assert noise[0] < noise[1] < noise[2]


def test_line_scores_keep_grades_apart(tasks: dict[str, Task]) -> None:
    task = tasks["text_recognition"]
    texts = [draw_line(index, index % 3).text for index in range(len(task))]
    assert set(task.score(texts).values()) == {1.0}
    scores = task.score([text if i % 3 != 2 else "" for i, text in enumerate(texts)])
    assert scores["char_accuracy_hard"] == 0
    assert scores["char_accuracy_clean"] == scores["char_accuracy_mid"] == 1
    assert scores["exact_lines"] == 0.5


@given(st.text("abc", max_size=7), st.text("abc", max_size=7), st.text("abc", max_size=7))
def test_edit_distance_is_a_metric(a: str, b: str, c: str) -> None:
    assert (edit_distance(a, b) == 0) == (a == b)
    assert edit_distance(a, b) == edit_distance(b, a)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)
    assert abs(len(a) - len(b)) <= edit_distance(a, b) <= max(len(a), len(b))


# --- music transcription ------------------------------------------------------------------------


def roll(notes: list[Any], shift: int = 0) -> dict[str, Any]:
    """The outputs of a network that hears exactly these notes, `shift` frames late."""
    frames, onsets = np.zeros((1, 172, 88), np.float32), np.zeros((1, 172, 88), np.float32)
    for note in notes:
        start = round(note.onset_s * 22050 / 256)
        frames[0, start : start + 12, note.midi - 21] = 1
        last = int((note.onset_s + note.duration_s) * 22050 / 256)
        frames[0, int(note.onset_s * 22050 / 256) : last + 1, note.midi - 21] = 1
        onsets[0, start + shift, note.midi - 21] = 1
    return {"StatefulPartitionedCall:1": frames, "StatefulPartitionedCall:2": onsets}


def score_rolls(shift: int = 0, drop: int = 0) -> dict[str, float]:
    task = MusicTranscription(TaskContext(options={"clips": 3}))
    clips = [clip_notes(index, voices=1 + index % 3) for index in range(3)]
    return task.score([task.postprocess(roll(notes[drop:], shift), None) for notes in clips])


def test_hearing_every_note_scores_one() -> None:
    scores = score_rolls()
    assert scores["onset_f1"] > 0.97  # notes of one pitch that touch may merge
    assert scores["frame_f1"] > 0.97


def test_a_late_onset_counts_up_to_100_ms() -> None:
    assert score_rolls(shift=1)["onset_f1"] > 0.9
    assert score_rolls(shift=30)["onset_f1"] < 0.2


def test_a_missed_note_costs_both_scores() -> None:
    assert score_rolls(drop=1)["onset_f1"] < score_rolls()["onset_f1"]
    assert score_rolls(drop=1)["frame_f1"] < score_rolls()["frame_f1"]


def test_an_onset_without_a_sounding_note_is_no_note() -> None:
    task = MusicTranscription(TaskContext())
    outputs = roll(clip_notes(0, 1))
    outputs["StatefulPartitionedCall:1"][:] = 0
    assert task.postprocess(outputs, None).onsets == ()


def test_another_network_is_refused() -> None:
    with pytest.raises(EdgebenchError, match="no output"):
        MusicTranscription(TaskContext()).postprocess({"y": np.zeros((1, 172, 88))}, None)


# --- file typing --------------------------------------------------------------------------------

MAGIC = {
    "gzip": b"\x1f\x8b",
    "zip": b"PK\x03\x04",
    "png": b"\x89PNG\r\n\x1a\n",
    "gif": b"GIF89a",
    "bmp": b"BM",
    "wav": b"RIFF",
    "pdf": b"%PDF-",
    "elf": b"\x7fELF",
    "midi": b"MThd",
    "npy": b"\x93NUMPY",
}


@pytest.mark.parametrize("label", file_samples.LABELS)
def test_files_are_of_their_type_and_differ_by_seed(label: str) -> None:
    first, second = (file_samples.write_file(label, seed) for seed in (1, 2))
    assert first != second
    assert first == file_samples.write_file(label, 1)
    assert first.startswith(MAGIC.get(label, b""))


def test_files_that_a_library_can_read() -> None:
    import io
    import tarfile
    import wave
    import zipfile

    zipped = zipfile.ZipFile(io.BytesIO(file_samples.write_file("zip", 1)))
    assert (len(zipped.namelist()), zipped.testzip()) == (3, None)
    with tarfile.open(fileobj=io.BytesIO(file_samples.write_file("tar", 1))) as archive:
        assert len(archive.getnames()) == 1
    with wave.open(io.BytesIO(file_samples.write_file("wav", 1))) as sound:
        assert (sound.getnchannels(), sound.getnframes()) == (1, 900)
    assert np.load(io.BytesIO(file_samples.write_file("npy", 1))).dtype == np.float32
    with Image.open(io.BytesIO(file_samples.write_file("bmp", 1))) as picture:
        picture.load()


def test_the_generated_files_never_change() -> None:
    """Scores compare between versions only while these bytes stay."""
    content = b"".join(file_samples.write_file(label, 0) for label in file_samples.LABELS)
    assert hashlib.sha256(content).hexdigest() == FILES_SHA256


FILES_SHA256 = "056f93d48baff9a1d2d5849b16f41e492a0a47b732cbbcc3e43faba4ded70bd7"


def test_file_features_are_the_ends_without_white_space(tasks: dict[str, Task]) -> None:
    task = tasks["file_typing"]
    (features,) = task.preprocess(b"  \nabcdefghijklmnop \n")["bytes"]
    assert bytes(features[:8].astype(np.uint8)) == b"abcdefgh"
    assert bytes(features[8:].astype(np.uint8)) == b"klmnop"
    (short,) = task.preprocess(b"ab")["bytes"]
    assert short.tolist() == [97, 98, *[256] * 10, 97, 98]


def test_file_scores_tell_whole_from_cut(tasks: dict[str, Task], magika_config: Path) -> None:
    task = tasks["file_typing"]
    labels = json.loads(magika_config.read_text())["target_labels_space"]
    count = len(file_samples.LABELS)

    def says(label: str) -> Any:
        outputs = np.full((1, len(labels)), 1e-3, np.float32)
        outputs[0, labels.index(label)] = 0.9
        return task.postprocess({"p": outputs}, None)

    right = [says(file_samples.LABELS[index % count]) for index in range(len(task))]
    assert task.score(right) == {
        "accuracy": 1,
        "accuracy_whole": 1,
        "nll": pytest.approx(-np.log(0.9)),
    }
    # Every file of the first round is whole; one of them wrong.
    wrong = task.score([says("aaa"), *right[1:]])
    assert wrong["accuracy"] == 1
    assert wrong["accuracy_whole"] == pytest.approx(1 - 1 / count)


def test_whole_files_are_longer_than_cut_ones(tasks: dict[str, Task]) -> None:
    count = len(file_samples.LABELS)
    assert min(len(tasks["file_typing"].raw(index)) for index in range(count)) > 200
    assert max(len(tasks["file_typing"].raw(count + index)) for index in range(count)) <= 128


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"target_labels_space": []}'])
def test_a_wrong_label_file_is_an_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(content)
    with pytest.raises(EdgebenchError, match="not a configuration of magika"):
        FileTyping(TaskContext(data={"labels": path})).preprocess(b"x")


# --- seeded inputs ------------------------------------------------------------------------------


def seeded(*inputs: TensorInfo, seed: int = 0, **options: Any) -> SeededInputs:
    return SeededInputs(TaskContext(inputs=inputs, seed=seed, options=options))


def test_seeded_inputs_have_the_declared_types_and_safe_values() -> None:
    task = seeded(
        TensorInfo("x", "float32", (1, 3)),
        TensorInfo("half", "float16", (1,)),
        TensorInfo("ids", "int64", (1, 50)),
        TensorInfo("attention_mask", "int64", (1, 50)),
        TensorInfo("pixels", "uint8", (1, 400)),
        TensorInfo("flag", "bool", (1,)),
        TensorInfo("scalar", "float32", ()),
    )
    feeds = task.preprocess(task.raw(0))
    for info in task.context.inputs:
        assert feeds[info.name].dtype.name == info.dtype
        assert feeds[info.name].shape == info.shape
    assert set(feeds["ids"].ravel()) == {0, 1}
    assert set(feeds["attention_mask"].ravel()) == {1}
    assert feeds["pixels"].max() > 200


def test_seeded_inputs_differ_by_item_and_seed_only() -> None:
    info = TensorInfo("x", "float32", (1, 8))
    made = [seeded(info, seed=seed).preprocess(item) for seed in (0, 1) for item in (0, 1)]
    assert len({digest(feeds) for feeds in made}) == 4
    assert digest(seeded(info).preprocess(0)) == digest(made[0])


def test_ranges_are_kept_and_checked() -> None:
    info = TensorInfo("ids", "int64", (1, 500))
    ids = seeded(info, ranges={"ids": [5, 9]}).preprocess(0)["ids"]
    assert set(ids.ravel()) == {5, 6, 7, 8, 9}
    with pytest.raises(UsageError, match="did you mean 'ids'"):
        seeded(info, ranges={"idx": [0, 1]})
    for limits in ([9, 5], [1, 2, 3], 5, "01", [0, "9"]):
        with pytest.raises(UsageError, match=r"\[low, high\]"):
            seeded(info, ranges={"ids": limits})


def test_an_open_axis_cannot_be_filled() -> None:
    with pytest.raises(UsageError, match="open axis"):
        seeded(TensorInfo("x", "float32", (1, None))).preprocess(0)
