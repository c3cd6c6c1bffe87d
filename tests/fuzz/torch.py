"""PyTorch's state dicts, in the zip and the legacy layout; the seeds were written by the tests' helpers."""

from __future__ import annotations

from pathlib import Path

from edgebench.models.torch_weights import load_state_dict

SEEDS = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("seeds/torch/*.pth"))]


def read(data: bytes, folder: Path) -> None:
    path = folder / "weights.pth"
    path.write_bytes(data)
    load_state_dict(path)
