"""Backends whose numbers would win if they were believed: each is seen in a run, and ranked nowhere.

The backend that they cheat through is ranked, on the same machine and in the same run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edgebench.analysis.table import build_table
from edgebench.record import encode
from edgebench.store import read_records
from edgebench.testing.models import chain
from tests.records import record, replicate, samples

LINUX = sys.platform == "linux"
FAULTS = "edgebench.testing.faults:"
#: Cheat -> the codes of which one at least is told.
CHEATS = {
    "WorkInPrepare": {"moved_work", "faster_than_the_machine"},
    "LazyOutputs": {"outputs_deferred", "faster_than_the_machine"},
    "LateOutputs": {"outputs_deferred", "output_mismatch"},
    "RoundedMemoise": {"caching"},
    "SlowClock": {"clock_disagrees"},
}
KERNEL_TELLS = {
    "MoreThreads": {"threads_beyond_told"},
    "HelperProcess": {"helper_process"},
}
#: The same in another form.
FORMS = {
    "LazyOutputs keep=false": {"moved_work", "faster_than_the_machine"},
    "LazyOutputs batch=8": {"outputs_deferred", "faster_than_the_machine"},
    "SlowClock clocks=perf_counter_ns": {"clock_disagrees"},
    "SilentFallback precision=fp32": {"precision_not_as_asked"},
}
KERNEL_TELLS_FORMS = {"HelperProcess hidden=true": {"helper_process"}}


def measured(
    folder: Path,
    names: Iterable[str],
    *options: str,
    replicates: int = 1,
    model: Path | None = None,
) -> dict[str, Any]:
    """Rows of these backends by their names, as one `edgebench run` leaves them."""
    process = subprocess.run(
        [sys.executable, "-m", "edgebench", "run", "--model", str(model or _model(folder)),
         "--replicates", str(replicates), "--slice", "0.1s", "--format", "json",
         "--backend", ",".join(f"{FAULTS}{name}" for name in names),
         *(word for option in options for word in ("--set", option))],
        cwd=folder,
        env={**os.environ, "EDGEBENCH_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )  # fmt: skip
    assert "Traceback" not in process.stderr, process.stderr
    rows = json.loads(process.stdout)["rows"]
    return dict(zip(names, rows, strict=True))


def _model(folder: Path) -> Path:
    """Four products of matrices, of any number of rows."""
    import onnx

    path = chain(64).write(folder).path
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "rows"
    del model.graph.value_info[:]
    onnx.save(model, path)
    return path


def _deep_model(folder: Path) -> Path:
    """The same product forty times, one after the other: far more work than handling its arrays."""
    import onnx

    model = onnx.load(chain(1).write(folder).path)
    product = model.graph.node[0]
    values = ["x", *(f"value{number}" for number in range(39)), "y"]
    del model.graph.node[:]
    for before, after in pairwise(values):
        model.graph.node.add().CopyFrom(product)
        model.graph.node[-1].input[0], model.graph.node[-1].output[0] = before, after
        model.graph.node[-1].name = after
    del model.graph.value_info[:]
    path = folder / "deep.onnx"
    onnx.save(model, path)
    return path


def assert_seen(row: Any, codes: set[str]) -> None:
    found = {reason["code"] for reason in row["reasons"]}
    assert row["status"] == "invalid", row["reasons"]
    assert not row["ranked"]
    assert found & codes, row["reasons"]
    told = [reason for reason in row["reasons"] if reason["code"] != "output_mismatch"]
    assert all(reason["message"] and reason["fix"] for reason in told)


def test_cheats_are_seen_and_the_honest_backend_beside_them_is_ranked(tmp_path: Path) -> None:
    cheats = CHEATS | (KERNEL_TELLS if LINUX else {})
    rows = measured(tmp_path, [*cheats, "FaultyBackend", "Noisy"])
    for honest in ("FaultyBackend", "Noisy"):
        row = rows.pop(honest)
        assert (row["status"], row["reasons"], row["ranked"]) == ("ok", [], True)
    for name, row in rows.items():
        assert_seen(row, cheats[name])


@pytest.mark.parametrize("form", [*FORMS, *(KERNEL_TELLS_FORMS if LINUX else ())])
def test_a_cheat_in_another_form_is_seen(tmp_path: Path, form: str) -> None:
    name, option = form.split()
    assert_seen(measured(tmp_path, [name], option)[name], (FORMS | KERNEL_TELLS_FORMS)[form])


@pytest.mark.parametrize(("honest", "replicates"), [(1, 2), (2, 3)])
def test_work_that_moves_to_prepare_after_the_first_replicates_is_seen(
    tmp_path: Path, honest: int, replicates: int
) -> None:
    name, late = "WorkInPrepare", f"honest_sessions={honest}"
    rows = measured(tmp_path, [name], late, replicates=replicates, model=_deep_model(tmp_path))
    assert_seen(rows[name], {"moved_work"})


def test_old_records_are_judged_when_they_are_read(tmp_path: Path) -> None:
    """What a record already shows needs no new run."""
    slow = replicate().pipeline  # of 7 ms
    replicates = [replicate(i, samples(400, 300, i), pipeline=slow) for i in range(3)]
    path = tmp_path / "old.jsonl"
    path.write_bytes(encode(record(replicates=replicates)))
    [row] = build_table(read_records(path)).rows
    assert (row.status, [reason.code for reason in row.reasons]) == ("invalid", ["moved_work"])
