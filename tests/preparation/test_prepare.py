"""Preparing a model: shapes, precisions, the reference, and a cache that is right or rebuilt."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edgebench.errors import (
    AssetError,
    EdgebenchError,
    UnsupportedError,
    UsageError,
    tells_of_no_memory,
)
from edgebench.files.model_outputs import load_outputs
from edgebench.models import efficientnet_lite0, onnx_file
from edgebench.preparation import input_pool as inputs
from edgebench.preparation.built_model_cache import Cache, Made
from edgebench.preparation.preparation_messages import (
    PreparedModel,
    PrepareFailure,
    PrepareJob,
    decode_answer,
)
from edgebench.preparation.prepare import prepare
from edgebench.task import TaskContext
from edgebench.tasks import load_task
from tests import onnx_models as models

TASK = """
import numpy as np
from edgebench.tasks.seeded_inputs import SeededInputs

class Images(SeededInputs):
    def calibration(self):
        for number in range(4):
            yield self.preprocess(1000 + number)
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "source.onnx", models.convolution())


def write(path: Path, model: Any) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def job(source: Path, **changes: Any) -> PrepareJob:
    cache = source.parent / "cache"
    task = source.parent / "task.py"
    task.write_text(TASK)
    settings: dict[str, Any] = {
        "task": f"{task}:Images",
        "source": str(source),
        "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "cache": str(cache),
    }
    return PrepareJob(**{**settings, **changes})


def sha256_of(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_a_model_with_fixed_shapes_is_used_as_it_came(tmp_path: Path) -> None:
    source = write(tmp_path / "model.onnx", models.convolution([1, 3, 8, 8]))
    prepared = prepare(job(source))
    assert prepared.path == prepared.fp32_path == str(source)
    assert prepared.sha256 == sha256_of(str(source))
    assert prepared.size_bytes == source.stat().st_size
    assert prepared.build_s is None
    assert not prepared.reference.constant


def test_open_axes_are_fixed_to_the_batch(source: Path) -> None:
    prepared = prepare(job(source, precision="fp32", batch=4))
    inputs, _ = onnx_file.describe(onnx_file.load_model(Path(prepared.path)))
    assert inputs[0].shape == (4, 3, 8, 8)
    assert prepared.inputs[0].shape == (1, 3, 8, 8)
    assert prepared.path != prepared.fp32_path
    assert prepared.sha256 == sha256_of(prepared.path)
    assert prepared.build_s is not None
    assert prepared.build_s > 0


def test_precisions_are_different_files_with_one_reference(source: Path) -> None:
    prepared = [prepare(job(source, precision=p)) for p in ("fp32", "int8-dynamic", "int8-static")]
    assert len({model.sha256 for model in prepared}) == 3
    assert len({model.reference.path for model in prepared}) == 1
    for model in prepared:
        loaded = onnx_file.load_model(Path(model.path))
        assert onnx_file.MIN_IR <= loaded.ir_version <= onnx_file.MAX_IR
        assert onnx_file.opset_of(loaded) <= onnx_file.MAX_OPSET


def test_the_reference_holds_the_unquantised_answers(source: Path) -> None:
    from edgebench.task import TaskContext
    from edgebench.tasks import load_task

    request = job(source, precision="int8-static", seed=3)
    prepared = prepare(request)
    task = load_task(request.task, TaskContext(inputs=prepared.inputs, seed=3))
    with np.load(prepared.reference.path) as archive:
        assert sorted(archive.files) == [f"{index}/logits" for index in range(8)]
        for index in range(8):
            (want,) = models.run(source, dict(task.preprocess(task.raw(index))))
            assert np.allclose(archive[f"{index}/logits"], want, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 4])
def test_the_items_of_the_pool_are_made_once_as_a_worker_would_make_them(
    source: Path, batch: int
) -> None:
    request = job(source, precision="fp32", batch=batch)
    prepared = prepare(request)
    context = TaskContext(model=Path(prepared.fp32_path), inputs=tuple(prepared.inputs))
    made = inputs.pool_items(load_task(request.task, context), batch)
    kept = load_outputs(prepared.items, inputs.POOL * batch)
    assert inputs.digest(kept) == inputs.digest(made)
    assert prepare(request).items == prepared.items


def test_a_metric_that_the_task_does_not_give_is_refused_before_anything_is_timed(
    source: Path,
) -> None:
    prepare(job(source))
    with pytest.raises(UsageError, match="gives no metric 'top1'"):
        prepare(job(source, metrics=["top1"]))


def test_items_that_a_file_of_arrays_would_change_are_left_to_workers() -> None:
    assert inputs.can_be_kept([{"x": np.zeros(3, np.float32), "n": np.zeros(2, np.int64)}])
    assert not inputs.can_be_kept([{"x": np.array(["text"], dtype=object)}])


def test_another_seed_makes_another_reference(source: Path) -> None:
    assert (
        prepare(job(source, seed=1)).reference.path != prepare(job(source, seed=2)).reference.path
    )


def test_answers_that_ignore_the_input_are_told(tmp_path: Path) -> None:
    assert prepare(job(write(tmp_path / "model.onnx", models.constant()))).reference.constant


def test_a_prepared_model_is_taken_from_the_cache(source: Path) -> None:
    first = prepare(job(source, precision="int8-static"))
    stamps = {path: path.stat().st_mtime_ns for path in (source.parent / "cache").rglob("*")}
    assert prepare(job(source, precision="int8-static")) == first
    assert {p: p.stat().st_mtime_ns for p in (source.parent / "cache").rglob("*")} == stamps


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "facts"])
def test_a_damaged_entry_is_made_again(source: Path, damage: str) -> None:
    first = prepare(job(source, precision="fp32"))
    path = Path(first.path)
    content = path.read_bytes()
    if damage == "flip":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "cut":
        path.write_bytes(content[:100])
    elif damage == "remove":
        path.unlink()
    else:
        (path.parent / "entry.json").write_text("{")
    again = prepare(job(source, precision="fp32"))
    assert (again.path, again.sha256) == (first.path, first.sha256)
    assert path.read_bytes() == content


def test_a_task_that_changed_calibrates_again(source: Path) -> None:
    request = job(source, precision="int8-static")
    first = prepare(request)
    Path(request.task.rpartition(":")[0]).write_text(TASK.replace("1000", "2000"))
    assert prepare(request).path != first.path


def test_a_source_that_changed_in_place_is_seen(tmp_path: Path) -> None:
    source = write(tmp_path / "model.onnx", models.convolution([1, 3, 8, 8]))
    stale = job(source)
    first = prepare(stale)
    write(source, models.convolution([1, 3, 6, 6]))
    assert prepare(stale).sha256 == sha256_of(str(source)) != first.sha256


def test_weights_beside_the_file_count_and_are_hashed(tmp_path: Path) -> None:
    import onnx

    source = tmp_path / "model.onnx"
    model = models.convolution([1, 3, 8, 8])
    onnx.save(model, str(source), save_as_external_data=True, location="w", size_threshold=0)
    first = prepare(job(source))
    assert first.path == str(source)
    assert first.size_bytes == source.stat().st_size + (tmp_path / "w").stat().st_size
    (tmp_path / "w").write_bytes(bytes((tmp_path / "w").stat().st_size))
    assert prepare(job(source)).sha256 != first.sha256


def test_a_shape_fixes_open_axes_of_a_users_model(tmp_path: Path) -> None:
    source = write(tmp_path / "m.onnx", models.convolution(["batch", 3, "h", "w"]))
    with pytest.raises(UsageError, match="axis 2") as caught:
        prepare(job(source))
    assert "--shape image=" in caught.value.fix
    prepared = prepare(job(source, shapes={"image": [1, 3, 8, 8]}))
    assert prepared.inputs[0].shape == (1, 3, 8, 8)


def test_shapes_that_an_error_proposes_are_some_that_the_model_runs_with(tmp_path: Path) -> None:
    """A batch axis without a name, as in a detector of speech, and a length that must be a multiple of 80."""
    source = write(tmp_path / "vad.onnx", models.stateful_without_names())
    seeded = job(source, task="seeded_inputs")
    with pytest.raises(UsageError, match="input 'x': axis 1, input 'state': axis 1") as caught:
        prepare(seeded)
    assert caught.value.fix.startswith("--shape x=1,640 --shape state=2,1,4 (it runs with these")
    shapes: dict[str, list[int | str]] = {"x": [1, 640], "state": [2, 1, 4]}
    assert prepare(msgspec.structs.replace(seeded, shapes=shapes)).reference.path


def test_where_no_size_was_found_an_error_says_so(tmp_path: Path) -> None:
    source = write(tmp_path / "vad.onnx", models.stateful_without_names(multiple=7919))
    with pytest.raises(UsageError) as caught:
        prepare(job(source, task="seeded_inputs"))
    assert caught.value.fix.endswith("with sizes that the model was made for")


@pytest.mark.parametrize(
    ("changes", "kind", "complaint"),
    [
        ({"precision": "fp3"}, UnsupportedError, "did you mean 'fp32'"),
        ({"builder": "efficientnet_lite"}, UsageError, "did you mean 'efficientnet_lite0'"),
        ({"builder": "file_kind"}, UsageError, "is not a builder"),
        ({"shapes": {"imag": [1, 3, 8, 8]}}, UsageError, "did you mean 'image'"),
        ({"task": "image_clasification"}, UsageError, "did you mean 'image_classification'"),
    ],
)
def test_requests_that_make_no_sense(
    source: Path, changes: dict[str, Any], kind: type[Exception], complaint: str
) -> None:
    with pytest.raises(kind, match=complaint):
        prepare(job(source, **changes))


def test_a_file_whose_branches_contradict_the_shapes_runs_as_it_came(tmp_path: Path) -> None:
    source = write(tmp_path / "vad.onnx", models.contradicting_branches())
    shapes: dict[str, list[int | str]] = {"x": [1, 4], "wide": [1]}
    task = "class Narrow(SeededInputs):\n    def preprocess(self, raw):\n"
    task += "        return super().preprocess(raw) | {'wide': np.zeros(1, bool)}\n"
    asked = job(source, shapes=shapes)
    (tmp_path / "task.py").write_text(f"{TASK}\n{task}")
    prepared = prepare(msgspec.structs.replace(asked, task=f"{tmp_path / 'task.py'}:Narrow"))
    assert (prepared.path, prepared.sha256) == (str(source), sha256_of(str(source)))
    assert [info.shape for info in prepared.inputs] == [(1, 4), (1,)]
    assert not prepared.reference.constant
    assert not prepared.reference.note


def test_one_file_at_other_sizes_is_asked_other_things(tmp_path: Path) -> None:
    """A file that runs as it came is the same file at every size: what is kept of one size is no answer for
    another."""
    source = write(tmp_path / "vad.onnx", models.contradicting_branches())
    task = "class Fitting(SeededInputs):\n    def preprocess(self, raw):\n"
    task += "        wide = self.context.inputs[0].shape[1] == 8\n"
    task += "        return super().preprocess(raw) | {'wide': np.full(1, wide)}\n"
    for width in (4, 8):
        shapes: dict[str, list[int | str]] = {"x": [1, width], "wide": [1]}
        asked = job(source, shapes=shapes)
        (tmp_path / "task.py").write_text(f"{TASK}\n{task}")
        prepared = prepare(msgspec.structs.replace(asked, task=f"{tmp_path / 'task.py'}:Fitting"))
        assert prepared.path == str(source)
        x = load_outputs(prepared.items, 1)[0]["x"]
        assert x.shape == (1, width)
        (y,) = load_outputs(prepared.reference.path, 1)[0].values()
        assert y == pytest.approx(0.5 * x.sum(axis=1, keepdims=True).repeat(2, axis=1), rel=1e-5)


def test_sparse_weights_stay_as_they_are_where_open_axes_are_fixed(tmp_path: Path) -> None:
    """ONNX Runtime would write them in a form that ONNX itself refuses."""
    prepared = prepare(job(write(tmp_path / "sparse.onnx", models.sparse_weight())))
    assert prepared.inputs[0].shape == (1, 4)
    (y,) = models.run(Path(prepared.path), {"x": np.array([[1, 10, 100, 1000]], np.float32)})
    assert y.tolist() == [[1, 20, 3000]]


def test_a_model_that_onnx_runtime_cannot_run_has_the_reference_of_onnx(tmp_path: Path) -> None:
    prepared = prepare(job(write(tmp_path / "half.onnx", models.bfloat16())))
    assert (
        "compared with those of ONNX's own evaluator: ONNX Runtime cannot run"
        in prepared.reference.note
    )
    assert prepared.reference.parity.named.endswith("itself in ONNX's own evaluator")
    outputs = load_outputs(prepared.reference.path, 8)
    assert len(outputs) == 8
    assert outputs[0]["y"].dtype == np.float32
    assert not prepared.reference.constant
    assert prepared.inputs[0].shape == (1, 8)
    assert prepared.reference.parity.named.endswith("itself in ONNX's own evaluator")


def test_a_model_that_nobody_can_answer_for_has_no_reference(tmp_path: Path) -> None:
    """Another runtime may still run it: its answers are then unknown, not wrong."""
    model = models.convolution([1, 3, 8, 8])
    model.graph.node[1].op_type, model.graph.node[1].domain = "Another", "elsewhere"
    model.opset_import.add(domain="elsewhere", version=1)
    prepared = prepare(job(write(tmp_path / "model.onnx", model)))
    assert prepared.reference.path == ""
    assert "no reference: ONNX Runtime cannot run the model" in prepared.reference.note


def test_want_of_memory_is_no_word_on_what_onnx_runtime_can_run(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX's own evaluator would want as much, and be slow about it."""

    def unoptimised(*_: object) -> None:
        raise RuntimeError("Failed to allocate memory for requested buffer of size 17179869184")

    monkeypatch.setattr("edgebench.preparation.parity_tolerance.unoptimised", unoptimised)
    with pytest.raises(EdgebenchError, match="Failed to allocate memory") as caught:
        prepare(job(source))
    assert tells_of_no_memory(caught.value)


def test_a_graph_that_nothing_could_run_is_damage_and_not_unsupported(tmp_path: Path) -> None:
    model = models.convolution([1, 3, 8, 8])
    model.graph.node[1].input[0] = "nowhere"
    with pytest.raises(EdgebenchError, match=r"is damaged: .*nowhere") as caught:
        prepare(job(write(tmp_path / "model.onnx", model)))
    assert not isinstance(caught.value, UnsupportedError)


def test_weights_above_the_limit_of_one_message_get_fixed_shapes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {"w": np.linspace(-1, 1, 3200).reshape(8, 400)}
    product = models.model(
        [("MatMul", ["x", "w"], "y", {})], {"x": ["n", 8]}, {"y": ["n", 400]}, weights
    )
    source = write(tmp_path / "source.onnx", product)
    monkeypatch.setattr(onnx_file, "_INLINE_BYTES", 5000)
    prepared = prepare(job(source, batch=2))
    assert Path(f"{prepared.path}.data").is_file()
    feeds = {"x": np.ones((2, 8), np.float32)}
    (got,), (want,) = models.run(Path(prepared.path), feeds), models.run(source, feeds)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    quantized = prepare(job(source, precision="int8-dynamic"))
    (rough,) = models.run(Path(quantized.path), {"x": np.ones((1, 8), np.float32)})
    np.testing.assert_allclose(rough, want[:1], atol=0.1)


def test_inputs_beyond_reason_are_refused_before_they_are_made(tmp_path: Path) -> None:
    source = write(tmp_path / "model.onnx", models.convolution([1, 3, 2**20, 2**20]))
    with pytest.raises(UnsupportedError, match="one item of the model's inputs has 3298534883328"):
        prepare(job(source))


# --- the process --------------------------------------------------------------------------------


def test_a_damaged_graph_is_failed_and_not_unsupported(tmp_path: Path) -> None:
    model = models.convolution([1, 3, 8, 8])
    model.graph.node[0].input[0] = "nowhere"
    with pytest.raises(EdgebenchError, match="Invalid model") as caught:
        prepare(job(write(tmp_path / "model.onnx", model)))
    assert not isinstance(caught.value, UnsupportedError)


def start(request: PrepareJob) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "edgebench.preparation.prepare", str(os.getpid()), "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(request))
    process.stdin.close()
    process.stdin = None
    return process


def test_two_processes_at_once_agree(source: Path) -> None:
    processes = [start(job(source, precision="int8-static")) for _ in range(2)]
    answers = []
    for process in processes:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        answers.append(decode_answer(out.splitlines()[-1]))
    assert isinstance(answers[0], PreparedModel)
    assert answers[0] == answers[1]
    assert sha256_of(answers[0].path) == answers[0].sha256


def test_a_failure_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    process = start(job(broken))
    out, err = process.communicate(timeout=120)
    answer = decode_answer(out.splitlines()[-1])
    assert process.returncode == 1
    assert isinstance(answer, PrepareFailure)
    assert (answer.kind, "cannot be read as an ONNX model" in answer.error) == ("failed", True)
    assert b"Traceback" not in err


# --- the cache ----------------------------------------------------------------------------------


def write_entry(text: str) -> Any:
    def make(folder: Path) -> Made:
        (folder / "file").write_text(text)
        return Made(facts={"text": text})

    return make


def test_the_first_to_finish_an_entry_wins(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    both = threading.Barrier(2)
    facts: list[Any] = []

    def make(folder: Path) -> Made:
        both.wait(timeout=10)  # both are making the entry now
        return Made(facts={"by": threading.get_ident()})

    threads = [
        threading.Thread(target=lambda: facts.append(cache.get({"a": 1}, make)[1])) for _ in "12"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert facts[0] == facts[1]


def test_a_failed_maker_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> Made:
        (folder / "file").write_text("half")
        raise EdgebenchError("no")

    with pytest.raises(EdgebenchError, match="no"):
        Cache(tmp_path).get({"a": 1}, fail)
    assert list(tmp_path.iterdir()) == []
    assert Cache(tmp_path).get({"a": 1}, write_entry("whole"))[1] == {"text": "whole"}


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    def fill(folder: Path) -> Made:
        raise OSError(28, os.strerror(28))

    with pytest.raises(AssetError, match="No space left") as caught:
        Cache(tmp_path).get({"a": 1}, fill)
    assert "EDGEBENCH_CACHE" in caught.value.fix


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_partial_entries_of_killed_processes_are_removed(tmp_path: Path, dead_pid: int) -> None:
    dead, alive = tmp_path / f".partial-{dead_pid}-00", tmp_path / f".partial-{os.getppid()}-00"
    dead.mkdir()
    alive.mkdir()
    Cache(tmp_path).get({"a": 1}, write_entry("whole"))
    assert not dead.exists()
    assert alive.exists()


def test_weights_of_another_network_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(efficientnet_lite0, "load_state_dict", lambda _: {"fc": np.zeros(3)})
    with pytest.raises(EdgebenchError, match=r"not EfficientNet-Lite0's weights: _bn0\.weight is"):
        efficientnet_lite0.build(tmp_path / "other.pth", tmp_path / "made.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("method", "complaint"),
    [
        ("def __len__(self): return 0", "the task Images has no items"),
        (
            "def preprocess(self, raw): return {'image': np.zeros((3, 8, 8))}",
            r"gives image float64\[3, 8, 8\]; the model takes image float32\[1, 3, 8, 8\]",
        ),
        ("def preprocess(self, raw): return {'x': np.zeros((1, 3, 8, 8))}", "gives x float64"),
    ],
)
def test_a_task_that_does_not_fit_the_model_is_an_error_of_its_own(
    source: Path, method: str, complaint: str
) -> None:
    asked = job(source)
    (source.parent / "task.py").write_text(f"{TASK}\n    {method}\n")
    with pytest.raises(EdgebenchError, match=complaint) as caught:
        prepare(asked)
    assert not isinstance(caught.value, UnsupportedError)


def test_an_error_of_a_task_is_not_the_runtimes(source: Path) -> None:
    asked = job(source)
    (source.parent / "task.py").write_text(f"{TASK}\n    def preprocess(self, raw): return 1 / 0\n")
    line = len(TASK.splitlines()) + 2  # below the task's text, after an empty line
    with pytest.raises(EdgebenchError, match=rf"task\.py:{line}: ZeroDivisionError"):
        prepare(asked)
