"""The searches that docs/search.md shows are drawn from kept ones, and keeping one leaves out what is of one machine."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edgebench.planning.precision_files import read_map
from edgebench.search.search_picture import svg
from edgebench.search.search_report import read_search
from edgebench.search.search_text import lines_of
from tests import kept_searches
from tests.search.made_search import made_search


def test_pictures_and_page_are_those_of_the_kept_searches() -> None:
    for name, report in kept_searches.kept().items():
        assert kept_searches.picture(name).read_text(encoding="utf-8") == svg(report), (
            "make search-pictures renews it"
        )
    text = kept_searches.PAGE.read_text(encoding="utf-8")
    assert kept_searches.renewed(text) == text, "make search-pictures renews it"


def test_a_kept_search_holds_what_is_shown_and_no_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = tmp_path / "file-typing.search.json"
    report = msgspec.structs.replace(made_search(), results="/home/someone/x.jsonl")
    rows = [
        msgspec.structs.replace(row, map_file=row.map_file and f"/home/{row.map_file}")
        for row in report.rows
    ]
    answer.write_bytes(msgspec.json.encode(msgspec.structs.replace(report, rows=rows)))
    monkeypatch.setattr(kept_searches, "KEPT", tmp_path)
    monkeypatch.setattr(kept_searches, "ROOT", tmp_path)
    kept_searches.keep(answer)
    small = read_search(tmp_path / "file-typing.json")
    assert "/home" not in (tmp_path / "file-typing.json").read_text()
    assert svg(small) == svg(report)
    assert small.kept_in_fp32 == report.kept_in_fp32
    assert any("3 maps over 12 groups" in line for line in lines_of(small))
    assert len(small.exploration.candidates) == 1
    assert read_map(tmp_path / "file-typing.yaml") == report.explained_map
