"""What makes models ahead of a measurement: it ends in time, within its memory, and with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil

from edgebench.assets import file_sha256
from edgebench.measure import preparation_process
from edgebench.measure.preparation_process import Allowance
from edgebench.preparation.preparation_messages import (
    PreparedModel,
    PrepareFailure,
    PrepareJob,
    decode_answer,
)
from edgebench.record import Reason

MIB = 2**20


def model(nodes: list[Any], name: str, value: Any) -> Any:
    """image [1, 2] -> out [1, 2], with one constant."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 2])],
        [value],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def endless() -> Any:
    """A loop that nothing ends, in a few hundred bytes."""
    from onnx import TensorProto, helper

    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["x", "x"], ["y"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2]),
        ],
    )
    loop = helper.make_node("Loop", ["turns", "", "image"], ["out"], body=body)
    turns = helper.make_tensor("turns", TensorProto.INT64, [], [2**63 - 1])
    return model([loop], "endless", turns)


def greedy() -> Any:
    """Wants 12 GB, in a few hundred bytes."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["large"]),
        helper.make_node("ReduceSum", ["large"], ["sum"], keepdims=0),
        helper.make_node("Add", ["image", "sum"], ["out"]),
    ]
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [60_000, 50_000])
    return model(nodes, "greedy", shape)


def asked(source: Path, folder: Path) -> bytes:
    return msgspec.json.encode(
        PrepareJob(
            task="seeded_inputs",
            source=str(source),
            source_sha256=file_sha256(source),
            cache=str(folder / "cache"),
        )
    )


def prepared(
    made: Any, folder: Path, allowance: Allowance
) -> PreparedModel | PrepareFailure | Reason:
    source = folder / "model.onnx"
    source.write_bytes(made.SerializeToString())
    answer = preparation_process.ask(
        "edgebench.preparation.prepare", asked(source, folder), allowance
    )
    return answer if isinstance(answer, Reason) else decode_answer(answer)


def test_a_model_that_never_ends_is_a_hang_and_not_a_wait(tmp_path: Path) -> None:
    found = prepared(endless(), tmp_path, Allowance(time_out_s=2.0))
    assert isinstance(found, Reason)
    assert (found.code, found.message) == (
        "timed_out",
        "no sign of life for 2 s during reference: killed",
    )
    assert "--timeout" in found.fix


def test_a_preparation_that_the_budget_ends_is_out_of_time(tmp_path: Path) -> None:
    found = prepared(endless(), tmp_path, Allowance(time_out_s=60.0, time_s=2.0))
    assert isinstance(found, Reason)
    assert found.code == "out_of_time"


def test_a_model_that_wants_all_memory_gets_what_is_allowed(tmp_path: Path) -> None:
    allowance = Allowance(time_out_s=60.0, memory_limit_bytes=1024 * MIB)
    found = prepared(greedy(), tmp_path, allowance)
    assert isinstance(found, PrepareFailure)
    assert found.kind == "failed"
    assert "memory" in found.error


PARENT = """
import sys
from edgebench.measure import preparation_process
ask = preparation_process.ask
ask("edgebench.preparation.prepare", sys.stdin.buffer.read(), preparation_process.Allowance(600.0))
"""


def test_preparation_processes_end_with_their_parent(tmp_path: Path) -> None:
    source = tmp_path / "model.onnx"
    source.write_bytes(endless().SerializeToString())
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE) as parent:
        assert parent.stdin is not None
        parent.stdin.write(asked(source, tmp_path))
        parent.stdin.close()
        [child] = awaited(lambda: psutil.Process(parent.pid).children())
        os.kill(parent.pid, signal.SIGKILL)
    psutil.wait_procs([child], timeout=60)
    assert not child.is_running()


CALIBRATING = """
from edgebench.roofline import measure_ceilings
measure_ceilings._in_process("gemm_fp32", 1, 1e6)
"""


def test_calibration_processes_end_with_their_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", CALIBRATING]) as parent:
        [child] = awaited(lambda: psutil.Process(parent.pid).children())
        os.kill(parent.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs([child], timeout=30)
    for process in alive:
        process.kill()
    assert not alive


def awaited(look: Callable[[], list[psutil.Process]]) -> list[psutil.Process]:
    """What a look finds, as soon as it finds something."""
    while not (found := look()):
        pass
    return found


def test_a_child_that_prints_has_not_answered(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "loud.py").write_text("import sys\nprint('gone')\nsys.exit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert preparation_process.ask("loud", b"", Allowance(60.0)) == b"gone"
    (tmp_path / "silent.py").write_text("import sys\nsys.exit('no licence')\n")
    found = preparation_process.ask("silent", b"", Allowance(60.0))
    assert isinstance(found, Reason)
    assert found.message == "exited with code 1 during start: no licence"
