"""Inventories of devices: read, matched with a machine's facts, and listed."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from edgebench.cli import cli
from edgebench.definitions.device_inventory import load_devices, with_declared
from edgebench.record import DeviceFacts

SEEDS = [
    (Path(__file__).parents[2] / "devices.yaml").read_bytes(),
    b"""devices:
  - name: desk
    title: "A machine \\u00fc"
    match: {cpu_model: '*', virtualised: false}
    power_mode: 2
    energy_total: [VDD_IN, VDD_SOC]
    limits: {latency.p99: 30ms, memory.peak: 1.5GiB, energy.average_w: 7.5}
""",
]
FACTS = DeviceFacts(name="desk", facts={"cpu_model": "Example CPU", "virtualised": False})


def read(data: bytes, folder: Path) -> None:
    file = folder / "devices.yaml"
    file.write_bytes(data)
    with_declared(FACTS, load_devices(file))
    with contextlib.redirect_stdout(io.StringIO()):
        cli.main(["list", "devices", "--devices", str(file)], standalone_mode=False)
