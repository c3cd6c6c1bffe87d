"""Our use of TensorRT held against NVIDIA's own files: type stubs of 10.13, bindings of 10 and 11.

The bindings come as wheels without TensorRT's libraries. Python asks for those libraries when it
loads the module, and calls nothing of them: empty ones, compiled here, let every name, enumeration
value and signature be read on a machine without a GPU. Nothing of NVIDIA's is kept.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
pytestmark = [
    pytest.mark.downloads,
    pytest.mark.skipif(
        sys.platform != "linux" or os.uname().machine != "x86_64", reason="wheels for Linux x86-64"
    ),
]

#: First and newest bindings of each major version, and those of JetPack 6.1.
BINDINGS = {
    "10 newest": (10, "tensorrt-cu12-bindings>=10.13,<11"),
    "10 first": (10, "tensorrt-cu12-bindings==10.0.1"),
    "10 JetPack 6.1": (10, "tensorrt-cu12-bindings==10.3.*"),
    "11 first": (11, "tensorrt-cu13-bindings==11.0.*"),
    "11 newest": (11, "tensorrt-cu13-bindings>=11.4,<12"),
}
STUBS = "tensorrt-stubs==10.13.0.35.1"

#: What the bindings take from TensorRT's libraries: functions that only a call would need.
SYMBOLS = (
    *("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL"),
    *("createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getPluginRegistry"),
    *("getBuilderPluginRegistry", "getNvOnnxParserVersion", "initLibNvInferPlugins"),
    "getInferLibVersion",
)

#: Printed by a process that has loaded the real module: class -> member -> value or signature.
READ = """
import json, tensorrt_bindings as trt
found = {}
for name, kind in vars(trt).items():
    if isinstance(kind, type):
        values = {k: int(v) for k, v in getattr(kind, "__members__", {}).items()}
        found[name] = {
            k: values.get(k, (getattr(getattr(kind, k, None), "__doc__", None) or ""))
            for k in dir(kind)
        }
found[""] = {name: "" for name, value in vars(trt).items() if not isinstance(value, type)}
print(json.dumps(found, default=str))
"""


def download(requirement: str, folder: Path) -> Path:
    """Unpacks the wheel of a requirement into `folder`; its dependencies stay where they are."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    done = subprocess.run(
        [*command, "--dest", str(folder / "wheels"), requirement],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode:
        pytest.skip(f"{requirement} cannot be had: {done.stderr.strip().splitlines()[-1]}")
    [wheel] = (folder / "wheels").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


@pytest.fixture(scope="module", params=sorted(BINDINGS))
def real(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, dict[str, dict[str, Any]]]:
    """Major version, and every class of the real bindings with its members."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for empty libraries")
    major, requirement = BINDINGS[request.param]
    folder = tmp_path_factory.mktemp(f"tensorrt{major}")
    unpacked = download(requirement, folder)
    source = folder / "empty.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in SYMBOLS))
    for library in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        name = f"lib{library}.so.{major}"
        flags = ["-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(folder / name)]
        subprocess.run([compiler, *flags, str(source)], check=True)
    done = subprocess.run(
        [sys.executable, "-c", READ],
        env={**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return major, json.loads(done.stdout)


def fake(major: int) -> Any:
    import importlib

    return importlib.import_module(f"edgebench.testing.fake_tensorrt{major}")


def public(kind: type) -> dict[str, Any]:
    """Members of a fake's class that stand for TensorRT's."""
    return {
        name: value
        for base in kind.__mro__
        if base.__module__.startswith("edgebench.")
        for name, value in vars(base).items()
        if not name.startswith("_")
    }


def test_every_name_of_the_fake_is_in_the_bindings(
    real: tuple[int, dict[str, dict[str, Any]]],
) -> None:
    """The backend runs on the fakes; so every name it uses is in the real module, or this fails."""
    major, classes = real
    checked = 0
    for name in fake(major).__all__:
        value = getattr(fake(major), name)
        if not isinstance(value, type):
            assert name in classes[""], name
            continue
        assert name in classes, name
        for member in public(value):
            if (name, member) == ("Runtime", "version"):
                continue  # the fake's own: which version it plays
            assert member in classes[name], f"TensorRT {major} has no {name}.{member}"
            checked += 1
    assert checked > 60


def test_numbers_of_enumerations_are_the_same(
    real: tuple[int, dict[str, dict[str, Any]]],
) -> None:
    major, classes = real
    from enum import IntEnum

    for name in fake(major).__all__:
        kind = getattr(fake(major), name)
        if isinstance(kind, type) and issubclass(kind, IntEnum):
            for member in kind:
                assert classes[name][member.name] == int(member), f"{name}.{member.name}"


def test_parameters_have_the_same_names(real: tuple[int, dict[str, dict[str, Any]]]) -> None:
    major, classes = real
    import inspect

    checked = 0
    for name in fake(major).__all__:
        kind = getattr(fake(major), name)
        if not isinstance(kind, type):
            continue
        for member, value in public(kind).items():
            text = classes[name].get(member)
            if not inspect.isfunction(value) or not isinstance(text, str) or "(self" not in text:
                continue
            ours = [p for p in inspect.signature(value).parameters if p != "self"]
            real_ones = re.findall(r"[(,] (\w+):|\(self: [^,)]*, (\w+):", text.split("->")[0])
            theirs = {first or second for first, second in real_ones}
            assert set(ours) <= theirs, f"{name}.{member}{ours}: TensorRT {major} says {text[:200]}"
            checked += 1
    assert checked > 25


def test_fake_of_tensorrt_11_lacks_what_11_removed(
    real: tuple[int, dict[str, dict[str, Any]]],
) -> None:
    major, classes = real
    assert (
        ("FP16" in classes["BuilderFlag"])
        == (major == 10)
        == hasattr(fake(major).BuilderFlag, "FP16")
    )
    assert ("IInt8Calibrator" in classes) == (major == 10)


#: Calls that need no more than a driver, with arguments; without one they fail in their own form.
CUDA_CALLS: dict[str, list[int]] = {
    "cudaMemGetInfo": [],
    "cudaMalloc": [1],
    "cudaMallocHost": [1],
    "cudaGetDeviceFlags": [],
    "cudaSetDeviceFlags": [4],
    "cudaDriverGetVersion": [],
    "cudaGetDeviceProperties": [0],
    "cudaStreamCreateWithFlags": [1],
    "cudaEventCreateWithFlags": [0],
}
READ_CUDA = f"""
import inspect, json
from cuda.bindings import runtime
enums = {{
    name: {{k: int(getattr(kind, k)) for k in dir(kind) if k.startswith("cuda")}}
    for name in ("cudaError_t", "cudaMemcpyKind", "cudaStreamCaptureMode")
    for kind in [getattr(runtime, name)]
}}
found = {{n: (v if isinstance(v, int) else (getattr(v, "__doc__", None) or "").partition(chr(10))[0])
         for n, v in vars(runtime).items() if n.startswith("cuda")}}
sizes = {{name: len(getattr(runtime, name)(*given)) for name, given in {CUDA_CALLS!r}.items()}}
print(json.dumps([found, enums, sizes, dir(runtime.cudaDeviceProp)], default=str))
"""


@pytest.mark.parametrize("requirement", ["cuda-bindings>=12.6,<13", "cuda-bindings>=13,<14"])
def test_calls_of_cuda_have_their_form(requirement: str, tmp_path: Path) -> None:
    """Names, parameters, numbers and how many results each call returns."""
    import inspect

    from edgebench.testing import fake_tensorrt_cuda as ours

    paths = [download(requirement, tmp_path / "a"), download("cuda-pathfinder", tmp_path / "b")]
    done = subprocess.run(
        [sys.executable, "-c", READ_CUDA],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found, enums, sizes, properties = json.loads(done.stdout)
    for name, value in vars(ours).items():
        if not name.startswith("cuda"):
            continue
        assert name in found, f"{requirement} has no {name}"
        if isinstance(value, int):
            assert found[name] == value, name
        elif inspect.isfunction(value):
            theirs = re.sub(r"^[^(]*|[()]", "", found[name])
            count = len([part for part in theirs.split(",") if part.strip()])
            assert len(inspect.signature(value).parameters) == count, found[name]
    for name, members in enums.items():
        for member in getattr(ours, name):
            if name != "cudaError_t" or member.value < 3:
                assert members[member.name] == member.value
    assert {"name", "major", "minor", "integrated"} <= set(properties)
    for name, given in CUDA_CALLS.items():
        assert len(getattr(ours, name)(*given)) == sizes[name], name


def test_types_hold_against_the_stubs(tmp_path: Path) -> None:
    """mypy --strict over the backend with the stubs of 10.13 in sight; no finding in our files."""
    pytest.importorskip("mypy")
    stubs = download(STUBS, tmp_path)
    mended = stubs / "tensorrt_bindings/tensorrt.pyi"
    text = mended.read_text()
    # The published file does not parse: `in` as a parameter, and one without default after others.
    text = re.sub(r"\bin: list\[", "in_: list[", text)
    mended.write_text(
        text.replace("channel_axis: int) -> IScaleLayer", "channel_axis: int = ...) -> IScaleLayer")
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "mypy"), "backends/trt"],
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": str(stubs)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert "checked" in done.stdout, done.stdout + done.stderr  # not stopped by a syntax error
    ours = [line for line in done.stdout.splitlines() if line.startswith("backends/")]
    assert ours == []
    assert (
        "tensorrt.pyi" in done.stdout
    )  # the stubs were really read: they are not clean themselves
