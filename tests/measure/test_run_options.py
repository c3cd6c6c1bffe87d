"""The options of `edgebench run`: what is refused before anything is looked at."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from edgebench.ab_test.pair_record import Side
from edgebench.ab_test.pairing import Request, cell_pair
from edgebench.ab_test.variant_spec import parse_side
from edgebench.api.run_options import Options, resolved, workloads_of
from edgebench.cli import ab, cli, run
from edgebench.errors import UsageError
from edgebench.planning.cells import expanded, opening
from edgebench.planning.own_models import workload_for_model


def options(*words: str) -> Options:
    return resolved(run.command.make_context("run", list(words)).params)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--budget", "0"], "--budget 0"),
        (["--budget", ""], "'' is not a duration"),  # as of a variable that is not set
        (["--memory-limit", ""], "'' is not a size"),
        (["--estimate", ""], "not an estimate"),
    ],
)
def test_a_value_that_means_nothing_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        options(*words)


def test_a_budget_of_memory_is_its_axis() -> None:
    budgets = ["--memory-budget", "256MiB, 512MiB", "--memory-budget", "1GiB"]
    typed = options("file-typing", "--set", "threads=1", *budgets)
    axis = options("file-typing", "--set", "threads=1", "--set", "memory_budget=256MiB,512MiB,1GiB")
    assert typed.sets == axis.sets


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--memory-budget", "lots"], "'lots' is not a size"),
        (["--memory-budget", "256MiB,"], "'' is not a size"),
        (["--memory-budget", "1MiB"], "--memory-budget 1MiB: not a size of at least 16 MiB"),
        (
            ["--memory-budget", "1GiB", "--set", "memory_budget=2GiB"],
            "--memory-budget and --set memory_budget are the same axis",
        ),
    ],
)
def test_a_budget_of_memory_that_means_nothing_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        options("file-typing", *words)


def test_a_folder_of_workloads_goes_with_no_model(tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    model.touch()
    with pytest.raises(UsageError, match="cannot be combined with workloads"):
        options("--model", str(model), "--workloads", str(tmp_path))


@pytest.mark.parametrize("seed", ["-1", str(2**31)])
def test_a_seed_that_generators_do_not_take_is_refused(seed: str) -> None:
    with pytest.raises(click.BadParameter, match="is not in the range"):
        options("--seed", seed)
    with pytest.raises(click.BadParameter, match="is not in the range"):
        ab.command.make_context("ab", ["--base", "a", "--head", "b", "--seed", seed])


def test_a_workload_outside_the_suite_is_not_left_out_in_silence() -> None:
    with pytest.raises(UsageError, match="'quick' has none of sentence-embedding"):
        workloads_of(options("file-typing", "sentence-embedding", "--suite", "quick"))


def test_a_workload_that_is_named_twice_runs_once() -> None:
    [one] = workloads_of(options("file-typing", "file-typing"))
    assert one.name == "file-typing"
    [one] = workloads_of(options("file-typing", "file-typing", "--suite", "quick"))
    assert one.name == "file-typing"


def test_a_model_keeps_the_name_of_its_link(tmp_path: Path) -> None:
    """It tells the format, and the weights lie beside it: a cache of downloads keeps the content elsewhere."""
    (tmp_path / "0123abcd").touch()
    link = tmp_path / "model.onnx"
    link.symlink_to(tmp_path / "0123abcd")
    assert options("--model", str(link)).model == str(link)


@pytest.mark.parametrize(
    "words",
    [("--range", "x=0,1"), ("--inputs", "{file}"), ("--parity", "0.1"), ("--task", "t.py:T")],
)
def test_options_of_model_files_need_a_model_file(words: tuple[str, str], tmp_path: Path) -> None:
    file = tmp_path / "m.npz"
    file.touch()
    option, value = words[0], words[1].format(file=file)
    with pytest.raises(UsageError, match=f"{option}.* apply to --model only"):
        options("file-typing", option, value)
    options("--model", str(file), option, value)


def test_a_limit_of_ones_own_is_a_share_below_1() -> None:
    model = ["--model", __file__]
    assert options(*model, "--parity", "0.05").settings.parity == 0.05
    assert options(*model, "--parity", "5%").settings.parity == 0.05
    for nonsense in ("0", "1", "2", "x", "nan"):
        with pytest.raises(UsageError):
            options(*model, "--parity", nonsense)


def test_ranges_and_inputs_reach_the_workload(tmp_path: Path) -> None:
    model, own = tmp_path / "m.onnx", tmp_path / "in.npz"
    model.write_bytes(b"model")
    np.savez(own, k=np.ones(1))
    [ranged] = workloads_of(options("--model", str(model), "--range", "k=1|2"))
    assert ranged.options == {"ranges": {"k": {"choices": [1, 2]}}}
    [fed] = workloads_of(options("--model", str(model), "--inputs", str(own)))
    assert fed.data["inputs"].uri == f"file:{own}"
    with pytest.raises(UsageError, match="names no input"):
        workloads_of(options("--model", str(model), "--range", "1,2"))


@pytest.mark.parametrize(
    ("name", "backends"),
    [("m.tflite", ["litert"]), ("m.onnx", ["ort"]), ("m.blob", ["openvino"]), ("m.xyz", ["ort"])],
)
def test_an_own_model_without_a_backend_is_measured_by_what_opens_it(
    name: str, backends: list[str], tmp_path: Path
) -> None:
    for package in ("ai_edge_litert", "openvino"):
        pytest.importorskip(package)
    (tmp_path / name).write_bytes(b"content")
    typed = options("--model", str(tmp_path / name))
    assert typed.backends == []
    assert opening(workloads_of(typed)[0]) == backends
    assert options("--model", str(tmp_path / name), "--backend", "ort").backends == ["ort"]
    assert options("file-typing").backends == ["ort"]


def test_all_backends_are_those_that_are_installed_and_open_the_model(tmp_path: Path) -> None:
    for package in ("ai_edge_litert", "openvino"):
        pytest.importorskip(package)
    (tmp_path / "m.tflite").write_bytes(b"content")
    (tmp_path / "m.xyz").write_bytes(b"content")
    (tmp_path / "m.onnx").write_bytes(b"content")
    typed = options("--model", str(tmp_path / "m.onnx"), "--backend", "ort,all")
    found = expanded(typed.backends, workloads_of(typed))
    assert found[0] == "ort"
    assert found.count("ort") == 1
    assert {"litert", "openvino"} < set(found)
    assert not {"null", "llama_cpp", "ort_genai", "trt"} & set(
        found
    )  # no model of theirs, or no device
    flat = options("--model", str(tmp_path / "m.tflite"), "--backend", "all")
    assert expanded(flat.backends, workloads_of(flat)) == ["litert"]
    assert expanded(["ort"], workloads_of(flat)) == ["ort"]
    odd = workloads_of(options("--model", str(tmp_path / "m.xyz")))
    with pytest.raises(UsageError, match="nothing that is installed opens the model"):
        expanded(["all"], odd)
    shipped = options("file-typing", "--backend", "all")
    assert {"ort", "litert"} < set(expanded(shipped.backends, workloads_of(shipped)))


def test_all_backends_by_the_command_line(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    (tmp_path / "m.tflite").write_bytes(b"no model")
    words = ["run", "--model", str(tmp_path / "m.tflite"), "--backend", "all", "--no-save"]
    done = CliRunner().invoke(cli, [*words, "--format", "csv"])
    assert ",litert," in done.stdout, done.stderr


def test_a_run_says_which_backend_it_took(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    (tmp_path / "m.tflite").write_bytes(b"no model")
    words = ["run", "--model", str(tmp_path / "m.tflite"), "--no-save", "--format", "csv"]
    done = CliRunner().invoke(cli, words)
    assert "litert opens m.tflite: measured with it, as no --backend is named" in done.stderr
    assert ",litert," in done.stdout


def test_each_side_of_a_comparison_runs_on_what_opens_it(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    files: dict[Side, Path] = {"base": tmp_path / "m.onnx", "head": tmp_path / "m.tflite"}
    for path in files.values():
        path.write_bytes(b"content")
    sides = {side: parse_side([str(path)]) for side, path in files.items()}
    workloads = {side: workload_for_model(path, {}) for side, path in files.items()}
    asked = Request(workloads=[], base=sides["base"], head=sides["head"])
    made = cell_pair(asked, workloads, {})
    assert (made.base.backend, made.head.backend) == ("ort", "litert")
    assert made.head.unsupported is None
