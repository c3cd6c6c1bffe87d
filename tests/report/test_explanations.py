"""The report's section on why: what was explained, with a picture, and nothing where nothing was."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from edgebench.cli import cli
from edgebench.errors import ExitCode, StoreError, UsageError
from edgebench.explain.explanation import Explanation, read_explanation
from edgebench.report.build_report import build_report
from edgebench.report.html_page import render
from edgebench.store import iter_records

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "results/explain/music-transcription.json"
RECORDS = ROOT / "results/reference/quick-linux-amd-2c.jsonl"


def page(*explanations: Explanation) -> str:
    return render(build_report(iter_records(RECORDS), [RECORDS.name], explanations=explanations))


def test_section_tells_the_reason_and_draws_both_deployments() -> None:
    html = page(read_explanation(KEPT))
    assert '<a href="#why">Why</a>' in html
    section = html[html.index('id="why"') :].split("</details>")[0]
    assert "slower than fp32" in section
    assert "Prediction, not measured" in section
    assert section.count("<svg ") == 2, "a bar for each deployment"
    assert "QLinearConv" in section


def test_words_of_a_file_cannot_act_in_the_page() -> None:
    kept = read_explanation(KEPT)
    hostile = msgspec.structs.replace(kept, workload="<script>alert(1)</script>")
    assert "<script>alert(1)" not in page(hostile)


def test_page_without_explanations_has_no_section() -> None:
    assert 'id="why"' not in page()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not a edgebench.explain/1 file"),
        ('{"schema": "edgebench.explain/2"}', "schema"),
        ('{"workload": "x", "title": "", "machine": "", "subject": 3}', "subject: 3"),
    ],
)
def test_file_that_is_no_explanation_is_refused(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "why.json"
    path.write_text(content)
    with pytest.raises(StoreError) as raised:
        read_explanation(path)
    assert words in raised.value.message
    assert "\n" not in raised.value.message


def test_a_kept_explanation_takes_no_option_of_an_explanation() -> None:
    for further in (["--backend", "ort"], ["--against", "none"]):
        done = CliRunner().invoke(cli, ["explain", str(KEPT), *further])
        assert isinstance(done.exception, UsageError)
        assert (
            done.exception.message == f"{further[0]} does not apply to an explanation that was kept"
        )
        assert done.stdout == ""
    assert CliRunner().invoke(cli, ["explain", str(KEPT), "--top", "1"]).exit_code == ExitCode.OK


def test_impossible_figures_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "why.json"
    path.write_bytes(KEPT.read_bytes().replace(b'"share":', b'"share":-', 1))
    with pytest.raises(StoreError, match="share"):
        read_explanation(path)
