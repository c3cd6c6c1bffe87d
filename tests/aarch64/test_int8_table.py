"""The table of int8 on Arm in docs/hardware.md is what was kept."""

from __future__ import annotations

from tests.aarch64 import int8_quality
from tests.readme import ROOT


def test_the_page_shows_what_was_kept() -> None:
    assert int8_quality.table(int8_quality.read()) in (ROOT / "docs/hardware.md").read_text(
        encoding="utf-8"
    )
