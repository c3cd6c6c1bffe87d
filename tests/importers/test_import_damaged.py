"""Damaged outputs of other tools: one clear error or records, never a traceback, never a made-up 0."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgebench.analysis.table import build_table
from edgebench.errors import StoreError
from edgebench.importers import reader
from edgebench.importers._source import open_source
from edgebench.metrics import METRICS

DATA = Path(__file__).parents[1] / "data" / "imports"
FILES = [
    (folder.name, file)
    for folder in sorted(DATA.iterdir())
    if folder.is_dir()
    for file in sorted(folder.iterdir())
]
JSON = [(tool, file) for tool, file in FILES if file.suffix == ".json"]
BAD = st.sampled_from([None, "", "x", "nan", "-1", "0", -1, 0, 1e400, True, [], {}, [1], {"a": 1}])
SETTINGS = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def check(tool: str, file: Path) -> None:
    refused = None
    try:
        made = reader(tool)(open_source(file, ["edgebench", "import"]))
    except StoreError as error:
        refused = str(error)
    if refused is not None:
        assert file.name in refused
        return
    for row in build_table(made.records).rows:
        for metric in METRICS.values():
            value = metric.value(row)
            assert value is None or 0 < value < float("inf"), (metric.name, value)


@pytest.mark.parametrize(("tool", "source"), FILES, ids=lambda value: getattr(value, "name", value))
@SETTINGS
@given(data=st.data())
def test_bytes_that_are_changed_or_cut(
    tool: str, source: Path, data: st.DataObject, tmp_path: Path
) -> None:
    content = source.read_bytes()
    if source.suffix == ".gz":
        content = b"".join(gzip.decompress(content).splitlines(keepends=True)[:4])
    at = data.draw(st.integers(0, len(content)))
    gone = data.draw(st.sampled_from([0, 1, 5, len(content)]))
    new = data.draw(
        st.binary(max_size=4) | st.sampled_from([b";", b",", b"|", b"0", b"-", b"\n", b'"'])
    )
    file = tmp_path / "damaged.txt"
    file.write_bytes(content[:at] + new + content[at + gone :])
    check(tool, file)


@pytest.mark.parametrize(("tool", "source"), JSON, ids=lambda value: getattr(value, "name", value))
@SETTINGS
@given(data=st.data())
def test_json_whose_values_are_of_other_types(
    tool: str, source: Path, data: st.DataObject, tmp_path: Path
) -> None:
    document: Any = json.loads(source.read_text(encoding="utf-8"))
    part = document
    while True:  # down to some value, which is replaced
        keys = list(part) if isinstance(part, dict) else list(range(len(part)))
        key = data.draw(st.sampled_from(keys))
        deeper = isinstance(part[key], dict | list) and part[key]
        if not deeper or data.draw(st.integers(0, 3)) == 0:
            break
        part = part[key]
    part[key] = data.draw(BAD)
    file = tmp_path / "damaged.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    check(tool, file)
