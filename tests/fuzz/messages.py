"""What a worker says on the pipe of its results: anything else is the reason of a failed row."""

from __future__ import annotations

from pathlib import Path

from edgebench.files.json_lines import encoded
from edgebench.measure.launch_worker import _message
from edgebench.measure.worker_messages import Done, Phase, encode_message
from tests.records import generating, replicate

SEEDS = [
    encode_message(Phase("warm-up", 2.0)),
    encode_message(Done(replicate(0, list(range(1000, 1012))), "c" * 64)),
    encode_message(Done(generating(1, tokens=3, requests=2))),
]


def read(data: bytes, folder: Path) -> None:
    encoded(_message(data, "warm-up"))
