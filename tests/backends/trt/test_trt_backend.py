"""The TensorRT backend on fakes of both major versions: what it builds, runs, tells and refuses."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebench.backend import ModelFile
from edgebench.backends.trt import build_engine, rewrite
from edgebench.backends.trt.cuda import CudaError
from edgebench.backends.trt.supported_platforms import Board
from edgebench.errors import UnsupportedError
from edgebench.models import quantize
from edgebench.models.onnx_file import load_model, save_model
from edgebench.testing import fake_tensorrt, fake_tensorrt_cuda
from edgebench.testing.models import convolution, two_by_two
from tests.backends.trt.trt_fakes import answer, backend, converted, error, install, opened

ORIN = Board(jetson=True, model="NVIDIA Jetson AGX Orin Developer Kit", l4t=(36, 4, 0))


@pytest.fixture(params=[10, 11])
def major(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    install(monkeypatch, request.param)
    return int(request.param)


@pytest.fixture
def ten(monkeypatch: pytest.MonkeyPatch) -> Any:
    return install(monkeypatch, 10)


@pytest.fixture(autouse=True)
def _empty_device() -> None:
    """Every test starts with one."""
    fake_tensorrt_cuda.device.clear()
    fake_tensorrt_cuda.host.clear()


def quantised(folder: Path) -> ModelFile:
    """The convolution, quantised as `int8-static` is: unsigned activations, signed weights."""
    case = convolution(1)
    source = case.write(folder)
    items = [case.feeds(seed) for seed in range(8)]
    path = folder / "quantised.onnx"
    save_model(quantize.quantize_static(load_model(source.path), items, 1), path)
    return ModelFile(path, "onnx", "1" * 64, precision="int8-static")


def dynamic(folder: Path) -> ModelFile:
    """The convolution with an open leading axis."""
    model = load_model(convolution(1).write(folder).path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    path = folder / "dynamic.onnx"
    save_model(model, path)
    return ModelFile(path, "onnx", "2" * 64, precision="fp32")


# --- precision ----------------------------------------------------------------------------------


def test_fp32_is_fp32_with_tf32_off(major: int, tmp_path: Path) -> None:
    case = convolution(1)
    made = opened(case.write(tmp_path), tmp_path)
    facts = made.effective()
    assert facts.precision == "fp32"
    assert facts.options["tf32"] is False
    assert facts.options["typing"] == "strong"
    assert facts.compute_nodes == {"fp32": 2}
    assert error(made, case) < 1e-5


def test_tf32_is_never_called_fp32(major: int, tmp_path: Path) -> None:
    case = convolution(1)
    facts = opened(case.write(tmp_path), tmp_path, tf32=True).effective()
    assert facts.precision == "tf32"
    assert facts.options["tf32"] is True


def test_tf32_that_no_kernel_names_is_not_called_fp32_either(major: int, tmp_path: Path) -> None:
    engine = converted(convolution(1).write(tmp_path), tmp_path, tf32=True)
    content = pickle.loads(engine.path.read_bytes())
    engine.path.write_bytes(pickle.dumps({**content, "tf32": False}))  # of the kernels' names
    facts = backend().open(engine, {"tf32": True}).effective()
    assert facts.compute_nodes == {"fp32": 2}
    assert facts.precision == "tf32"


def test_fp32_that_runs_in_tf32_is_refused(
    major: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A TensorRT that ignores the cleared flag: the kernels' names tell.
    monkeypatch.setattr(fake_tensorrt.IBuilderConfig, "clear_flag", lambda self, flag: None)
    made = opened(convolution(1).write(tmp_path), tmp_path)
    with pytest.raises(UnsupportedError, match="fp32 was asked for, and layers run in tf32"):
        made.effective()


def test_fp16_is_written_into_the_file(major: int, tmp_path: Path) -> None:
    case = convolution(1)
    made = opened(replace(case.write(tmp_path), precision="fp16"), tmp_path)
    facts = made.effective()
    assert facts.precision == "fp16"
    assert facts.inputs[0].dtype == "float32"  # casts stand inside
    assert 1e-6 < error(made, case) < 2e-2


def test_weak_typing_is_for_ten_alone(major: int, tmp_path: Path) -> None:
    model = replace(convolution(1).write(tmp_path), precision="fp16")
    if major == 11:
        with pytest.raises(UnsupportedError, match="strongly typed networks only"):
            opened(model, tmp_path, typing="weak")
        return
    facts = opened(model, tmp_path, typing="weak").effective()
    assert (facts.precision, facts.options["typing"]) == ("fp16", "weak")


def test_int8_comes_from_our_own_q_dq_made_symmetric(major: int, tmp_path: Path) -> None:
    case = convolution(1)
    made = opened(quantised(tmp_path), tmp_path)
    facts = made.effective()
    assert facts.compute_nodes is not None
    assert facts.compute_nodes.get("int8") == 2
    assert error(made, case) < 0.05


def test_int8_in_a_weakly_typed_network(ten: Any, tmp_path: Path) -> None:
    facts = opened(quantised(tmp_path), tmp_path, typing="weak").effective()
    assert facts.options["typing"] == "weak"
    assert facts.compute_nodes is not None
    assert facts.compute_nodes.get("int8") == 2


def test_a_precision_that_no_layer_has_is_refused(
    major: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewrite, "to_fp16", lambda model: model)
    made = opened(replace(convolution(1).write(tmp_path), precision="fp16"), tmp_path)
    with pytest.raises(UnsupportedError, match="no layer that computes runs in it"):
        made.effective()


def test_a_refusal_of_the_parser_names_the_node(major: int, tmp_path: Path) -> None:
    model = quantised(tmp_path)  # left as it is: with zero points
    with pytest.raises(
        UnsupportedError, match=r"DequantizeLinear dense_bias\S*: quantisation to another type"
    ):
        opened(replace(model, precision="as-is"), tmp_path)


# --- the cache of engines -----------------------------------------------------------------------


def test_an_engine_is_built_once(
    major: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = convolution(1).write(tmp_path)
    first = converted(model, tmp_path)
    monkeypatch.setattr(build_engine, "_build", None)  # a second build would fail
    assert converted(model, tmp_path) == first
    assert converted(model, tmp_path, cuda_graph=True) == first  # of the session, not of the build


@pytest.mark.parametrize("change", ["model", "precision", "option", "driver", "gpu", "tensorrt"])
def test_whatever_decides_an_engine_is_in_its_key(
    change: str, ten: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = convolution(1).write(tmp_path)
    before = converted(model, tmp_path).path
    options: dict[str, Any] = {}
    if change == "model":
        model = replace(model, sha256="3" * 64)
    elif change == "precision":
        model = replace(model, precision="fp16")
    elif change == "option":
        options = {"workspace_mib": 7}
    elif change == "driver":
        monkeypatch.setattr(fake_tensorrt_cuda, "cudaDriverGetVersion", lambda: (0, 12080))
    elif change == "gpu":
        monkeypatch.setattr(fake_tensorrt_cuda.cudaDeviceProp, "name", b"Another GPU")
    else:
        monkeypatch.setattr(ten, "__version__", "10.13.3")
    assert converted(model, tmp_path, **options).path != before


def test_timings_of_kernels_are_kept_for_the_next_build(ten: Any, tmp_path: Path) -> None:
    model = convolution(1).write(tmp_path)
    converted(model, tmp_path)
    (kept,) = (tmp_path / "cache").glob("timing-*.cache")
    kept.write_bytes(b"known")
    converted(model, tmp_path, workspace_mib=7)
    assert kept.read_bytes() == b"known"  # the fake hands on what it was given
    facts = opened(model, tmp_path, timing_cache=False).effective()
    assert facts.options["timing_cache"] is False


# --- a prebuilt engine --------------------------------------------------------------------------


def prebuilt(model: ModelFile, folder: Path) -> ModelFile:
    """An engine without the facts of its making, as a stranger's is."""
    path = folder / "strange.engine"
    path.write_bytes(converted(model, folder).path.read_bytes())
    return replace(model, path=path, format="engine", precision="as-is")


def test_a_prebuilt_engine_runs_and_does_not_claim_fp32(major: int, tmp_path: Path) -> None:
    case = convolution(1)
    made = backend().open(prebuilt(case.write(tmp_path), tmp_path), {})
    assert error(made, case) < 1e-5
    facts = made.effective()
    assert facts.precision is None
    assert any("whether TF32 was allowed, is not known" in note for note in facts.notes)


def test_an_engine_of_another_version_is_unsupported(
    major: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = prebuilt(convolution(1).write(tmp_path), tmp_path)
    monkeypatch.setattr(fake_tensorrt.Runtime, "version", "10.99.0")
    with pytest.raises(UnsupportedError, match=r"of version 1\d\.\d+\.\d, this is 10\.99\.0") as no:
        backend().open(engine, {})
    assert "build the engine with this TensorRT" in no.value.fix


def test_options_of_a_build_come_too_late_for_an_engine(major: int, tmp_path: Path) -> None:
    engine = prebuilt(convolution(1).write(tmp_path), tmp_path)
    with pytest.raises(UnsupportedError, match="tf32 decides how one is built"):
        backend().open(engine, {"tf32": True})


def test_names_that_do_not_match_are_refused(major: int, tmp_path: Path) -> None:
    made = opened(convolution(1).write(tmp_path), tmp_path)
    with pytest.raises(UnsupportedError, match="the engine's inputs are image, not picture"):
        made.prepare({"picture": np.zeros((1, 3, 8, 8), np.float32)})


# --- open axes ----------------------------------------------------------------------------------

PROFILE = "image=1x3x8x8:2x3x8x8:4x3x8x8"


def test_open_axes_need_a_profile(major: int, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="open axes and need a profile: image"):
        opened(dynamic(tmp_path), tmp_path)


def test_one_engine_runs_every_size_of_its_profile(major: int, tmp_path: Path) -> None:
    made = opened(dynamic(tmp_path), tmp_path, profile=PROFILE)
    assert made.inputs[0].shape == (None, 3, 8, 8)
    for size in (1, 4, 2):
        case = convolution(size)
        assert answer(made, case)["logits"].shape == (size, 5)
        assert error(made, case) < 1e-5
    with pytest.raises(UnsupportedError, match="does not fit"):
        answer(made, convolution(5))


def test_a_profile_without_open_axes_is_refused(major: int, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="no profile has an effect"):
        opened(convolution(1).write(tmp_path), tmp_path, profile=PROFILE)


def test_a_profile_that_shrinks_or_is_of_another_rank_is_refused(
    major: int, tmp_path: Path
) -> None:
    model = dynamic(tmp_path)
    with pytest.raises(UnsupportedError, match="TensorRT refuses the profile"):
        opened(model, tmp_path, profile="image=8x3x8x8:4x3x8x8:1x3x8x8")
    with pytest.raises(UnsupportedError, match="another rank"):
        opened(model, tmp_path, profile="image=1x3:4x3:8x3")


def test_a_profile_that_makes_no_sense_is_refused() -> None:
    assert build_engine.parse_profile("a=1x2:3x4:5x6+b=1:2:3")["b"] == ((1,), (2,), (3,))
    with pytest.raises(UnsupportedError, match="is no NAME=LEAST:USUAL:MOST"):
        build_engine.parse_profile("image=1x3")


def test_a_cuda_graph_holds_one_shape(major: int, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="a CUDA graph holds one shape"):
        opened(dynamic(tmp_path), tmp_path, profile=PROFILE, cuda_graph=True)


# --- DLA ----------------------------------------------------------------------------------------


@pytest.fixture
def orin(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An AGX Orin with JetPack 6.1, whose TensorRT 10.3 drives two DLA cores."""
    fake = install(monkeypatch, 10, "10.3.0")
    monkeypatch.setattr(build_engine, "read_board", lambda: ORIN)
    monkeypatch.setattr(fake_tensorrt.Builder, "num_DLA_cores", 2)
    return fake


def half(folder: Path) -> ModelFile:
    return replace(convolution(1).write(folder), precision="fp16")


def test_layers_the_dla_cannot_run_are_no_silent_fallback(orin: Any, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="1 of 4 layers cannot run on the DLA: Gemm_3"):
        opened(half(tmp_path), tmp_path, dla_core=0)


def test_a_fallback_that_was_asked_for_is_counted(orin: Any, tmp_path: Path) -> None:
    made = opened(half(tmp_path), tmp_path, dla_core=1, dla_gpu_fallback=True)
    facts = made.effective()
    assert facts.device == "dla:1"
    assert facts.providers == {"DLA": 3, "GPU": 1}
    assert facts.options["typing"] == "weak"
    assert "1 layers fell back from the DLA to the GPU" in facts.notes


@pytest.mark.parametrize(
    ("options", "precision", "why"),
    [
        ({"dla_core": 2, "dla_gpu_fallback": True}, "fp16", "no DLA core 2: TensorRT finds 2"),
        ({"dla_core": 0}, "fp32", "fp16 and int8 only, not in fp32"),
        ({"dla_core": 0}, "int8-static", "int8 from a calibrator only"),
        ({"dla_core": 0, "typing": "strong"}, "fp16", "takes no strongly typed network"),
        ({"dla_gpu_fallback": True}, "fp16", "goes with dla_core"),
    ],
)
def test_precisions_that_a_dla_lacks_are_refused(
    orin: Any, tmp_path: Path, options: dict[str, Any], precision: str, why: str
) -> None:
    with pytest.raises(UnsupportedError, match=why):
        opened(replace(half(tmp_path), precision=precision), tmp_path, **options)


def test_a_tensorrt_without_dla_says_so(major: int, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="drives a DLA on Jetson boards only"):
        opened(half(tmp_path), tmp_path, dla_core=0)


# --- running ------------------------------------------------------------------------------------


def test_a_run_that_does_not_wait_would_be_noticed(
    major: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fake computes when somebody waits: without, the kit's parity tests see old outputs."""
    case = convolution(1)
    made = opened(case.write(tmp_path), tmp_path)
    monkeypatch.setattr(fake_tensorrt_cuda.Stream, "drain", lambda self: None)
    assert error(made, case) > 0.5


def test_transfers_and_computation_are_told_apart(major: int, tmp_path: Path) -> None:
    case = two_by_two()
    made = opened(case.write(tmp_path), tmp_path)
    queries = [made.prepare(case.feeds(seed)) for seed in range(3)]
    times = made.device_times(queries)
    assert times is not None
    for part in (times.host_to_device_ns, times.compute_ns, times.device_to_host_ns):
        assert len(part) == 3
        assert all(value > 0 for value in part)
    assert list(times.layers_ns) == ["MatMul_0", "Mul_1", "Sub_2"]
    assert times.source.startswith("CUDA events")
    assert error(made, case) < 1e-5  # profiling left the session as it was


def test_layers_are_profiled_run_by_run(major: int, tmp_path: Path) -> None:
    case = two_by_two()
    made = opened(case.write(tmp_path), tmp_path)
    profile = made.profile([case.feeds(seed) for seed in range(2)], runs=3)
    assert [each.name for each in profile.operators] == ["MatMul_0", "Mul_1", "Sub_2"]
    assert all(len(each.times_ns) == 3 for each in profile.operators)
    assert len(profile.runs_ns) == 3
    assert {each.nodes for each in profile.operators} == {None}, "TensorRT does not tell them"
    assert profile.operators[0].device == "cuda:0"
    assert error(made, case) < 1e-5


def test_memory_is_the_fall_of_free_device_memory(
    major: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = opened(convolution(1).write(tmp_path), tmp_path)
    size_bytes, source = made.device_memory()
    assert size_bytes is not None
    assert size_bytes >= fake_tensorrt_cuda.CONTEXT_BYTES
    assert source.startswith("cudaMemGetInfo")
    monkeypatch.setattr(fake_tensorrt_cuda, "cudaMemGetInfo", lambda: (0, 1 << 40, 1 << 40))
    size_bytes, source = made.device_memory()
    assert size_bytes is None
    assert "did not fall" in source


def test_unified_memory_is_called_an_upper_bound(
    major: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_tensorrt_cuda.cudaDeviceProp, "integrated", 1)
    _, source = opened(convolution(1).write(tmp_path), tmp_path).device_memory()
    assert "an upper bound" in source


def test_waiting_sleeps_unless_asked_to_spin(major: int, tmp_path: Path) -> None:
    model = convolution(1).write(tmp_path)
    assert opened(model, tmp_path).effective().options["spin_wait"] is False
    assert opened(model, tmp_path, spin_wait=True).effective().options["spin_wait"] is True


def test_closing_frees_device_and_host_memory(major: int, tmp_path: Path) -> None:
    case = convolution(1)
    made = opened(case.write(tmp_path), tmp_path, cuda_graph=True)
    prepared = made.prepare(case.feeds(0))
    made.run(prepared)
    made.close()
    del prepared
    assert fake_tensorrt_cuda.device == {}
    assert fake_tensorrt_cuda.host == {}
    with pytest.raises(RuntimeError, match="the session is closed"):
        made.run(None)


def test_buffers_of_dropped_queries_are_used_again(major: int, tmp_path: Path) -> None:
    case = convolution(1)
    made = opened(case.write(tmp_path), tmp_path)
    made.prepare(case.feeds(0))
    held = len(fake_tensorrt_cuda.host)
    for seed in range(5):
        made.prepare(case.feeds(seed))
    assert len(fake_tensorrt_cuda.host) == held


def test_an_error_of_cuda_is_named(
    major: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = convolution(1)
    made = opened(case.write(tmp_path), tmp_path)
    prepared = made.prepare(case.feeds(0))
    fake_tensorrt_cuda.device.clear()
    with pytest.raises(CudaError, match="copy to the device: cudaErrorInvalidValue"):
        made.run(prepared)
    model = convolution(4).write(tmp_path)
    engine = converted(model, tmp_path)
    monkeypatch.setattr(fake_tensorrt_cuda, "cudaMalloc", lambda size: (2, 0))
    with pytest.raises(UnsupportedError, match="cudaErrorMemoryAllocation"):
        backend().open(engine, {})


def test_without_detailed_verbosity_precision_is_unknown(major: int, tmp_path: Path) -> None:
    model = convolution(1).write(tmp_path)
    path = tmp_path / "names.engine"
    content = pickle.loads(converted(model, tmp_path).path.read_bytes())
    path.write_bytes(pickle.dumps({**content, "detailed": False}))
    made = backend().open(replace(model, path=path, format="engine", precision="as-is"), {})
    facts = made.effective()
    assert facts.precision is None
    assert "built without detailed verbosity: precisions are not known" in facts.notes
