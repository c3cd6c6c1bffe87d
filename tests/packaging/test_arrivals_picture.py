"""The picture of docs/scenarios.md is what its command draws."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_picture_of_arrivals_is_as_the_loops_draw_it(tmp_path: Path) -> None:
    drawn = tmp_path / "arrivals.svg"
    command = [sys.executable, str(ROOT / "docs/arrivals.py"), str(drawn)]
    subprocess.run(command, check=True, cwd=ROOT)
    kept = (ROOT / "docs/images/arrivals.svg").read_text(encoding="utf-8")
    assert drawn.read_text(encoding="utf-8") == kept, "make arrivals-picture"
    assert "server --rate" in kept
