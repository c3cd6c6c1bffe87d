"""Definition files: what is right loads, what is wrong is refused at its place."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
import yaml

from edgebench.definitions.workload import Workload
from edgebench.definitions.workload_loader import load_workload, load_workloads
from edgebench.definitions.yaml_reader import SpecErrors
from edgebench.errors import SpecError, UsageError

GOOD = """\
name: demo
version: 2
title: A demonstration
task: voice_activity
model:
  uri: file:models/demo.onnx
  sha256: "{sha}"
  license: MIT
  shapes:
    input: [batch, 3, 8, 8]
quality:
  metric: auc
  floor: 0.9
  also:
    f1: {{}}
matrix:
  axes:
    precision: [fp32, int8-dynamic, int8-static]
    threads: [1, 2]
    batch: [1]
  include:
    - {{precision: fp32, threads: 1, batch: 8}}
  exclude:
    - {{precision: int8-static, threads: 2}}
suites:
  quick:
    variants:
      - {{precision: fp32}}
requires: [tokenizers]
findings: |
  int8 is slower here.
""".format(sha="0" * 64)


def write(folder: Path, text: str, name: str = "demo.yaml") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def load(folder: Path, text: str) -> Workload:
    return load_workload(write(folder, text))


def refused(folder: Path, old: str, new: str, *, count: int = 1) -> SpecError:
    """The error for the good file with one thing changed."""
    assert GOOD.count(old) >= 1, old
    with pytest.raises(SpecError) as caught:
        load(folder, GOOD.replace(old, new, count))
    return caught.value


def test_a_definition_becomes_frozen_types(tmp_path: Path) -> None:
    workload = load(tmp_path, GOOD)
    assert workload.name == "demo"
    assert workload.version == 2
    assert workload.matrix.axes["threads"] == [1, 2]
    assert workload.model.shapes == {"input": ["batch", 3, 8, 8]}
    assert workload.quality.also["f1"].floor is None
    assert workload.suites["quick"].variants == [{"precision": "fp32"}]
    with pytest.raises(AttributeError):
        workload.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("companions", "message"),
    [
        ("[cpu:0]", "'cpu:0' is no load"),
        ("[memory:fast]", "'memory:fast' is no load"),
        ("[demo]", "demo cannot run beside itself"),
    ],
)
def test_companions_that_cannot_be_are_told_with_their_place(
    tmp_path: Path, companions: str, message: str
) -> None:
    with pytest.raises((SpecError, SpecErrors), match=message):
        load(tmp_path, GOOD + f"companions: {companions}\n")
    made = load(tmp_path, GOOD + "companions: ['cpu:2', voice-activity]\n")
    assert made.companions == ["cpu:2", "voice-activity"]


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        ("{hop_s: 0}", r"stream\.hop_s: expected float >= 1e-06, got int 0"),
        ("{hop_s: 1.0e-12}", r"stream\.hop_s: expected float >= 1e-06, got float 1e-12"),
        ("{hop_s: 0.1, warm_up_hops: -1}", r"stream\.warm_up_hops: expected int >= 0, got int -1"),
        ("{hop_s: 0.1, state: [past]}", r"stream\.state: expected mapping, got a list"),
        ("{state: {past: now}}", "stream: the key 'hop_s' is missing"),
        ("{hop_s: 0.1, hops: 3}", r"stream\.hops: unknown key"),
        ("[0.1]", "stream: expected a mapping, got a list"),
    ],
)
def test_a_stream_that_cannot_be_is_told_with_the_place_within_it(
    tmp_path: Path, stream: str, message: str
) -> None:
    with pytest.raises((SpecError, SpecErrors), match=message):
        load(tmp_path, GOOD + f"stream: {stream}\n")


def test_a_relative_file_is_of_the_definitions_folder(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD).model.uri == f"file:{tmp_path.resolve()}/models/demo.onnx"


@pytest.mark.parametrize("uri", ["file:/data/demo.onnx", "file:///data/demo.onnx"])
def test_an_absolute_file_stays(tmp_path: Path, uri: str) -> None:
    text = GOOD.replace("file:models/demo.onnx", uri)
    assert load(tmp_path, text).model.uri == "file:/data/demo.onnx"


@pytest.mark.parametrize(
    ("old", "new", "place", "key", "words"),
    [
        # names and types
        ("title:", "titel:", (1, 1), "", "the key 'title' is missing"),
        ("license: MIT", "licence: MIT", (6, 3), "model", "the key 'license' is missing"),
        ("version: 2", "version: two", (2, 10), "version", "expected int, got str 'two'"),
        ("version: 2", "version: 0", (2, 10), "version", "expected int >= 1, got int 0"),
        ("version: 2", "version: true", (2, 10), "version", "got bool True"),
        ("[1, 2]", "1", (19, 14), "matrix.axes.threads", "expected list, got int 1"),
        ("[1, 2]", "[1, [2]]", (19, 18), "matrix.axes.threads[1]", "got a list"),
        ("floor: 0.9", "floor: high", (13, 10), "quality.floor", "got str 'high'"),
        ("file:models", "ftp:models", (6, 8), "model.uri", "matching regex"),
        ("0" * 64, "12ab", (7, 11), "model.sha256", "matching regex"),
        ("voice_activity", "voice_activty", (4, 7), "task", "did you mean 'voice_activity'?"),
        ("[batch, 3", "[batches, 3", (10, 13), "model.shapes.input[0]", "did you mean 'batch'?"),
        ("findings: |\n", "scenarios: [ofline]\nfindings: |\n", (30, 13), "scenarios[0]",
         "did you mean 'offline'?"),
        # values that make no sense
        ("name: demo", "name: other", (1, 7), "name", "the file is demo.yaml"),
        ("  floor: 0.9\n", "", (12, 3), "quality", "needs a limit"),
        ("floor: 0.9", "floor: 0.9\n  ceiling: 1", (12, 3), "quality", "both `floor` and"),
        ("f1: {}", "f1: {floor: 1, ceiling: 1}", (15, 9), "quality.also.f1", "both `floor` and"),
        ("f1: {}", "auc: {}", (15, 5), "quality.also.auc", "judges already"),
        ("[batch, 3, 8", "[batch, 0, 8", (10, 20), "model.shapes.input[1]", "must be 1 or more"),
        ("[batch, 3, 8", "[batch, -1, 8", (10, 20), "model.shapes.input[1]", "must be 1 or more"),
        ("[batch, 3, 8", "[batch, batch", (10, 12), "model.shapes.input", "more than one axis"),
        ("threads: [1, 2]", "threads: []", (19, 14), "matrix.axes.threads", "is empty"),
        ("threads: [1, 2]", "threads: [1, 2, 1]", (19, 21), "matrix.axes.threads[2]", "twice"),
        ("threads: [1, 2]", "threads: [1, 2, 0]", (19, 21), "matrix.axes.threads[2]", "1 or more"),
        ("batch: [1]", "batch: [1.5]", (20, 13), "matrix.axes.batch[0]", "1 or more"),
        ("threads: 2}", "thread: 2}", (24, 32), "matrix.exclude[0].thread", "mean 'threads'?"),
        ("threads: 2}", "threads: 3}", (24, 7), "matrix.exclude[0]", "no variant has threads=3"),
        ("batch: 8}", "batch: 0}", (22, 44), "matrix.include[0].batch", "1 or more"),
        ("- {precision: fp32}", "- {precision: fp16}", (28, 9), "suites.quick.variants[0]",
         "no variant has precision=fp16; known: fp32"),
        ("- {precision: fp32}", "- {precision: int8-static, threads: 2}", (28, 9),
         "suites.quick.variants[0]", "no variant has all of these"),
        ("- {precision: fp32}", "- {}", (28, 9), "suites.quick.variants[0]", "names no axis"),
        ("[tokenizers]", "['tokenizers>=1']", (29, 12), "requires[0]", "not the name of a dist"),
        ("license: MIT", "license: ' '", (8, 12), "model.license", "is empty"),
        ("license: MIT", "license: MIT\n  builder: nobody", (9, 12), "model.builder", "no builder"),
        ("file:models/demo.onnx", "'file:'", (6, 8), "model.uri", "names no file"),
        ("file:models/demo.onnx", "file://host/x", (6, 8), "model.uri", "names no file"),
        # what YAML itself makes of it
        ("version: 2", "version: 010", (2, 10), "version", "YAML 1.1 reads 010 as an octal"),
        ("floor: 0.9", "floor: 9e-1", (13, 10), "quality.floor", "YAML 1.1 reads 9e-1 as text"),
        ("floor: 0.9", "floor: .nan", (13, 10), "quality.floor", "not a finite number"),
        ("title: A demonstration", "title: no", (3, 8), "title", "the boolean false"),
        ("title: A demonstration", "title: 2024-01-02", (3, 8), "title", "as a date"),
        ("version: 2", "version: 1:30", (2, 10), "version", "YAML 1.1 reads 1:30"),
        ("version: 2", "version: 1_0", (2, 10), "version", "YAML 1.1 reads 1_0"),
        ("title: A demonstration", "title: !!python/name:os.system x", (3, 8), "title", "the tag"),
        ("title: A demonstration", "title: !secret x", (3, 8), "title", "the tag !secret"),
        ("version: 2", "version: 2\nversion: 3", (3, 1), "version", "the first is on line 2"),
        ("version: 2", "on: 2\nversion: 2", (2, 1), "", "the key 'on' is read as !!bool"),
        ("version: 2", "version: [2", (3, 6), "", "not YAML"),
        ("version: 2", "version:\t- 2", (2, 10), "", "not YAML"),
    ],
)  # fmt: skip
def test_errors_in_a_workload_name_line_and_column(
    tmp_path: Path, old: str, new: str, place: tuple[int, int], key: str, words: str
) -> None:
    error = refused(tmp_path, old, new)
    assert (error.line, error.column) == place, str(error)
    assert error.key == key
    assert words in str(error)
    assert str(error).startswith(f"{tmp_path / 'demo.yaml'}:{place[0]}:{place[1]}: ")


def test_an_unknown_key_is_named_with_the_one_that_was_meant(tmp_path: Path) -> None:
    error = refused(tmp_path, "requires:", "require:")
    assert (error.line, error.column, error.key) == (29, 1, "require")
    assert "unknown key; did you mean 'requires'?" in str(error)


def test_all_mistakes_come_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = GOOD.replace("requires:", "require:").replace("version: 2", "version: x")
    with pytest.raises(SpecErrors) as caught:
        load(tmp_path, text)
    assert [error.line for error in caught.value.errors] == [2, 29]
    assert str(caught.value).count(str(tmp_path)) == 2


@pytest.mark.parametrize(
    ("written", "fix"),
    [
        ("1e-3", "0.001 for a number"),
        ("1e-05", "1.0e-05 for a number"),
        ("1_0.5", "10.5 for a number"),
        ("010", "10 or 0x8 for a number"),
        ("yes", "true for a boolean"),
        ("Off", "false for a boolean"),
    ],
)
def test_a_value_of_two_readings_says_how_to_write_it(
    tmp_path: Path, written: str, fix: str
) -> None:
    error = refused(tmp_path, "floor: 0.9", f"floor: {written}")
    assert fix in error.fix
    assert f'"{written}" for text' in error.fix


def test_quotes_settle_what_is_text(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD.replace("A demonstration", '"1e-3"')).title == "1e-3"
    assert load(tmp_path, GOOD.replace("A demonstration", "'no'")).title == "no"


def test_without_libyaml_the_same_is_read_and_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_c = load(tmp_path, GOOD)
    monkeypatch.setattr("edgebench.definitions.yaml_reader._LOADER", yaml.SafeLoader)
    assert load(tmp_path, GOOD) == with_c
    error = refused(tmp_path, "floor: 0.9", "floor: 9e-1")
    assert (error.line, error.column, error.key) == (13, 10, "quality.floor")
    with pytest.raises(SpecError, match="nested too deep"):
        load(tmp_path, "[" * 5000 + "]" * 5000)


def test_aliases_are_followed_and_loops_refused(tmp_path: Path) -> None:
    both = GOOD.replace("    f1: {}", "    f1: &limit {floor: 0.5}\n    f2: *limit")
    assert load(tmp_path, both).quality.also["f2"].floor == 0.5
    error = refused(tmp_path, "requires: [tokenizers]", "requires: &loop [*loop]")
    assert "an alias to something that contains it" in str(error)


def test_aliases_of_aliases_do_not_fill_the_memory(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(SpecError, match="more than"):
        load(tmp_path, "\n".join(lines))


@pytest.mark.parametrize(
    ("content", "place", "words"),
    [
        (b"", (1, 1), "the file is empty"),
        (b"name: demo\ntitle: \xff\n", (2, 8), "not UTF-8"),
        (b"name: demo\ntitle: \x07\n", (2, 1), "not YAML"),
        (b"- 1\n", (1, 1), "expected a mapping, got a list"),
        (b"a: 1\n---\nb: 1\n", (2, 1), "not YAML"),
        (b"[" * 5000 + b"]" * 5000, (1, 1), "nested too deep"),
    ],
)
def test_a_file_that_is_no_definition(
    tmp_path: Path, content: bytes, place: tuple[int, int], words: str
) -> None:
    path = tmp_path / "demo.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=words) as caught:
        load_workload(path)
    if words != "nested too deep":  # where the limit lies is PyYAML's affair
        assert (caught.value.line, caught.value.column) == place


def test_a_workload_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_workload(tmp_path / "absent.yaml")


def test_shipped_workloads_and_a_users_own(tmp_path: Path) -> None:
    shipped = load_workloads()
    assert list(shipped) == sorted(shipped)
    write(tmp_path, GOOD)
    write(tmp_path, "this is not read", "notes.txt")
    assert set(load_workloads([tmp_path])) == {*shipped, "demo"}


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a", GOOD)
    write(tmp_path / "b", GOOD)
    with pytest.raises(SpecError, match="taken by") as caught:
        load_workloads([tmp_path / "a", tmp_path / "b"])
    assert caught.value.file == str(tmp_path / "b" / "demo.yaml")


def test_a_missing_folder_of_workloads_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a folder"):
        load_workloads([tmp_path / "absent"])


def test_the_order_of_keys_does_not_matter(tmp_path: Path) -> None:
    reordered = "".join(reversed(_blocks(GOOD)))
    assert load(tmp_path / "a", GOOD).matrix == load(tmp_path / "b", reordered).matrix


def _blocks(text: str) -> list[str]:
    """The top-level entries of a mapping."""
    blocks: list[str] = []
    for line in textwrap.dedent(text).splitlines(keepends=True):
        if line[0] == " ":
            blocks[-1] += line
        else:
            blocks.append(line)
    return blocks


OWN_TASK = GOOD.replace("task: voice_activity", "task: file:tasks/mine.py:Mine")


def test_a_folder_of_ones_own_may_name_its_task_by_a_file_beside_it(tmp_path: Path) -> None:
    write(tmp_path, OWN_TASK)
    code = write(tmp_path / "tasks", "raise SystemExit('not to be run here')", "mine.py")
    assert load_workloads([tmp_path])["demo"].task == f"{code.resolve()}:Mine"


def test_a_task_by_file_is_refused_elsewhere(tmp_path: Path) -> None:
    write(tmp_path / "tasks", "", "mine.py")
    with pytest.raises(SpecError, match="only a workload in a folder of your own") as caught:
        load(tmp_path, OWN_TASK)
    assert (caught.value.line, caught.value.key) == (4, "task")
    assert "--workloads" in caught.value.fix


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("file:absent.py:Mine", "there is no file .*absent.py"),
        ("file:mine.txt:Mine", "task"),
        ("file:mine.py", "task"),
        ("mine.py:Mine", "task"),
    ],
)
def test_a_task_by_file_that_makes_no_sense(tmp_path: Path, task: str, words: str) -> None:
    write(tmp_path, GOOD.replace("task: voice_activity", f"task: {task}"))
    with pytest.raises(SpecError, match=words):
        load_workloads([tmp_path])


def test_an_axis_that_no_backend_knows_is_an_error_at_its_place(tmp_path: Path) -> None:
    text = GOOD.replace("    batch: [1]\n", "    batch: [1]\n    graph_optimzation: [all]\n")
    path = write(tmp_path, text)
    with pytest.raises(SpecError) as caught:
        load_workloads([tmp_path], lambda: {"graph_optimization", "precision"})
    [error] = caught.value.errors if isinstance(caught.value, SpecErrors) else [caught.value]
    assert (error.file, error.line, error.column) == (str(path), 21, 5)
    assert error.key == "matrix.axes.graph_optimzation"
    assert "no backend has an option 'graph_optimzation'; did you mean 'graph_optimization'?" in (
        str(error)
    )
    assert "demo" in load_workloads([tmp_path]), "who knows no backends cannot tell"
    assert "demo" in load_workloads([tmp_path], lambda: {"graph_optimzation"})


def test_no_backend_is_asked_for_axes_that_all_have(tmp_path: Path) -> None:
    def asked() -> set[str]:
        raise AssertionError("every start would pay for it")

    write(tmp_path, GOOD)
    assert "demo" in load_workload(tmp_path / "demo.yaml", asked).name
