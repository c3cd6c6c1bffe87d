"""What docs/hardware.md says that a Jetson and a Mac print is what edgebench prints of such a tree, or of the fake."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgebench.cli import cli
from edgebench.cli.shared import doctor_energy
from edgebench.selfcheck.check_file import read_folder
from edgebench.selfcheck.claims import CLAIMS
from edgebench.selfcheck.evidence import matrix
from edgebench.testing.trees import write_tree
from tests.energy.energy_trees import AGX_ORIN, ORIN_NX, Clock
from tests.energy.test_apple import opened
from tests.readme import ROOT

PAGE = (ROOT / "docs/hardware.md").read_text(encoding="utf-8")
#: Lines of a selfcheck: the status, and the claim's title before its detail.
_TOLD = re.compile(r"^  (?:ok|not here) +(.+)$", re.MULTILINE)
#: Rows of the tables that say what a claim rests on.
_ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def _energy_of(output: str) -> str:
    """The part Energy of `doctor`."""
    return "Energy" + output.partition("\nEnergy")[2].partition("\nBackends")[0].rstrip()


@pytest.mark.parametrize("tree", [ORIN_NX, AGX_ORIN], ids=["Orin NX", "AGX Orin"])
def test_the_energy_of_a_jetson_is_as_the_page_says(tmp_path: Path, tree: dict[str, str]) -> None:
    root = str(write_tree(tmp_path, tree))
    done = CliRunner().invoke(cli, ["doctor", "--sysroot", root])
    assert _energy_of(done.output) in PAGE


def test_the_rails_of_a_jetson_are_as_the_page_says(tmp_path: Path) -> None:
    """Watts are of the tree's registers."""
    root = str(write_tree(tmp_path, ORIN_NX))
    done = CliRunner().invoke(cli, ["energy", "watch", "--sysroot", root, "--seconds", "0.2"])
    for line in done.output.splitlines()[:4]:
        assert line.rstrip() in PAGE


def test_the_energy_of_a_mac_is_as_the_page_says(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("cpu_total_mj", "gpu_mj", "ane_mj", "dram_mj")
    source, _ = opened(dict.fromkeys(names, (1, "mJ")), Clock())
    monkeypatch.setattr(doctor_energy, "find_preferred", lambda *_: source)
    monkeypatch.setattr(doctor_energy, "find_all", lambda *_: [])
    state = doctor_energy.energy_state(Path("/nowhere"), None, "darwin", ())
    for label, text in doctor_energy.render_energy(state):
        assert re.sub(r"\s+", " ", f"{label} {text}") in re.sub(r"\s+", " ", PAGE)


def test_lines_of_a_selfcheck_are_claims() -> None:
    titles = _claims(PAGE)
    assert len(titles) >= 12
    assert set(titles) <= {claim.title for claim in CLAIMS}


def test_what_the_lines_of_a_board_rest_on_is_what_the_matrix_says() -> None:
    held = {
        each.claim.title: each.held_by for each in matrix(read_folder(ROOT / "results/hardware"))
    }
    told = {title: rests for title, rests in _ROW.findall(PAGE) if title in held}
    assert len(told) >= 12
    assert told == {title: held[title] for title in told}


def _claims(page: str) -> Sequence[str]:
    return [line.partition(" ...")[0] for line in _TOLD.findall(page)]
