"""Lists what edgebench claims to do on hardware, each with what supports it where nobody has run it there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: What holds a claim that no file of results/hardware holds: a fake of the interface, or nothing.
HeldBy = Literal["fake", "never"]


@dataclass(frozen=True)
class Claim:
    """One line of docs/hardware.md. `key` is stable: it stands in files."""

    key: str
    title: str
    held_by: HeldBy = "fake"


def _backend(name: str, title: str, held_by: HeldBy = "never") -> Claim:
    return Claim(f"backend.{name}", f"backend {name}: {title}", held_by)


def _meter(name: str, title: str) -> Claim:
    return Claim(f"energy.{name}", f"energy {name}: {title}")


BACKENDS = (
    _backend("ort", "ONNX Runtime on a CPU"),
    _backend("openvino", "OpenVINO on a CPU"),
    _backend("litert", "LiteRT on a CPU"),
    _backend("ncnn", "ncnn on a CPU"),
    _backend("mlx", "MLX, its CPU build"),
    _backend("executorch", "ExecuTorch on a CPU"),
    _backend("llama_cpp", "llama.cpp on a CPU"),
    _backend("ort_genai", "ONNX Runtime GenAI on a CPU"),
    _backend("openvino_genai", "OpenVINO GenAI on a CPU"),
    Claim("backend.mlx.metal", "backend mlx: Metal on a Mac", "never"),
    Claim("backend.mlx.cuda", "backend mlx: CUDA on Linux", "never"),
    _backend("trt", "TensorRT engines on a GPU", "fake"),
    Claim("backend.trt.build", "backend trt: parser and builder", "fake"),
    Claim("backend.trt.dla", "backend trt: DLA of a Jetson"),
)
METERS = (
    _meter("ina238", "Jetson Thor's input"),
    _meter("ina3221", "Jetsons, JetPack 5 and later"),
    _meter("ina3221_iio", "Jetsons, JetPack 4"),
    _meter("pmic_read_adc", "Raspberry Pi 5"),
    _meter("rapl", "Intel and AMD processors"),
    _meter("hwmon", "other chips of hwmon"),
    _meter("battery", "a battery's gauge"),
    _meter("nvml", "NVIDIA GPUs"),
    _meter("ioreport", "Macs with Apple chips"),
    _meter("powermetrics", "Macs, as root"),
    _meter("joulescope", "an instrument at USB"),
)
#: How a meter answers to a load that is known. They hold for the source that a run would use.
LOAD = (
    Claim("meter.follows", "the meter follows idle, one core, all cores", "never"),
    Claim("meter.rate", "the meter updates as often as stated", "never"),
    Claim("meter.sum", "a long window is the sum of short ones", "fake"),
)
STATE = (
    Claim("state.temperature", "temperature and trip points are read"),
    Claim("state.thermal_throttle", "counters of thermal throttling are read"),
    Claim("state.cooling_throttle", "cooling devices that slow a processor are read"),
    Claim("state.overcurrent", "over-current counters of a Jetson are read"),
    Claim("state.pi_throttled", "flags of a Raspberry Pi are read"),
    Claim("state.gpu_throttle", "clocks event reasons of an NVIDIA GPU are read"),
    Claim("state.thermal_pressure", "thermal pressure of a Mac is read"),
    Claim("state.power_mode", "the power mode is read"),
    Claim("state.battery", "a battery that drains is told"),
    Claim("state.clocks", "clocks rise under load and are read"),
)
RUNS = (
    Claim("run.quick", "a short quick measures and is valid", "never"),
    Claim("run.aarch64", "the wheel and its runtimes on aarch64", "never"),
)
CLAIMS = (*BACKENDS, *METERS, *LOAD, *STATE, *RUNS)
BY_KEY = {claim.key: claim for claim in CLAIMS}
