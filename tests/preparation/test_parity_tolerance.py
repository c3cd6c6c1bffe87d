"""How far a right answer may lie from the reference: by what the file computes in, and by nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebench.analysis.per_row.plausibility import MAX_ROUNDINGS
from edgebench.definitions.workload import PARITY_METRIC, Quality
from edgebench.files.model_outputs import load_outputs, save_outputs
from edgebench.measure.replicate import quality_checks
from edgebench.measure.replicate.quality_checks import Standard
from edgebench.models.output_distance import distances
from edgebench.preparation.preparation_messages import (
    Parity,
    PreparedModel,
    PrepareJob,
    Reference,
)
from edgebench.preparation.prepare import prepare
from edgebench.record import OutputCheck
from edgebench.words import quality_words
from tests.reduced_models import (
    KINDS,
    WIDTH,
    build,
    cancelling,
    helper,
    int8,
    network,
    onnx,
    weights,
)

Change = Callable[[dict[str, Any]], None]


def job(model: Any, folder: Path, *, without_reference: bool = False) -> PrepareJob:
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return PrepareJob(
        task="seeded_inputs",
        source=str(path),
        source_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        cache=str(folder / "cache"),
        without_reference=without_reference,
    )


def prepared(model: Any, folder: Path) -> PreparedModel:
    return prepare(job(model, folder))


def items(kind: Any) -> list[dict[str, Any]]:
    from edgebench.backend import TensorInfo
    from edgebench.task import TaskContext
    from edgebench.tasks import load_task

    context = TaskContext(inputs=[TensorInfo("x", kind, (1, WIDTH))])
    task = load_task("seeded_inputs", context)
    return [task.preprocess(task.raw(number)) for number in range(8)]


def answers(model: Any) -> list[dict[str, Any]]:
    """By ONNX Runtime as it is deployed: all optimisations, integer kernels."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    kind = {"tensor(float)": "float32", "tensor(float16)": "float16"}
    feeds = items(kind[session.get_inputs()[0].type])
    return [dict(zip(("y", "label"), session.run(None, each), strict=True)) for each in feeds]


def judged(got: list[dict[str, Any]], found: PreparedModel) -> quality_checks.Deviation:
    want = load_outputs(found.reference.path, 8)
    return quality_checks.deviation(
        got, want, quality_checks.tolerance("as-is", found.reference.parity)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_in_reduced_precision_is_held_to_its_own_rounding(kind: str, tmp_path: Path) -> None:
    model = KINDS[kind](weights())
    found = prepared(model, tmp_path)
    assert found.reference.parity.arithmetic == kind.split(maxsplit=1)[0]
    assert found.reference.parity.moved["y"] > 1e-3
    assert judged(answers(model), found).held
    # One step of every value, drawn anew: what another right kernel may come to.
    moved = np.random.default_rng(1).standard_normal
    apart = [
        {
            **each,
            "y": each["y"]
            + found.reference.parity.moved["y"] * np.std(each["y"]) * moved((1, WIDTH)),
        }
        for each in load_outputs(found.reference.path, 8)
    ]
    assert judged(apart, found).held


@pytest.mark.parametrize("kind", KINDS)
def test_where_time_is_short_what_a_file_computes_in_is_known_all_the_same(
    kind: str, tmp_path: Path
) -> None:
    found = prepare(job(KINDS[kind](weights()), tmp_path, without_reference=True))
    assert (found.reference.path, found.reference.note) == (
        "",
        quality_words.NO_TIME_FOR_REFERENCE,
    )
    assert found.reference.parity == Parity(arithmetic=kind.split(maxsplit=1)[0])
    assert (
        quality_checks.tolerance("as-is", found.reference.parity).limit
        == quality_checks.REDUCED_PARITY_LIMIT
    )


@pytest.mark.parametrize("kind", KINDS)
def test_where_nobody_can_answer_what_a_file_computes_in_is_known_all_the_same(
    kind: str, tmp_path: Path
) -> None:
    model = KINDS[kind](weights())
    model.graph.node.append(helper.make_node("Another", ["y"], ["z"], domain="elsewhere"))
    model.graph.output.append(onnx.ValueInfoProto(name="z", type=model.graph.output[0].type))
    model.opset_import.add(domain="elsewhere", version=1)
    found = prepared(model, tmp_path)
    assert "no reference: ONNX Runtime cannot run the model" in found.reference.note
    assert found.reference.parity == Parity(arithmetic=kind.split(maxsplit=1)[0])


def test_each_run_of_the_reference_is_a_sign_of_life(tmp_path: Path) -> None:
    """Also those that measure what rounding moves: a slow model is no hang."""
    said: list[str] = []
    prepare(job(KINDS["int8"](weights()), tmp_path), said.append)
    assert said.count("reference") > 2 * 8


def test_values_that_are_named_by_numbers_are_moved_as_well(tmp_path: Path) -> None:
    """As PyTorch's older exporter names them all: 1, 2, 3, ..."""
    model = KINDS["fp16"](weights())
    names = {name: str(n) for n, node in enumerate(model.graph.node) for name in node.output}
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names[name] for name in node.output]
    for output in model.graph.output:
        output.name = names[output.name]
    assert set(prepared(model, tmp_path).reference.parity.moved) == {names["y"], names["label"]}


def other_weights(given: dict[str, Any]) -> None:
    given.update(weights(seed=1))


def dropped_layer(given: dict[str, Any]) -> None:
    given["w3"] = np.eye(WIDTH, dtype=np.float32)


@pytest.mark.parametrize("change", [other_weights, dropped_layer])
@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_result_of_such_a_file_is_struck(kind: str, change: Change, tmp_path: Path) -> None:
    given = weights()
    found = prepared(KINDS[kind](given), tmp_path)
    change(given)
    assert not judged(answers(KINDS[kind](given)), found).held


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
@pytest.mark.parametrize("kind", KINDS)
def test_zeros_and_what_is_no_number_are_struck(kind: str, value: float, tmp_path: Path) -> None:
    model = KINDS[kind](weights())
    wrong = [{**each, "y": np.full_like(each["y"], value)} for each in answers(model)]
    assert not judged(wrong, prepared(model, tmp_path)).held


def test_a_file_in_fp32_is_held_to_a_thousandth_as_ever(tmp_path: Path) -> None:
    found = prepared(network(weights()), tmp_path)
    assert (found.reference.parity.arithmetic, found.reference.parity.moved["label"]) == ("", 0)
    assert 0 < found.reference.parity.moved["y"] < 1e-4
    assert quality_checks.tolerance("as-is", found.reference.parity) == quality_checks.Tolerance(
        1e-3, "rounding in fp32"
    )
    off = [{**each, "y": each["y"] * 1.002} for each in load_outputs(found.reference.path, 8)]
    assert not judged(off, found).held


def test_a_file_in_fp32_whose_answers_rounding_moves_visibly_is_held_to_that(
    tmp_path: Path,
) -> None:
    found = prepared(cancelling(weights()), tmp_path)
    assert found.reference.parity.named == "the fp32 reference"
    apart = distances(answers(cancelling(weights())), load_outputs(found.reference.path, 8))
    assert apart["y"] > 1e-3  # an honest runtime, beyond the limit of other files
    assert judged(answers(cancelling(weights())), found).held
    assert found.reference.parity.moved["y"] < 0.1
    half = cancelling(weights())
    for tensor in half.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            narrow = array.astype(np.float16).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(narrow, tensor.name))
    assert not judged(answers(half), found).held
    assert not judged(answers(cancelling(weights(seed=1))), found).held


def test_a_probability_of_nearly_zero_is_held_to_what_rounding_does_to_it(tmp_path: Path) -> None:
    """ONNX Runtime's own sigmoid is off by 1e-7 whatever its value is, optimised or not: a detector of
    speech, fed with silence, was struck on every other runtime."""
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["first"]),
        helper.make_node("MatMul", ["first", "w1"], ["score"]),
        helper.make_node("Sub", ["score", "far"], ["low"]),
        helper.make_node("Sigmoid", ["low"], ["y"]),
        helper.make_node("ArgMax", ["y"], ["label"], axis=1),
    ]
    given = {name: array / 4 for name, array in weights().items() if name in ("w0", "w1")}
    found = prepared(build(nodes, {**given, "far": np.full((1, 1), 11, np.float32)}), tmp_path)
    exact = [
        {**known, "y": 1 / (1 + np.exp(11 - each["x"] @ given["w0"].astype(float) @ given["w1"]))}
        for each, known in zip(items("float32"), load_outputs(found.reference.path, 8), strict=True)
    ]
    apart = distances(exact, load_outputs(found.reference.path, 8))["y"]
    assert apart > 1e-3
    assert judged(exact, found).held
    assert found.reference.rounding is not None
    assert apart < MAX_ROUNDINGS * found.reference.rounding
    assert found.reference.rounding < 1e-3
    assert not judged([{**each, "y": each["y"] * 1.01} for each in exact], found).held


def test_the_reference_is_named_by_what_the_file_computes_in() -> None:
    assert Parity().named == "the fp32 reference"
    assert Parity(arithmetic="int8").named.startswith("the int8 file itself, unoptimised")


def test_a_users_own_limit_goes_before_every_other_and_says_so() -> None:
    for parity in (Parity(), Parity(arithmetic="int8", moved={"y": 0.1})):
        for precision in ("as-is", "fp16", "unknown"):
            allowed = quality_checks.tolerance(precision, parity, asked=0.3)
            assert (allowed.of("y"), allowed.basis) == (0.3, "the user's own: --parity")


def test_no_rounding_allows_an_answer_that_has_nothing_to_do_with_the_reference() -> None:
    wild = Parity(arithmetic="int8", moved={"y": 1.0})
    assert quality_checks.tolerance("as-is", wild).of("y") == quality_checks.MAX_ROUNDING < 1


def test_rounding_that_could_not_be_measured_allows_what_reduced_precision_does() -> None:
    allowed = quality_checks.tolerance("as-is", Parity(arithmetic="int4"))
    assert allowed == quality_checks.Tolerance(0.1, "rounding in int4")


def test_the_output_that_is_furthest_beyond_its_own_limit_is_told() -> None:
    want = [{"exact": np.ones(4), "rounded": np.ones(4)}]
    got = [{"exact": np.full(4, 1.01), "rounded": np.full(4, 1.1)}]
    parity = Parity(arithmetic="int8", moved={"exact": 0.0, "rounded": 0.1})
    found = quality_checks.deviation(got, want, quality_checks.tolerance("as-is", parity))
    assert (round(found.error, 6), found.limit, found.held) == (0.01, 1e-3, False)


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int16])
def test_a_quantised_output_is_a_number(kind: Any) -> None:
    values = np.arange(1, 101).astype(kind)
    [far] = distances([{"q": values + kind(1)}], [{"q": values}]).values()
    assert 0 < far < 0.02
    [far] = distances([{"q": np.zeros_like(values)}], [{"q": values}]).values()
    assert far == 1


def test_labels_are_compared_by_how_many_differ() -> None:
    want = [{"label": np.array([[number]])} for number in range(8)]
    got = [*want[:7], {"label": np.array([[0]])}]
    assert distances(got, want) == {"label": 1 / 8}


def test_outputs_that_are_missing_or_of_another_shape_are_infinitely_far() -> None:
    [far] = distances([{"y": np.ones((1, 4))}], [{"y": np.ones(4)}]).values()
    assert far == float("inf")
    assert distances([{"z": np.ones(4)}], [{"y": np.ones(4)}]) == {
        "y": float("inf"), "z": float("inf"),
    }  # fmt: skip


def test_renamed_outputs_are_compared_by_place_and_a_note_says_so() -> None:
    base = [{"y": np.ones(4), "z": np.zeros(3)}]
    head = [{"z": np.zeros(3), "logits": np.full(4, 2.0)}]
    found = quality_checks.matched(base, head)
    assert isinstance(found, quality_checks.Matched)
    assert found.head[0]["y"].tolist() == [2, 2, 2, 2]
    assert found.note.endswith("compared by place: base's 'y' is head's 'logits'")
    same = quality_checks.matched(base, base)
    assert isinstance(same, quality_checks.Matched)
    assert same.note == ""


@pytest.mark.parametrize(
    ("head", "why"),
    [
        ([{"y": np.ones(4)}], "are not those of base"),
        ([{"y": np.ones(4), "q": np.zeros(2)}], "have other shapes"),
    ],
)
def test_outputs_that_cannot_be_compared_are_listed(head: list[Any], why: str) -> None:
    found = quality_checks.matched([{"y": np.ones(4), "z": np.zeros(3)}], head)
    assert isinstance(found, str)
    assert why in found
    assert "base gives 'y' [4], 'z' [3], head gives 'y' [4]" in found


def test_weights_beside_the_file_are_found(tmp_path: Path) -> None:
    model, whole = int8(weights()), tmp_path / "whole"
    whole.mkdir()
    inside = prepared(model, whole)
    path = tmp_path / "m.onnx"
    onnx.save(model, str(path), save_as_external_data=True, location="w", size_threshold=0)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    cache = str(tmp_path / "cache")
    job = PrepareJob(task="seeded_inputs", source=str(path), source_sha256=digest, cache=cache)
    assert prepare(job).reference.parity == inside.reference.parity


def test_weights_that_a_file_quantises_itself_do_not_move(tmp_path: Path) -> None:
    """As exports of quantisation-aware training have them: the same in every right kernel."""
    scale, zero = {"scale": np.array(0.02, np.float32)}, {"zero": np.array(0, np.int8)}
    nodes = [
        helper.make_node("QuantizeLinear", ["w", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["v"]),
        helper.make_node("Mul", ["x", "x"], ["s"]),
        helper.make_node("Add", ["s", "v"], ["y"]),
        helper.make_node("ArgMax", ["y"], ["label"], axis=1),
    ]
    found = prepared(
        build(nodes, {"w": np.ones((1, WIDTH), np.float32), **scale, **zero}), tmp_path
    )
    assert not found.reference.parity.arithmetic


def test_weights_of_few_bits_are_read_by_activations_of_8(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["v"]),
        helper.make_node("MatMul", ["x", "v"], ["y"]),
        helper.make_node("ArgMax", ["y"], ["label"], axis=1),
    ]
    numbers = rng.integers(-100, 100, (WIDTH, WIDTH)).astype(np.int8)
    given = {"w": numbers, "scale": np.array(0.01, np.float32), "zero": np.array(0, np.int8)}
    found = prepared(build(nodes, given), tmp_path)
    assert found.reference.parity.arithmetic == "int8"
    assert 1e-3 < found.reference.parity.moved["y"] < 0.05


RANDOM = {
    "RandomNormalLike": [
        helper.make_node("RandomNormalLike", ["x"], ["noise"], name="sampler"),
        helper.make_node("Add", ["x", "noise"], ["y"]),
    ],
    "Dropout": [
        helper.make_node("Dropout", ["x", "ratio", "training"], ["y"], name="sampler"),
    ],
}


@pytest.mark.parametrize("kind", RANDOM)
def test_a_model_that_is_random_by_itself_is_named_so(kind: str, tmp_path: Path) -> None:
    nodes = [*RANDOM[kind], helper.make_node("ArgMax", ["x"], ["label"], axis=1)]
    given = {"ratio": np.array(0.5, np.float32), "training": np.array(True)}
    found = prepared(build(nodes, given if kind == "Dropout" else {}), tmp_path)
    assert found.reference.parity.random == (
        f"the model is random by itself ({kind} 'sampler'): the same input gives other values of "
        "'y' each time"
    )


def test_a_random_model_is_held_to_nothing_and_its_quality_is_unknown(tmp_path: Path) -> None:
    parity = Parity(random="the model is random by itself")
    session: Any = FakeSession()
    task: Any = FakeTask()
    drawn = tmp_path / "drawn.npz"
    save_outputs(str(drawn), [{"y": np.ones(4)}])
    standard = Standard(precision="as-is", reference=Reference(path=str(drawn), parity=parity))
    for _ in range(2):  # against the reference, then against the first process
        found = quality_checks.output_check(
            session, [{"x": np.ones(4)}], standard, expected=str(tmp_path / "e")
        )
        assert (found.limit, found.passed) == (None, True)
    quality = quality_checks.quality(session, task, SPEC, standard)
    assert (quality.value, quality.passed) == (None, False)
    assert quality.reason.startswith(
        "the model is random by itself: export it without, or give it a task"
    )


def test_an_output_that_rounding_alone_turns_into_another_is_unknown_and_not_wrong(
    tmp_path: Path,
) -> None:
    """A speaker embedding in int8, fed with noise: 0.8 by rounding, and 0.69 on a runtime that is right."""
    parity = Parity(arithmetic="int8", moved={"y": 0.8})
    known = tmp_path / "known.npz"
    save_outputs(str(known), [{"y": np.full(4, 9.0)}])
    standard = Standard(precision="as-is", reference=Reference(path=str(known), parity=parity))
    session: Any = FakeSession()
    expected = str(tmp_path / "e")
    found = quality_checks.output_check(session, [{"x": np.ones(4)}], standard, expected=expected)
    assert (found.limit, found.passed) == (None, True)
    task: Any = OneItem()
    quality = quality_checks.quality(session, task, SPEC, standard)
    assert (quality.value, quality.passed) == (None, False)
    assert "rounding in int8 alone moves 'y' by 0.8" in quality.reason
    assert "--inputs FILE.npz" in quality.reason
    for error in (1.7, float("inf")):  # further than rounding moves it; another shape, or no number
        assert not quality_checks.drowned(quality_checks.Deviation(error, 0.5, "y"), parity)


def test_an_output_that_is_all_rounding_is_unknown_however_far_another_runtime_is_off() -> None:
    """PP-OCRv4's detector on noise: 1.0 by rounding, and 4.24 on OpenVINO, LiteRT and ncnn, which agree."""
    parity = Parity(moved={"y": 1.0})
    assert quality_checks.drowned(quality_checks.Deviation(4.24, 0.01, "y"), parity)
    assert not quality_checks.drowned(quality_checks.Deviation(float("inf"), 0.01, "y"), parity)
    assert not quality_checks.drowned(quality_checks.Deviation(float("nan"), 0.01, "y"), parity)


def test_a_file_in_fp32_is_never_allowed_what_other_arithmetic_is() -> None:
    """All of a decoder's positions masked by -1e9, which noise turns into an order of its own: 0.2 by rounding."""
    parity = Parity(moved={"y": 0.2})
    assert quality_checks.tolerance("as-is", parity).of("y") == 0.01
    assert quality_checks.drowned(quality_checks.Deviation(0.3, 0.01, "y"), parity)
    assert not quality_checks.drowned(quality_checks.Deviation(0.5, 0.01, "y"), parity)


@pytest.mark.parametrize(
    ("error", "fix"),
    [(0.0011, "--parity 0.002"), (0.0061, "--parity 0.01"), (0.69, "--parity 0.9")],
)
def test_a_limit_that_is_proposed_allows_what_was_found(error: float, fix: str) -> None:
    found = OutputCheck(against="the int8 file", relative_error=error, limit=1e-3, passed=False)
    assert fix in quality_checks.mismatch(found).fix
    far = OutputCheck(against="the int8 file", relative_error=1.0, limit=1e-3, passed=False)
    assert not quality_checks.mismatch(far).fix, "--parity takes no 1: zeros would pass"


def test_outputs_that_differ_from_themselves_are_called_random_or_not_reset() -> None:
    found = OutputCheck(against="itself", relative_error=0.5, limit=1e-3, passed=False)
    assert (
        "the model is random by itself, or keeps a state" in quality_checks.mismatch(found).message
    )


SPEC = Quality(metric=PARITY_METRIC, ceiling=1e-3)


class FakeSession:
    """Draws its answers."""

    rng = np.random.default_rng(0)

    def reset(self) -> None: ...

    def prepare(self, feeds: Any) -> Any:
        return feeds

    def run(self, prepared: Any) -> Any:
        return {"y": self.rng.standard_normal(4)}

    def outputs_of(self, prepared: Any, raw: Any) -> Any:
        return raw


class FakeTask:
    metrics: Mapping[str, Any] = {PARITY_METRIC: None}


class OneItem(FakeTask):
    def __len__(self) -> int:
        return 1

    def raw(self, index: int) -> Any:
        return {"x": np.ones(4)}

    def preprocess(self, raw: Any) -> Any:
        return raw
