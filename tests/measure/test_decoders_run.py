"""`edgebench run` on decoders: real processes, small models, and what goes wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgebench.analysis.table_types import Row
from edgebench.errors import ExitCode
from edgebench.measure.replicate.check_plan import AT_LENGTH, IN_BRIEF
from edgebench.store import read_records
from edgebench.testing.decoders import write_decoder
from tests.llm_tables import renewed

pytest.importorskip("gguf")

FAKE = "edgebench.testing.fake_decoder:FakeDecoder"
QUICK = ("--replicates", "2", "--slice", "0.2s", "--format", "json", "--no-save")
SHORT = ("--set", "prompt_tokens=48", "--set", "new_tokens=6")


#: The command where no control group can be made.
_WITHOUT_GROUPS = """
from edgebench.cli import main
from edgebench.processes import memory_limit
memory_limit.levels = lambda *_: []
main()
"""


def run(
    folder: Path, *arguments: str, entry: tuple[str, str] = ("-m", "edgebench")
) -> tuple[int, dict[str, Any], str]:
    """Exit code, table and stderr of `edgebench run ARGUMENTS` in a folder."""
    done = subprocess.run(
        [sys.executable, *entry, "run", *arguments],
        cwd=folder,
        env={**os.environ, "EDGEBENCH_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    table = json.loads(done.stdout) if done.stdout.startswith("{") else {}
    return done.returncode, table, done.stderr


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A user's own GGUF on a runtime, on one that makes answers up, and on one that cannot."""
    folder = tmp_path_factory.mktemp("run")
    model = str(write_decoder(folder / "own.gguf").path)
    code, found, _ = run(folder, "--model", model, "--backend", f"ort,{FAKE},null", *SHORT, *QUICK)
    assert code == 0
    return found


def row(table: dict[str, Any], backend: str) -> dict[str, Any]:
    [found] = [row for row in table["rows"] if row["backend"] == backend]
    return dict(found)


def test_a_decoder_gets_its_times_and_its_quality(table: dict[str, Any]) -> None:
    found = row(table, "ort")
    assert (found["status"], found["ranked"], found["pareto"]) == ("ok", True, True)
    made = found["generate"]
    assert (made["prompt_tokens"], made["new_tokens"]) == (48, 6)
    assert made["intervals"] == 5 * made["requests"]
    assert 0 < made["ttft_ns"] < found["latency_ns"]["p50"]
    assert made["prefill_tokens_per_s"] == pytest.approx(48e9 / made["ttft_ns"], rel=0.3)
    assert made["decode_tokens_per_s"] == pytest.approx(1e9 / made["tpot_ns"], rel=0.3)
    assert made["kv_cache_bytes"] > 0
    assert made["fixed_length"] is True
    assert found["quality"]["metric"] == "kl_divergence"
    assert found["quality"]["value"] < 1e-6
    also = {limit["metric"]: limit["value"] for limit in found["quality"]["also"]}
    assert also["greedy_agreement"] == 1.0
    assert found["pipeline"]["preprocess_ns"] > 0
    assert found["cold_start"]["load_ns"] > 0


def test_answers_of_another_model_are_struck(table: dict[str, Any]) -> None:
    found = row(table, "fake_decoder")
    assert found["ranked"] is False
    assert [reason["code"] for reason in found["reasons"]] == ["quality_above_ceiling"]
    assert found["generate"]["ttft_ns"] < row(table, "ort")["generate"]["ttft_ns"], (
        "the fast row is the wrong one"
    )


def test_a_runtime_without_decoders_is_unsupported(table: dict[str, Any]) -> None:
    found = row(table, "null")
    assert found["status"] == "unsupported"
    assert found["reasons"][0]["code"] == "unsupported_scenario"


def test_a_decode_that_fails_is_a_row_and_the_sweep_goes_on(tmp_path: Path) -> None:
    model = str(write_decoder(tmp_path / "own.gguf").path)
    sets = ("--set", "fail_after=0,3", "--set", "prompt_tokens=48,64", "--set", "new_tokens=6")
    code, found, _ = run(tmp_path, "--model", model, "--backend", FAKE, *sets, *QUICK)
    assert code == ExitCode.CELL_FAILED
    by_fault = {
        (r["variant"]["fail_after"], r["variant"]["prompt_tokens"]): r for r in found["rows"]
    }
    assert len(by_fault) == 4
    for (fault, _), measured in by_fault.items():
        if fault:
            assert measured["status"] == "failed"
            assert "as it was told to" in measured["reasons"][0]["message"]
        else:
            assert measured["generate"]["new_tokens"] == 6


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--set", "prompt_tokens=8"), "no room for the chat template"),
        (("--set", "prompt_tokens=0"), "prompt_tokens must be a whole number of 1 or more"),
        (("--set", "prompt_tokens=4000"), "positions are more than"),
    ],
)
def test_impossible_requests_say_why(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    model = str(write_decoder(tmp_path / "own.gguf").path)
    code, found, err = run(tmp_path, "--model", model, *arguments, *QUICK)
    message = " ".join(
        reason["message"] for row in found.get("rows", []) for reason in row["reasons"]
    )
    assert said in message + err
    assert code != 0 or found["rows"][0]["status"] == "unsupported"


def test_a_later_replicate_of_a_decoder_checks_in_brief(tmp_path: Path) -> None:
    model = str(write_decoder(tmp_path / "own.gguf").path)
    saved = [option for option in QUICK if option != "--no-save"]
    code, found, err = run(tmp_path, "--model", model, "--backend", FAKE, *SHORT, *saved)
    assert code == 0, (err, found)
    [file] = (tmp_path / "results").rglob("*.jsonl")
    [record] = read_records(file)
    first, later = record.replicates
    assert first.pipeline is not None
    assert later.pipeline is None
    assert later.clock_lag_ns is not None, "the parent heard of enough phases to compare clocks"
    for replicate, plan in ((first, AT_LENGTH), (later, IN_BRIEF)):
        assert replicate.unseen is not None
        assert len(replicate.unseen.unseen_ns) == plan.fresh_prompts
        assert replicate.output_check is not None
    assert found["rows"][0]["pipeline"]["samples"] == len(first.pipeline.end_to_end_ns)


def test_an_answer_may_be_one_token_of_a_long_prompt(tmp_path: Path) -> None:
    model = str(write_decoder(tmp_path / "own.gguf").path)
    sets = ("--set", "prompt_tokens=300", "--set", "new_tokens=1")
    code, found, err = run(tmp_path, "--model", model, "--backend", FAKE, *sets, *QUICK)
    assert code == 0, (err, found)
    assert found["rows"][0]["generate"]["new_tokens"] == 1


def test_an_unknown_architecture_is_unsupported_by_its_name(tmp_path: Path) -> None:
    model = str(write_decoder(tmp_path / "own.gguf", "mamba").path)  # type: ignore[arg-type]
    _, found, _ = run(tmp_path, "--model", model, *SHORT, *QUICK)
    assert found["rows"][0]["status"] == "unsupported"
    assert "'mamba'" in found["rows"][0]["reasons"][0]["message"]


def test_an_own_decoder_in_onnx_with_its_tokenizer_beside(tmp_path: Path) -> None:
    from edgebench.models.llm.gguf_file import GgufFile
    from edgebench.models.llm.onnx_standard import write_standard_decoder
    from edgebench.models.llm.tokenizer import vocabulary_of
    from tests.models.test_llm_files import beside

    source = write_decoder(tmp_path / "own.gguf").path
    write_standard_decoder(GgufFile(source), tmp_path / "decoder.onnx", "fp32")
    beside(tmp_path, vocabulary_of(source))
    model = ("--model", str(tmp_path / "decoder.onnx"), "--task", "generate")
    code, found, err = run(tmp_path, *model, *SHORT, *QUICK)
    assert code == 0, (err, found)
    measured = row(found, "ort")
    assert measured["ranked"] is True
    assert measured["generate"]["new_tokens"] == 6
    assert measured["quality"]["value"] < 1e-6
    assert measured["effective"]["options"]["kv_cache"] == "fp32"


def test_speculation_and_turns_are_rows_of_their_own(tmp_path: Path) -> None:
    model = str(write_decoder(tmp_path / "own.gguf").path)
    common = (
        "--model",
        model,
        "--backend",
        "ort",
        "--set",
        "prompt_tokens=48",
        "--set",
        "new_tokens=16",
    )
    quick = (*QUICK, "--replicates", "1")
    code, found, err = run(tmp_path, *common, "--set", "draft=none,self:as-is", *quick)
    assert code == 0, (err, found)
    plain, drafted = sorted(found["rows"], key=lambda row: str(row["variant"]["draft"]))
    assert plain["generate"]["speculation"] is None
    part = drafted["generate"]["speculation"]
    assert part["accepted"] == part["drafted"] > 0, "a draft of itself is right"
    assert part["tokens_per_step"] > 3
    assert part["draft_bytes"] is None or part["draft_bytes"] > 0
    assert part["gain"] > 0
    assert drafted["ranked"] is True
    shown = as_tables("speculation", found)
    assert [line.split(" | ")[2] for line in shown] == ["plain", "draft self:as-is, 4 tokens"]
    assert "(100%)" in shown[1]
    assert shown[1].endswith("| equal |")

    turns = ("--set", "turns=3", "--set", "reuse=true,false")
    code, found, err = run(tmp_path, *common, *turns, *quick)
    assert code == 0, (err, found)
    for measured in found["rows"]:
        kept = [turn["kept_tokens"] for turn in measured["generate"]["turns"]]
        assert len(kept) == 3
        assert (kept[2] > kept[1] > 0) is measured["variant"]["reuse"]
        assert measured["ranked"] is True, measured["reasons"]
    assert len(as_tables("turns", found)) == 6


def as_tables(name: str, table: dict[str, Any]) -> list[str]:
    """The lines of the table that docs/llm.md would have of these rows, in the order of their drafts."""
    block = f"<!-- begin tables: {name} -->\n<!-- end tables -->"
    lines = renewed(block, msgspec.convert(table["rows"], list[Row])).splitlines()
    assert lines[0].startswith("<!-- begin")
    assert lines[-1].startswith("<!-- end")
    return sorted(lines[3:-1], key=lambda line: "draft " in line)


def test_what_is_beyond_the_context_is_one_line_each(tmp_path: Path) -> None:
    """Whatever the runtime does with such positions: this one would answer."""
    model = str(write_decoder(tmp_path / "own.gguf").path)
    for asked, said in (
        ("turns=40", "turn 40 of a conversation ends at"),
        ("lookup=0,3", "positions are more than the 512 of this model"),
    ):
        length = ("--set", f"prompt_tokens={48 if 'turns' in asked else 4000}")
        arguments = ("--model", model, "--backend", FAKE, "--set", asked, *length, *QUICK)
        _, found, _ = run(tmp_path, *arguments)
        for refused in found["rows"]:
            assert refused["status"] == "unsupported"
            assert said in refused["reasons"][0]["message"]
        assert len(found["rows"]) == (2 if "lookup" in asked else 1)


def test_a_draft_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    model = str(write_decoder(tmp_path / "own.gguf").path)
    draft = str(write_decoder(tmp_path / "small.gguf", defined=("<extra>",)).path)
    arguments = ("--model", model, "--backend", "ort", "--set", f"draft={draft}", *SHORT, *QUICK)
    _, found, _ = run(tmp_path, *arguments)
    [refused] = found["rows"]
    assert refused["status"] == "unsupported"
    assert "another vocabulary" in refused["reasons"][0]["message"]


def test_the_slowest_prompt_is_sought(tmp_path: Path) -> None:
    model = str(write_decoder(tmp_path / "own.gguf").path)
    search = ("--worst-case", "0.2s", "--set", "step_us=100")
    code, found, _ = run(tmp_path, "--model", model, "--backend", FAKE, *search, *SHORT, *QUICK)
    assert code in (0, 1)
    part = row(found, "fake_decoder")["worst_case"]
    assert part["worst_ns"] > 0
    assert 1 <= part["median_tokens"] <= part["tokens"] <= 6
    assert part["tried"] >= 9


@pytest.mark.parametrize("grouped", [True, False])
def test_a_budget_below_what_it_needs_is_a_row_and_nothing_is_lost(
    tmp_path: Path, grouped: bool
) -> None:
    """By a control group, and where none can be made by what the process allocates."""
    model = str(write_decoder(tmp_path / "own.gguf").path)
    arguments = ("--model", model, "--backend", "ort", "--set", "memory_budget=16MiB,2GiB")
    entry = ("-m", "edgebench") if grouped else ("-c", _WITHOUT_GROUPS)
    once = (*SHORT, *QUICK, "--replicates", "1")
    code, found, _ = run(tmp_path, *arguments, *once, entry=entry)
    assert code == ExitCode.CELL_FAILED
    rows = {row["variant"]["memory_budget"]: row for row in found["rows"]}
    by = rows["2GiB"]["memory"]["budget_by"]
    assert by in (("cgroup v1", "cgroup v2", "RLIMIT_DATA") if grouped else ("RLIMIT_DATA",))
    assert rows["2GiB"]["memory"]["budget_bytes"] == 2 << 30
    assert rows["2GiB"]["generate"]["new_tokens"] == 6
    [why] = rows["16MiB"]["reasons"]
    assert rows["16MiB"]["status"] == "failed"
    assert why["code"] in ("does_not_fit", "failed_within_budget")
    assert by in why["message"]
    assert "16.0 MiB" in why["message"]
