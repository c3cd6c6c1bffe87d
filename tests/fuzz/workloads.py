"""Workload definitions, as `list workloads` and `schema` read and print them."""

from __future__ import annotations

import re
from pathlib import Path

from edgebench.definitions.variant_matrix import expand
from edgebench.definitions.workload_loader import load_workload

_NAME = re.compile(rb"^name: *([a-z0-9._-]{1,64})$", re.MULTILINE)
_FOLDER = Path(__file__).parents[2] / "workloads"
SEEDS = [path.read_bytes() for path in sorted(_FOLDER.glob("*.yaml"))]


def read(data: bytes, folder: Path) -> None:
    name = _NAME.search(data)
    file = folder / (f"{name[1].decode()}.yaml" if name else "unnamed.yaml")
    file.write_bytes(data)
    workload = load_workload(file)
    expand(workload.matrix)
