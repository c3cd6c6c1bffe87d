"""Every refusal says what to do."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from edgebench.ab_test.runtime_environments import requirements
from edgebench.backend import Capabilities, ModelFile, Ready, TensorInfo, Unavailable
from edgebench.backends.ort import BACKEND as ORT
from edgebench.definitions.workload_loader import load_workloads
from edgebench.definitions.yaml_reader import parse_yaml
from edgebench.errors import (
    EdgebenchError,
    SpecError,
    StoreError,
    UnsupportedError,
    UsageError,
    mend_disk,
)
from edgebench.files.atomic_write import whole_file
from edgebench.models.onnx_file import save_model
from edgebench.planning.cells import Cell, plan
from edgebench.preparation.preparation_messages import as_users_file
from edgebench.task import TaskContext
from edgebench.tasks import load_task
from edgebench.tasks.seeded_inputs import SeededInputs
from edgebench.testing.trees import write_tree
from edgebench.text.did_you_mean import did_you_mean


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("budget: 60\n\thead: b\n", "2:1"),
        ("cells:\n\t- workload: x\n", "2:1"),
        ("cells:\n  - workload: x\n  \tset: {}\n", "3"),
        ("a: {\n\tb: 1}}\n", ""),
    ],
)
def test_a_tab_in_yaml_is_named_with_its_fix(text: str, place: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_yaml(text, "gate.yaml")
    if place:
        assert f"gate.yaml:{place}" in str(caught.value)
        assert caught.value.fix == "indent with spaces"


def test_a_sha256_that_is_none_says_how_to_get_it(tmp_path: Path) -> None:
    source = (Path(__file__).parents[2] / "workloads" / "file-typing.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(re.sub("sha256: .*", "sha256: abc", source))
    with pytest.raises(SpecError, match="sha256sum FILE"):
        load_workloads([tmp_path])


def test_a_short_name_finds_the_long_ones() -> None:
    known = ("fp32", "int8-dynamic", "int8-static")
    assert did_you_mean("int8", known) == "; did you mean 'int8-dynamic' or 'int8-static'?"
    assert did_you_mean("fp23", known) == "; did you mean 'fp32'?"
    assert did_you_mean("x", known).startswith("; known: ")


def refused(workload: str, backend: str) -> Cell:
    cells = plan([load_workloads([])[workload]], backends=[backend])
    return next(cell for cell in cells if cell.unsupported)


def test_a_backend_that_generates_no_text_names_those_that_do() -> None:
    reason = refused("smollm2-chat", "null").unsupported
    assert reason is not None
    assert "generates no text" in reason.message
    assert "llama_cpp" in reason.fix
    assert "null" not in reason.fix


def test_a_format_that_can_not_be_measured_names_what_can_be_given() -> None:
    can = Capabilities(formats=("onnx",), precisions=("as-is",), options=())
    with pytest.raises(UnsupportedError) as caught:
        can.check(ModelFile(Path("m.tflite"), "tflite", "0"), {})
    assert "onnx" in caught.value.fix


def test_an_input_without_random_values_says_what_to_give() -> None:
    info = TensorInfo("text", "object", (1, 4))
    task = SeededInputs(TaskContext(data={}, options={}, model=Path(), inputs=(info,), seed=0))
    with pytest.raises(UnsupportedError) as caught:
        task.preprocess(task.raw(0))
    assert "--inputs FILE.npz" in caught.value.fix


def test_a_task_of_text_says_where_it_belongs() -> None:
    context = TaskContext(data={}, options={}, model=Path(), inputs=(), seed=0)
    with pytest.raises(UsageError, match="generates text") as caught:
        load_task("generate", context)
    assert "leave --task out" in caught.value.fix


@pytest.mark.parametrize(
    ("number", "words"),
    [(28, "free some space"), (30, "make it writable"), (13, "make it writable"), (37, "no locks")],
)
def test_disk_errors_have_a_fix_for_their_cause(number: int, words: str) -> None:
    fix = mend_disk(OSError(number, "x"), "give another --out")
    assert words in fix
    assert "give another --out" in fix


def test_a_file_that_cannot_be_written_has_a_fix(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught, whole_file(tmp_path / "no" / "out") as partial:
        partial.write_text("")
    assert caught.value.fix
    assert ".partial" not in str(caught.value)


def distributions(folder: Path, *names: str, module: str = "onnxruntime") -> None:
    for name in names:
        stem, _, version = name.partition("==")
        info = f"{stem.replace('-', '_')}-{version}.dist-info"
        top = module if not stem.endswith("qnn") else "onnxruntime_qnn"
        metadata = f"Metadata-Version: 2.1\nName: {stem}\nVersion: {version}\n"
        write_tree(folder, {f"{info}/METADATA": metadata, f"{info}/top_level.txt": top})


def test_a_provider_beside_onnxruntime_owns_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributions(tmp_path, "onnxruntime==1.32.0", "onnxruntime-qnn==2.7.0")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert ORT().availability() == Ready("1.32.0")


def test_two_owners_of_onnxruntime_are_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributions(tmp_path, "onnxruntime==1.32.0", "onnxruntime-gpu==1.32.0")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    found = ORT().availability()
    assert isinstance(found, Unavailable)
    assert "both own the module" in found.reason
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in found.fix


def test_a_provider_is_installed_beside_our_onnxruntime() -> None:
    def ours(pin: str) -> bool:
        return any(line.startswith("onnxruntime==") for line in requirements([pin]))

    assert ours("onnxruntime-qnn==2.7.0")
    assert not ours("onnxruntime-qnn==1.22.0")
    assert not ours("onnxruntime-gpu==1.32.0")


def test_an_error_about_a_file_of_ours_names_the_users() -> None:
    passing = "Load model from /tmp/edgebench-o7gvnf1h/fixed.onnx failed: no such operator"
    assert as_users_file(passing, "/home/me/net.onnx") == (
        "Load model from /home/me/net.onnx failed: no such operator"
    )
    unfinished = "/c/models/ab/.partial-12-00ff/model.onnx: truncated"
    assert as_users_file(unfinished, "net.onnx") == "net.onnx: truncated"
    cached = "ONNX Runtime refuses model.onnx: Load model from /c/models/ab/model.onnx failed"
    assert as_users_file(cached, "/me/net.onnx", "/c/models/ab/model.onnx") == (
        "ONNX Runtime refuses net.onnx: Load model from /me/net.onnx failed"
    )
    built = "ONNX Runtime refuses model.onnx"
    assert as_users_file(built, "/me/weights.safetensors", "/c/models/ab/model.onnx") == built


def test_a_copy_that_the_checker_refuses_is_named_as_the_users_file(tmp_path: Path) -> None:
    """An attribute of version 2 of an operator in a file of version 1."""
    from onnx import TensorProto, helper

    node = helper.make_node(
        "LabelEncoder", ["x"], ["y"], domain="ai.onnx.ml", keys_int64s=[0], values_floats=[1.0]
    )
    graph = helper.make_graph(
        [node],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.INT64, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    copy = tmp_path / "edgebench-o7gvnf1h" / "fixed.onnx"
    copy.parent.mkdir()
    with pytest.raises(EdgebenchError, match="keys_int64s") as refused:
        save_model(helper.make_model(graph, opset_imports=sets, ir_version=9), copy)
    told = as_users_file(refused.value.message, "/home/me/labels.onnx")
    assert told.startswith("/home/me/labels.onnx is not a valid ONNX model: ")
    assert "fixed.onnx" not in told
    assert "\n" not in told
    assert "onnx.checker" in refused.value.fix
