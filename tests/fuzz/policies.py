"""Policies of the gate, up to the requests and demands that they make."""

from __future__ import annotations

from pathlib import Path

from edgebench.gate.absolute_limits import parse_limit
from edgebench.gate.policy import load_policy
from edgebench.gate.policy_requests import demands_of, requests_of

SEEDS = [
    b"""base: precision=fp32
head: precision=int8-static
cells:
  - workload: image-classification
    set: {threads: [1, 2], batch: 1}
    tolerances: {latency: {tau: 0.01, delta: 0.05}}
    quality: 0.85
  - workload: file-typing
budget: 60s
alpha: 0.01
tolerances:
  memory.peak: {tau: 0.02}
limits: ["latency.p99 <= 30 ms", "memory.peak <= 512MiB"]
inconclusive: pass
""",
    b"suite: quick\nbase: [ort]\nhead: ['onnxruntime==1.30.0']\nparity: 0.001\n",
    b"base: git:main\nhead: git:HEAD\nbuild: make model\nartifact: out/model.onnx\nbudget: 5min\n",
]


def read(data: bytes, folder: Path) -> None:
    file = folder / "gate.yaml"
    file.write_bytes(data)
    policy = load_policy(file)
    demands_of(policy)
    for text in policy.limits:
        parse_limit(text)
    requests_of(policy, file)
