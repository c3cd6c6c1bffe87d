"""Loads as `edgebench run` makes them, with a stateful model of one's own and a real runtime."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.onnx_models import model

WORKLOAD = """
name: {name}
version: 1
title: A filter with a state
task: seeded_inputs
model: {{ uri: "file:filter.onnx", sha256: {sha256}, license: none }}
quality: {{ metric: parity_error, ceiling: 0.001 }}
stream: {{ hop_s: 0.005, lookahead_s: 0.01, state: {{ {state} }} }}
matrix: {{ axes: {{ precision: [as-is], threads: [1] }} }}
"""


def rows_of(folder: Path, *arguments: str, state: str = "past: now") -> list[dict[str, Any]]:
    """The rows of a run of a filter: now = past / 2 + x W, y = now V."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(0, 1, (4, 8)),
        "v": rng.normal(0, 1, (8, 2)),
        "half": np.array(0.5),
    }
    made = model(
        [
            ("MatMul", ["x", "w"], "fresh", {}),
            ("Mul", ["past", "half"], "faded", {}),
            ("Add", ["fresh", "faded"], "now", {}),
            ("MatMul", ["now", "v"], "y", {}),
        ],
        {"x": [1, 4], "past": [1, 8]},
        {"y": [1, 2], "now": [1, 8]},
        weights,
    )
    content = made.SerializeToString()
    (folder / "filter.onnx").write_bytes(content)
    for name in ("filter", "other"):
        text = WORKLOAD.format(name=name, sha256=hashlib.sha256(content).hexdigest(), state=state)
        (folder / f"{name}.yaml").write_text(text)
    return rows_in(folder, "filter", *arguments)


def rows_in(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """The rows of a run of workloads in a folder."""
    done = subprocess.run(
        [sys.executable, "-m", "edgebench", "run", "--workloads", str(folder), "--slice",
         "0.3s", "--replicates", "1", "--format", "json", *arguments],
        cwd=folder,
        env={**os.environ, "EDGEBENCH_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert done.stdout, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
    return rows


@pytest.mark.slow
def test_a_stateful_model_of_ones_own_is_a_stream(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, "--scenario", "stream")
    assert row["status"] == "ok", row["reasons"]
    assert row["rate_per_s"] == 200
    part = row["stream"]
    assert part["hops"] >= 662
    assert (part["state_bytes"], part["algorithmic_delay_ns"]) == (32, 15_000_000)
    assert 0 < part["real_time_factor"] < 1
    assert row["latency_ns"]["p99"] >= row["latency_ns"]["p50"] >= part["service_p50_ns"]


@pytest.mark.slow
def test_a_state_that_the_model_does_not_have_is_a_failed_row_with_its_names(
    tmp_path: Path,
) -> None:
    (row,) = rows_of(tmp_path, "--scenario", "stream", state="pst: now")
    assert row["status"] == "failed"
    assert "no input 'pst'; did you mean 'past'?" in row["reasons"][0]["message"]


@pytest.mark.slow
def test_queries_of_several_samples_and_companions(tmp_path: Path) -> None:
    mine, other = rows_of(
        tmp_path, "other", "--together", "--companion", "cpu:1", "--scenario", "multi_stream"
    )
    for row, beside in ((mine, other), (other, mine)):
        assert row["status"] == "ok", row["reasons"]
        assert row["variant"]["samples_per_query"] == 8
        assert row["company"]["companions"] == ["cpu:1", beside["id"]]
        assert row["company"]["ratio"] > 0.5
        assert row["company"]["total_bytes"] > row["memory_peak_bytes"]


@pytest.mark.slow
def test_a_bound_gives_a_rate_and_one_that_cannot_be_kept_says_so(tmp_path: Path) -> None:
    server = ("--scenario", "server", "--bound")
    (row,) = rows_of(tmp_path, *server, "p99=1us")
    assert [reason["code"] for reason in row["reasons"]] == ["bound_not_kept"]
    (row,) = rows_of(tmp_path, *server, "p99=2s")
    search = row["rate_search"]
    assert row["throughput_per_s"] == search["rate_per_s"] > 0
    assert search["ended"] == "found"
