"""NVIDIA's own parser and builder, without a GPU: `make test-tensorrt-rtx`.

Every workload's file is built in every precision that the backend offers, open axes by a profile, and the decoder of standard
operators. Where a fake and the real library both answer, both answers are compared.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgebench import registry
from edgebench.backend import ModelFile, Ready, Scalar
from edgebench.backends.trt import build_engine, library
from edgebench.backends.trt.supported_platforms import CAPABILITIES
from edgebench.definitions.workload import Workload
from edgebench.definitions.workload_loader import load_workloads
from edgebench.errors import UnsupportedError
from edgebench.models import quantize
from edgebench.models.onnx_file import load_model, save_model
from edgebench.testing.models import convolution
from tests.tasks.test_workloads_quick import prepared

FOUND = library.find()
pytestmark = [
    pytest.mark.tensorrt_rtx,
    pytest.mark.slow,
    pytest.mark.skipif(
        FOUND is None or not FOUND.rtx,
        reason="TensorRT for RTX is not installed, or another TensorRT is: pip install 'edgebench[tensorrt-rtx]' (x86-64)",
    ),
]
PRECISIONS = ("fp32", "fp16", "int8-static")
#: Workloads whose model is an ONNX file, and no decoder.
NAMES = sorted(
    name
    for name, workload in load_workloads().items()
    if "generate" not in workload.scenarios and name not in ("face-detection", "wake-word")
)
#: What NVIDIA's builder refuses today, with its words.
REFUSED: dict[tuple[str, str], str] = {}
CAPABILITY = 86


def built(model: ModelFile, folder: Path, **options: Scalar) -> build_engine.Facts:
    """The facts of an engine that the backend builds."""
    asked = {"compute_capability": CAPABILITY, **options}
    made = registry.load("trt").convert(model, asked, folder)
    facts = build_engine.read_facts(made.path)
    assert facts is not None
    return facts


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prepared")


@pytest.mark.downloads
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NAMES)
def test_every_workload_is_built(name: str, precision: str, cache: Path, tmp_path: Path) -> None:
    from edgebench.assets import fetch

    workload: Workload = load_workloads()[name]
    paths = fetch([workload.model, *workload.data.values()])
    try:
        made = prepared(workload, precision, paths, cache)
    except UnsupportedError as why:
        pytest.skip(f"the workload has no such file: {why.message}")
    model = ModelFile(Path(made.path), "onnx", made.sha256, precision=precision)
    refused = REFUSED.get((name, precision))
    if refused is not None:
        with pytest.raises(UnsupportedError, match=refused):
            built(model, tmp_path)
        return
    facts = built(model, tmp_path)
    assert facts.engine_layers
    assert facts.size_bytes
    print(f"{name} {precision}: {facts.in_words()}")


def test_a_decoder_of_standard_operators_is_built(tmp_path: Path) -> None:
    from edgebench.models.llm.gguf_file import GgufFile
    from edgebench.models.llm.onnx_standard import write_standard_decoder
    from edgebench.testing.decoders import write_decoder

    gguf = write_decoder(tmp_path / "tiny.gguf")
    path = tmp_path / "decoder.onnx"
    write_standard_decoder(GgufFile(gguf.path), path, "fp16")
    model = ModelFile(path, "onnx", "3" * 64, precision="as-is")
    assert built(model, tmp_path / "cache", profile=_profile_of(path)).engine_layers


#: Least, usual and most of a decoder's open axes: what it attends to is what came before and what is new.
_AXES = {"batch": (1, 1, 1), "tokens": (1, 8, 32), "past": (1, 8, 32), "total": (2, 16, 64)}


def _profile_of(path: Path) -> str:
    parts = []
    for value in load_model(path).graph.input:
        dims = value.type.tensor_type.shape.dim
        shapes = [
            "x".join(
                str(_AXES[dim.dim_param][place] if dim.dim_param else dim.dim_value) for dim in dims
            )
            for place in range(3)
        ]
        parts.append(f"{value.name}={':'.join(shapes)}")
    return "+".join(parts)


def test_open_axes_are_built_by_their_profile(tmp_path: Path) -> None:
    model = _dynamic(tmp_path)
    with pytest.raises(UnsupportedError, match="open axes and need a profile: image"):
        built(model, tmp_path)
    assert built(model, tmp_path, profile="image=1x3x8x8:4x3x8x8:8x3x8x8").engine_layers
    with pytest.raises(UnsupportedError):  # the most is less than the least
        built(model, tmp_path, profile="image=8x3x8x8:4x3x8x8:1x3x8x8")


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_every_capability_that_is_offered_is_built_for(tmp_path: Path, capability: int) -> None:
    model = replace(convolution(1).write(tmp_path), precision="fp16")
    facts = built(model, tmp_path, compute_capability=capability)
    assert f"compute capability {capability / 10:.1f}, ahead of time" in facts.in_words()


def test_turing_multiplies_no_fp32_and_the_row_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"Turing \(SM75\): FP32 GEMM is not supported"):
        built(convolution(1).write(tmp_path), tmp_path, compute_capability=75)


def test_without_a_gpu_the_row_says_what_was_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "edgebench.backends.trt.driver.problem",
        lambda jetson: ("there is no NVIDIA driver", "install it"),
    )
    backend = registry.load("trt")
    state = backend.availability()
    assert isinstance(state, Ready)
    assert state.builds_only
    assert "cannot run here: there is no NVIDIA driver" in state.note
    options: dict[str, Scalar] = {"compute_capability": CAPABILITY}
    made = backend.convert(convolution(1).write(tmp_path), options, tmp_path)
    with pytest.raises(
        UnsupportedError, match=r"built, cannot run here: .* compute-heavy: \d+ in fp32"
    ):
        backend.open(made, options)


def test_what_a_layer_computes_in_is_what_was_asked(tmp_path: Path) -> None:
    """The builder's own words, of a convolution and of a matrix product."""
    case = convolution(1)
    model = case.write(tmp_path)
    assert set(built(model, tmp_path).engine_precisions) == {"fp32"}
    assert set(built(replace(model, precision="fp16"), tmp_path).engine_precisions) == {"fp16"}
    quantised = tmp_path / "quantised.onnx"
    items = [case.feeds(seed) for seed in range(8)]
    save_model(quantize.quantize_static(load_model(model.path), items, 1), quantised)
    int8 = built(ModelFile(quantised, "onnx", "1" * 64, precision="int8-static"), tmp_path)
    assert "int8" in int8.engine_precisions


# The fakes against the library, where both answer


class _Real:
    """The objects that a build needs, of the real library or of a fake."""

    def __init__(self, trt: Any) -> None:
        base: Any = trt.ILogger

        class Logger(base):
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, msg: str) -> None:
                pass

        self.trt = trt
        self.logger = Logger()
        self.builder = trt.Builder(self.logger)
        strong = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        self.network = self.builder.create_network(strong)
        self.config = self.builder.create_builder_config()
        self.parser = trt.OnnxParser(self.network, self.logger)


def _parsed_nonsense(at: _Real, folder: Path) -> Any:
    folder.mkdir(exist_ok=True)
    (folder / "x.onnx").write_bytes(b"nonsense")
    return at.parser.parse_from_file(str(folder / "x.onnx")), at.parser.num_errors > 0


def _with_profile(at: _Real, folder: Path, *shapes: tuple[int, ...]) -> Any:
    """What adding a profile of least, usual and most answers, and how many there are then."""
    parsed = at.parser.parse_from_file(str(_dynamic(folder).path))
    profile = at.builder.create_optimization_profile()
    told = profile.set_shape("image", *(at.trt.Dims(shape) for shape in shapes))
    added = at.config.add_optimization_profile(profile)
    return parsed, told, added, at.config.num_optimization_profiles


def _dynamic(folder: Path) -> ModelFile:
    """The convolution with an open leading axis."""
    model = load_model(convolution(1).write(folder).path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    path = folder / "dynamic.onnx"
    save_model(model, path)
    return ModelFile(path, "onnx", "2" * 64, precision="fp32")


ANSWERS: dict[str, Callable[[_Real, Path], Any]] = {
    "TF32 is on before anybody asks": lambda at, _: bool(
        at.config.get_flag(at.trt.BuilderFlag.TF32)
    ),
    "the optimisation level is 3": lambda at, _: at.config.builder_optimization_level,
    "a network begins empty": lambda at, _: (at.network.num_layers, at.network.num_inputs),
    "a parser without a fault has no errors": lambda at, folder: (
        at.parser.parse_from_file(str(convolution(1).write(folder).path)),
        at.parser.num_errors,
        at.network.num_inputs,
        at.network.get_input(0).name,
        tuple(at.network.get_input(0).shape),
    ),
    "what is no ONNX is not parsed": _parsed_nonsense,
    "an open axis is -1": lambda at, folder: (
        at.parser.parse_from_file(str(_dynamic(folder).path)),
        tuple(at.network.get_input(0).shape),
    ),
    "what is not there is None": lambda at, folder: (
        at.parser.parse_from_file(str(convolution(1).write(folder).path)),
        at.network.get_input(99),
        at.network.get_layer(999),
    ),
    "a profile that grows is added": lambda at, folder: _with_profile(
        at, folder, (1, 3, 8, 8), (4, 3, 8, 8), (8, 3, 8, 8)
    ),
    "a profile that shrinks is refused where it is added": lambda at, folder: _with_profile(
        at, folder, (8, 3, 8, 8), (4, 3, 8, 8), (1, 3, 8, 8)
    ),
    "a profile of two ranks is refused where it is added": lambda at, folder: _with_profile(
        at, folder, (1, 3), (4, 3, 8, 8), (8, 3, 8, 8)
    ),
    "a profile of another rank builds nothing": lambda at, folder: (
        _with_profile(at, folder, (1, 3), (4, 3), (8, 3)),
        at.builder.build_serialized_network(at.network, at.config),
    ),
    "open axes without a profile build nothing": lambda at, folder: (
        at.parser.parse_from_file(str(_dynamic(folder).path)),
        at.builder.build_serialized_network(at.network, at.config),
    ),
    "the memory of a build is read back": lambda at, _: (
        at.config.set_memory_pool_limit(at.trt.MemoryPoolType.WORKSPACE, 1 << 20),
        at.config.get_memory_pool_limit(at.trt.MemoryPoolType.WORKSPACE),
    ),
    "a flag that is cleared stays so": lambda at, _: (
        at.config.clear_flag(at.trt.BuilderFlag.TF32),
        bool(at.config.get_flag(at.trt.BuilderFlag.TF32)),
    ),
    "there is no DLA": lambda at, _: at.builder.num_DLA_cores,
}


@pytest.mark.parametrize("what", ANSWERS)
def test_the_newest_fake_answers_as_the_library_does(what: str, tmp_path: Path) -> None:
    fake = importlib.import_module("edgebench.testing.fake_tensorrt11")
    real = ANSWERS[what](_Real(library.load()), tmp_path)
    assert ANSWERS[what](_Real(fake), tmp_path) == real


def test_dynamic_int8_is_refused_with_nvidias_words(tmp_path: Path) -> None:
    source = convolution(1).write(tmp_path)
    path = tmp_path / "dynamic-int8.onnx"
    save_model(quantize.quantize_dynamic(load_model(source.path)), path)
    with pytest.raises(UnsupportedError, match=r"DynamicQuantizeLinear|ConvInteger|MatMulInteger"):
        built(ModelFile(path, "onnx", "4" * 64, precision="as-is"), tmp_path)
