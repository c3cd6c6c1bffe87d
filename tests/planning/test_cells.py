"""The plan: which cells there are, which cannot run, and what is an error instead."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebench.backend import (
    Backend,
    Capabilities,
    ModelFile,
    Option,
    Ready,
    Scalar,
    Session,
    Unavailable,
)
from edgebench.definitions.variant_matrix import has, unique, value_key, value_text
from edgebench.definitions.workload import Matrix, Model, Quality, Stream, SuitePart, Workload
from edgebench.errors import UsageError
from edgebench.planning.cells import Cell, Load, plan
from edgebench.planning.own_models import workload_for_model
from edgebench.planning.settings import Shapes, parse_bound, parse_sets, parse_shapes

THREADS = Option("threads", "int", None, "threads", minimum=1)
LEVEL = Option("level", "str", "all", "how much", choices=("none", "all"))


def backend(
    name: str,
    *options: Option,
    found: Ready | Unavailable | None = None,
    precisions: tuple[str, ...] = ("fp32", "int8-dynamic", "as-is"),
    formats: tuple[str, ...] = ("onnx",),
    converts: bool = False,
) -> Backend:
    class Fake(Backend):
        summary = "for a test"
        capabilities = Capabilities(formats=formats, precisions=precisions, options=options)

        def availability(self) -> Ready | Unavailable:
            return found or Ready("1")

        def import_runtime(self) -> str:
            raise AssertionError("the plan imports no runtime")

        def converts(self, model: ModelFile, options: Mapping[str, Scalar]) -> bool:
            return converts

        def open(self, model: ModelFile, options: Mapping[str, Scalar]) -> Session:
            raise AssertionError("the plan opens nothing")

    Fake.name = name
    return Fake()


def loader(*backends: Backend) -> Callable[[str], Backend]:
    return {each.name: each for each in backends}.__getitem__


def workload(name: str = "demo", **changes: Any) -> Workload:
    fields: dict[str, Any] = {
        "name": name,
        "version": 3,
        "title": "",
        "task": "seeded_inputs",
        "model": Model(uri="file:/demo.onnx", sha256="0" * 64, license="MIT"),
        "quality": Quality(metric="accuracy", floor=0.5),
    }
    return Workload(**{**fields, **changes})


def cells(
    work: Workload | Sequence[Workload],
    *backends: Backend,
    **arguments: Any,
) -> list[Cell]:
    used = backends or (backend("fake", THREADS, LEVEL),)
    works = [work] if isinstance(work, Workload) else work
    names = [each.name for each in used]
    return plan(works, names, load_backend=loader(*used), **arguments)


def code(cell: Cell) -> str:
    assert cell.unsupported is not None
    return cell.unsupported.code


# Variants

SCALARS = st.one_of(
    st.booleans(),
    st.integers(-3, 3),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text('aeE1.-_,=/+" {ü', max_size=4),
)
AXES = st.dictionaries(
    st.text("abcxyz", min_size=1, max_size=3),
    st.lists(SCALARS, min_size=1, max_size=3).map(unique),
    max_size=3,
)


@given(AXES)
def test_axes_multiply(axes: dict[str, list[Scalar]]) -> None:
    found = cells(workload(matrix=Matrix(axes=axes)))
    assert len(found) == prod(len(values) for values in axes.values())
    assert len({cell.id for cell in found}) == len(found)
    for cell in found:
        assert set(cell.variant) == {*axes, "precision", "batch"}


@given(AXES, st.randoms(use_true_random=False))
def test_the_order_of_keys_changes_neither_ids_nor_their_order(
    axes: dict[str, list[Scalar]], random: Any
) -> None:
    keys = list(axes)
    random.shuffle(keys)
    shuffled = {key: axes[key] for key in keys}
    one = cells(workload(matrix=Matrix(axes=axes)))
    other = cells(workload(matrix=Matrix(axes=shuffled)))
    assert [cell.id for cell in one] == [cell.id for cell in other]


@given(AXES.filter(bool), st.data())
def test_every_exclude_is_honoured_and_takes_nothing_else(
    axes: dict[str, list[Scalar]], data: st.DataObject
) -> None:
    points = st.fixed_dictionaries(
        {}, optional={axis: st.sampled_from(values) for axis, values in axes.items()}
    ).filter(bool)
    excluded = data.draw(st.lists(points, max_size=3))
    everything = cells(workload(matrix=Matrix(axes=axes)))
    kept = [c.id for c in everything if not any(has(c.variant, point) for point in excluded)]
    matrix = Matrix(axes=axes, exclude=excluded)
    if kept:
        assert [cell.id for cell in cells(workload(matrix=matrix))] == kept
    else:
        with pytest.raises(UsageError, match="excludes every variant"):
            cells(workload(matrix=matrix))


@given(st.lists(SCALARS))
def test_different_values_have_different_texts(values: list[Scalar]) -> None:
    assert len({value_text(value) for value in values}) >= len(set(map(value_key, values)))


def test_an_id_holds_everything_that_makes_the_cell() -> None:
    matrix = Matrix(axes={"threads": [2], "precision": ["fp32"], "level": ["all"]})
    (cell,) = cells(workload(matrix=matrix))
    assert cell.id == "demo@3/fake/batch=1,level=all,precision=fp32,threads=2/single_stream"
    assert cell.options == {"threads": 2, "level": "all"}
    assert (cell.precision, cell.batch, cell.unsupported) == ("fp32", 1, None)


def test_a_point_to_include_is_multiplied_by_the_axes_it_leaves_out() -> None:
    matrix = Matrix(
        axes={"precision": ["fp32"], "threads": [1, 2], "batch": [1]}, include=[{"batch": 8}]
    )
    found = [(c.variant["batch"], c.variant["threads"]) for c in cells(workload(matrix=matrix))]
    assert found == [(1, 1), (1, 2), (8, 1), (8, 2)]


def test_without_a_precision_a_file_is_used_as_it_came_and_a_built_one_in_fp32() -> None:
    assert cells(workload())[0].variant == {"precision": "as-is", "batch": 1}
    built = Model(uri="pypi:x==1!x.pth", sha256="0" * 64, license="MIT", builder="mlp")
    assert cells(workload(model=built))[0].precision == "fp32"


# Suites, sets, scenarios

PART = SuitePart(variants=[{"precision": "fp32", "threads": 1}, {"precision": "int8-dynamic"}])
IN_SUITE = workload(
    matrix=Matrix(
        axes={"precision": ["fp32", "int8-dynamic"], "threads": [1, 2]},
        exclude=[{"precision": "int8-dynamic", "threads": 2}],
    ),
    suites={"quick": PART, "full": SuitePart(scenarios=["offline"])},
)


def variants(found: Sequence[Cell], *axes: str) -> list[tuple[Scalar, ...]]:
    return [tuple(cell.variant[axis] for axis in axes) for cell in found]


def test_a_suite_picks_workloads_variants_and_scenarios() -> None:
    quick = cells([IN_SUITE, workload("other")], suite="quick")
    assert variants(quick, "precision", "threads") == [("fp32", 1), ("int8-dynamic", 1)]
    full = cells(IN_SUITE, suite="full")
    assert [cell.scenario for cell in full] == ["offline"] * 3


def test_an_unknown_suite_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match=r"suite 'quik'; did you mean 'quick'\?"):
        cells(IN_SUITE, suite="quik")


def test_a_set_replaces_an_axis_in_every_variant_of_a_suite() -> None:
    found = cells(IN_SUITE, suite="quick", sets={"threads": [4, 8]})
    assert variants(found, "precision", "threads") == [
        ("fp32", 4), ("fp32", 8), ("int8-dynamic", 4), ("int8-dynamic", 8),
    ]  # fmt: skip
    assert len(cells(IN_SUITE, suite="quick", sets={"precision": ["fp32"]})) == 2


def test_a_set_adds_an_axis_and_lists_multiply() -> None:
    found = cells(IN_SUITE, sets={"level": ["none", "all"], "threads": [1, 1]})
    assert len(found) == 4
    assert all("level" in cell.variant for cell in found)


def test_axes_of_requests_do_not_apply_to_other_workloads() -> None:
    chat = workload("chat", task="generate", scenarios=["generate"])
    found = cells([chat, workload("plain")], sets={"new_tokens": [8, 16]})
    tokens = [(cell.workload.name, cell.variant.get("new_tokens")) for cell in found]
    assert tokens == [("chat", 8), ("chat", 16), ("plain", None)]


def test_a_set_does_not_bring_back_what_is_excluded() -> None:
    found = cells(IN_SUITE, sets={"threads": [2]})
    assert variants(found, "precision", "threads") == [("fp32", 2)]
    with pytest.raises(UsageError, match="excludes every variant"):
        cells(IN_SUITE, sets={"threads": [2], "precision": ["int8-dynamic"]})


def test_scenarios_of_the_command_line_win() -> None:
    found = cells(IN_SUITE, suite="full", scenarios=["single_stream", "offline", "offline"])
    assert [cell.scenario for cell in found[:2]] == ["single_stream", "offline"]
    assert len(found) == 6
    with pytest.raises(UsageError, match=r"no scenario 'ofline'; did you mean 'offline'\?"):
        cells(IN_SUITE, scenarios=["ofline"])


def test_a_rate_is_that_of_single_stream_and_server_and_stands_in_the_id() -> None:
    paced, server, offline = cells(
        workload(), scenarios=["single_stream", "server", "offline"], load=Load(30.0)
    )
    assert server.id.endswith("/server@30")
    assert paced.rate_per_s == 30.0
    assert paced.id.endswith("/single_stream@30")
    assert offline.rate_per_s is None
    assert offline.id.endswith("/offline")
    with pytest.raises(UsageError, match="single_stream and server only"):
        cells(workload(), scenarios=["offline"], load=Load(30.0))
    with pytest.raises(UsageError, match="cannot be scheduled"):
        cells(workload(), scenarios=["server"], load=Load(1e12))
    with pytest.raises(UsageError, match="less than one query an hour"):
        cells(workload(), scenarios=["server"], load=Load(1e-9))
    with pytest.raises(UsageError, match="needs the rate"):
        cells(workload(), scenarios=["server"])


def test_a_stream_has_the_rate_of_its_hops_and_must_be_declared() -> None:
    stream = Stream(hop_s=0.04, state={"state": "next"})
    (cell,) = cells(workload(stream=stream), scenarios=["stream"])
    assert (cell.rate_per_s, cell.unsupported) == (25.0, None)
    assert cell.id.endswith("/stream@25")
    (bare,) = cells(workload(), scenarios=["stream"])
    assert code(bare) == "unsupported_scenario"
    (wide,) = cells(workload(stream=stream), scenarios=["stream"], sets={"batch": [2]})
    assert code(wide) == "unsupported_batch"
    with pytest.raises(UsageError, match="single_stream and server only"):
        cells(workload(stream=stream), scenarios=["stream"], load=Load(30.0))


def test_a_bound_is_that_of_server_and_stands_in_the_id() -> None:
    sought, closed = cells(
        workload(), scenarios=["server", "single_stream"], load=Load(None, 15_000_000)
    )
    assert (sought.rate_per_s, sought.bound_p99_ns) == (None, 15_000_000)
    assert sought.id.endswith("/server@p99=15ms")
    assert closed.bound_p99_ns is None
    with pytest.raises(UsageError, match="server only"):
        cells(workload(), load=Load(None, 15_000_000))
    with pytest.raises(UsageError, match="cannot be combined"):
        cells(workload(), scenarios=["server"], load=Load(30.0, 15_000_000))


@pytest.mark.parametrize("text", ["15ms", "p99", "p95=15ms", "p99=0ms", "p99=-1s", "p99=soon"])
def test_a_bound_is_one_of_p99(text: str) -> None:
    assert parse_bound("p99=15ms") == 15_000_000
    with pytest.raises(UsageError):
        parse_bound(text)


def test_samples_per_query_is_an_axis_of_multi_stream_alone() -> None:
    eight, single = cells(workload(), scenarios=["multi_stream", "single_stream"])
    assert eight.variant["samples_per_query"] == 8
    assert "samples_per_query" not in {**eight.options, **single.variant}
    sets: dict[str, list[Scalar]] = {"samples_per_query": [4, 6], "batch": [1, 4]}
    found = cells(workload(), sets=sets, scenarios=["multi_stream", "offline"])
    assert [cell.scenario for cell in found].count("offline") == 2
    refused = [cell for cell in found if cell.unsupported is not None]
    assert variants(refused, "samples_per_query", "batch") == [(6, 4)]
    assert code(refused[0]) == "unsupported_batch"
    with pytest.raises(UsageError, match="multi_stream only"):
        cells(workload(), sets={"samples_per_query": [4]})
    with pytest.raises(UsageError, match="whole number"):
        cells(workload(), sets={"samples_per_query": [0]}, scenarios=["multi_stream"])


def test_a_memory_budget_is_an_axis_of_its_own_and_no_option_of_a_backend() -> None:
    small, large = cells(workload(), sets={"memory_budget": ["256MiB", 1 << 30]})
    assert (small.memory_budget_bytes, large.memory_budget_bytes) == (256 << 20, 1 << 30)
    assert "memory_budget" not in small.options
    assert 'memory_budget="256MiB"' in small.id
    for wrong in ("lots", "1MiB", -1, True):
        with pytest.raises(UsageError, match=r"size|MiB"):
            cells(workload(), sets={"memory_budget": [wrong]})


# What cannot run


def test_an_unavailable_backend_leaves_every_cell_unsupported_with_the_fix() -> None:
    away = Unavailable("not_installed", "no runtime", "pip install runtime")
    found = cells(workload(), backend("away", found=away), backend("here"))
    assert [cell.backend for cell in found] == ["away", "here"]
    assert code(found[0]) == "backend_not_installed"
    assert found[0].unsupported is not None
    assert found[0].unsupported.fix == "pip install runtime"
    assert found[1].unsupported is None


def test_a_broken_backend_is_not_asked_for_options() -> None:
    broken = backend("broken", found=Unavailable("broken", "why", "fix"), formats=())
    (cell,) = cells(workload(), broken, sets={"threads": [1]})
    assert code(cell) == "backend_broken"


def test_a_missing_distribution_is_unsupported_with_the_command() -> None:
    (cell,) = cells(workload(requires=["msgspec", "not-here-1", "not-here-2"]))
    assert code(cell) == "requirement_missing"
    assert cell.unsupported is not None
    assert cell.unsupported.fix == "pip install not-here-1 not-here-2"


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ({"precision": ["int8-static"]}, "unsupported_precision"),
        ({"unheard_of": [1]}, "unsupported_option"),
        ({"threads": [0]}, "unsupported_option"),
        ({"threads": ["many"]}, "unsupported_option"),
        ({"threads": [True]}, "unsupported_option"),
        ({"level": ["most"]}, "unsupported_option"),
    ],
)
def test_a_variant_that_the_backend_cannot_run_is_unsupported(
    axes: dict[str, list[Scalar]], expected: str
) -> None:
    (cell,) = cells(workload(matrix=Matrix(axes=axes)))
    assert code(cell) == expected


def test_a_format_that_is_neither_opened_nor_converted() -> None:
    found = cells(
        workload(), backend("strict", formats=("tflite",)),
        backend("able", formats=("engine",), converts=True),
    )  # fmt: skip
    assert code(found[0]) == "unsupported_format"
    assert found[1].unsupported is None


def test_a_model_of_fixed_shapes_has_no_batch() -> None:
    fixed: dict[str, list[Any]] = {"input": [1, 8]}
    model = Model(uri="file:/demo.onnx", sha256="0" * 64, license="MIT", shapes=fixed)
    one, eight = cells(workload(model=model), sets={"batch": [1, 8]})
    assert one.unsupported is None
    assert code(eight) == "unsupported_batch"


def test_an_option_that_one_backend_knows_is_unsupported_in_the_other() -> None:
    found = cells(workload(), backend("one", THREADS), backend("two", LEVEL), sets={"threads": [2]})
    assert [cell.unsupported is None for cell in found] == [True, False]


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        ({"thread": [1]}, "no option 'thread' of fake; did you mean 'threads'?"),
        ({"scenario": ["offline"]}, "--scenario"),
        ({"threads": [0]}, "threads must be a whole number of 1 or more, got 0"),
        ({"threads": [1, "x"]}, "threads must be a whole number of 1 or more, got 'x'"),
        ({"level": ["al"]}, "level has no 'al'; did you mean 'all'?"),
        ({"precision": ["int8-dynmic"]}, "no precision 'int8-dynmic'; did you mean 'int8-dynamic'"),
        ({"batch": [0]}, "batch must be a whole number of 1 or more, got 0"),
        ({"batch": [True]}, "batch must be a whole number"),
    ],
)
def test_a_variant_that_no_backend_can_run_is_an_error(
    sets: dict[str, list[Scalar]], words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        cells(workload(), sets=sets)
    assert words in str(caught.value)


def test_typed_words_become_what_the_option_wants() -> None:
    options = (
        Option("flag", "bool", False, ""),
        Option("text", "str", "", ""),
        Option("share", "float", 0.5, ""),
    )
    sets = parse_sets(["flag=1,true", "text=7", "share=1"])
    (cell,) = cells(workload(), backend("fake", *options), sets=sets)
    assert cell.options == {"flag": True, "text": "7", "share": 1.0}
    assert type(cell.options["share"]) is float


def test_backends_that_make_no_sense() -> None:
    with pytest.raises(UsageError, match="no backend is chosen"):
        plan([workload()], [])
    twin = backend("same")
    with pytest.raises(UsageError, match="x and y are both called 'same'"):
        plan([workload()], ["x", "y"], load_backend=lambda spec: twin)
    assert len(plan([workload()], ["x", "x"], load_backend=lambda spec: twin)) == 1


def test_the_shipped_registry_is_the_default() -> None:
    (cell,) = plan([workload()], ["null"])
    assert (cell.backend, cell.backend_spec, cell.unsupported) == ("null", "null", None)


# The command line's words


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (["threads=1,2"], {"threads": [1, 2]}),
        (["threads=1", "threads=2,1"], {"threads": [1, 2]}),
        (["precision=int8-dynamic"], {"precision": ["int8-dynamic"]}),
        (["arena=false,True"], {"arena": [False, True]}),
        (["one=1,true,1.0"], {"one": [1, True]}),
        (["share=0.5,1e-3"], {"share": [0.5, 0.001]}),
        (['text="1",1'], {"text": ["1", 1]}),
        (['text="a,b"'], {"text": ["a,b"]}),
        (['json={"a": {"b": "1"}, "c": [1, 2]},x'],
         {"json": ['{"a": {"b": "1"}, "c": [1, 2]}', "x"]}),
        (["provider=CUDA+CPU"], {"provider": ["CUDA+CPU"]}),
        (["key=a=b"], {"key": ["a=b"]}),
    ],
)  # fmt: skip
def test_sets_are_read(items: list[str], expected: dict[str, list[Scalar]]) -> None:
    assert parse_sets(items) == expected


@pytest.mark.parametrize("item", ["threads", "=1", "threads=", "threads=1,,2", "threads=1,"])
def test_sets_that_cannot_be_read(item: str) -> None:
    with pytest.raises(UsageError, match="threads=1,2"):
        parse_sets([item])


@pytest.mark.parametrize("value", ["9" * 5000, "-" + "1" * 5000, str(2**63), "1e400", "-1e400"])
def test_a_number_that_no_record_could_hold_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match="is too large") as caught:
        parse_sets([f"threads={value}"])
    assert len(str(caught.value)) < 200
    assert parse_sets([f"threads={2**63 - 1},{'0' * 5000}7"]) == {"threads": [2**63 - 1, 7]}


@given(
    st.one_of(
        st.booleans(),
        st.integers(-(2**63) + 1, 2**63 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_a_value_survives_its_text(value: Scalar) -> None:
    (parsed,) = parse_sets([f"axis={value_text(value)}"])["axis"]
    assert value_key(parsed) == value_key(value)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("input=1,3,224,224", {"input": [1, 3, 224, 224]}),
        ("input=1x3x8x8", {"input": [1, 3, 8, 8]}),
        ("input=batch,3", {"input": ["batch", 3]}),
        ("input=3xbatch", {"input": [3, "batch"]}),
        ("a:0=7", {"a:0": [7]}),
        ("odd=name=7", {"odd=name": [7]}),
        ("gain=scalar", {"gain": []}),
    ],
)
def test_shapes_are_read(item: str, expected: dict[str, list[Any]]) -> None:
    assert parse_shapes([item]) == expected


@pytest.mark.parametrize(
    ("items", "words"),
    [
        (["1,3,224,224"], "names no input"),
        (["=1,3"], "names no input"),
        (["input="], "is not a size"),
        (["input=1,0"], "'0' is not a size"),
        (["input=1,-3"], "is not a size"),
        (["input=1,?"], "is not a size"),
        (["input=batch,batch"], "more than one axis"),
        (["input=1", "input=2"], "'input' twice"),
        (["input=" + "9" * 5000], "is too large"),
    ],
)
def test_shapes_that_cannot_be_read(items: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_shapes(items)


def test_a_model_file_is_a_workload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "My Model (v2).onnx"
    path.write_bytes(b"abc")
    monkeypatch.chdir(tmp_path)
    work = workload_for_model(Path(path.name), {"x": ["batch", 3]})
    assert re.fullmatch("my-model-v2-batchx3-[0-9a-f]{8}", work.name)
    assert work.model.uri == f"file:{path.resolve()}"
    assert work.model.sha256.startswith("ba7816bf8f01cfea")
    assert (work.task, work.quality.metric, work.quality.ceiling) == (
        "seeded_inputs", "parity_error", 1e-3,
    )  # fmt: skip
    (cell,) = cells(work)
    assert (cell.precision, cell.unsupported) == ("as-is", None)
    (tmp_path / "my_task.py").touch()
    own = workload_for_model(path, {}, "my_task.py:Mine")
    assert own.task == f"{tmp_path.resolve()}/my_task.py:Mine"


def test_other_work_on_a_model_file_has_another_name(tmp_path: Path) -> None:
    one, other = tmp_path / "m.onnx", tmp_path / "other" / "m.onnx"
    other.parent.mkdir()
    one.write_bytes(b"abc")
    other.write_bytes(b"abc")
    for folder in (tmp_path, other.parent):
        (folder / "my_task.py").touch()
    task = f"{tmp_path}/my_task.py"
    small: Shapes = {"x": [1, 3, 8, 8], "y": [1]}
    works = [
        workload_for_model(one, {}),
        workload_for_model(one, small),
        workload_for_model(one, {"x": [1, 3, 64, 64], "y": [1]}),
        workload_for_model(one, small, f"{task}:Mine"),
        workload_for_model(one, small, f"{task}:Other"),
    ]
    assert len({work.name for work in works}) == len(works)
    turned: Shapes = {"y": [1], "x": [1, 3, 8, 8]}
    same = workload_for_model(other, turned, f"{other.parent}/my_task.py:Mine")
    assert same.name == works[3].name


@pytest.mark.parametrize(
    ("name", "task", "said"),
    [
        ("m.gguf", None, "m.gguf has its own"),
        ("m.param", None, "m.param has its own"),
        ("m.onnx", "generate", "m.onnx has its own"),
        ("m.onnx", "generat", "did you mean 'generate'"),
        ("m.onnx", "absent.py:Mine", "no file .*absent.py"),
    ],
)
def test_options_that_do_not_fit_a_model_file_are_refused(
    tmp_path: Path, name: str, task: str | None, said: str
) -> None:
    path = tmp_path / name
    path.touch()
    with pytest.raises(UsageError, match=said):
        workload_for_model(path, {"x": [1, 3]}, task)


def test_a_tflite_file_takes_shapes_too(tmp_path: Path) -> None:
    """Keras leaves the batch open."""
    path = tmp_path / "m.tflite"
    path.touch()
    assert workload_for_model(path, {"x": [4, 16]}).model.shapes == {"x": [4, 16]}


def test_a_model_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        workload_for_model(tmp_path / "absent.onnx", {})


# Precision maps


def map_file(folder: Path) -> Path:
    path = folder / "map.yaml"
    path.write_text(f"model_sha256: {'a' * 64}\nrecipe: u8s8/1\ngroups: {{conv: int8}}\n")
    return path


def test_a_map_is_a_variant_by_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEBENCH_CACHE", str(tmp_path / "cache"))
    sets = parse_sets([f"precision=fp32,@{map_file(tmp_path)}"])
    able, unable = backend("able", precisions=("fp32", "mixed")), backend("unable")
    found = plan([workload()], ["able", "unable"], sets=sets, load_backend=loader(able, unable))
    told = [(cell.backend, str(cell.variant["precision"])[:6], cell.unsupported) for cell in found]
    assert [(name, kind) for name, kind, _ in told] == [
        ("able", "fp32"), ("able", "mixed:"), ("unable", "fp32"), ("unable", "mixed:"),
    ]  # fmt: skip
    assert [reason is None for _, _, reason in told] == [True, True, True, False]
    again = plan([workload()], ["able"], sets={"precision": [found[1].variant["precision"]]},
                 load_backend=loader(able))  # fmt: skip
    assert again[0].id == found[1].id


def test_mixed_alone_names_no_map() -> None:
    able = backend("able", precisions=("fp32", "mixed"))
    with pytest.raises(UsageError, match="precision=mixed needs a map"):
        plan([workload()], ["able"], sets={"precision": ["mixed"]}, load_backend=loader(able))


def test_a_map_that_cannot_be_read_is_told() -> None:
    with pytest.raises(UsageError, match=r"nowhere.yaml cannot be read: No such file"):
        plan([workload()], ["null"], sets={"precision": ["@nowhere.yaml"]})
