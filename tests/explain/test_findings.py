"""The rules, and the words that are made of what they find."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from edgebench.analysis.table import build_table
from edgebench.calibration import Calibration, Ceiling
from edgebench.errors import UsageError
from edgebench.explain import describe_deployment
from edgebench.explain.describe_deployment import MAX_BYTES, Named, deployment
from edgebench.explain.explanation import Deployment, Explanation, Finding
from edgebench.explain.findings import findings_of
from edgebench.explain.node_groups import CONVERTING, common_names, grouped
from edgebench.explain.prediction import predict
from edgebench.explain.profile_runs import Measured
from edgebench.explain.stored_rows import explain_rows
from edgebench.explain.turn_statistics import figure
from edgebench.operator_times import OperatorTime
from edgebench.record import DeviceFacts
from edgebench.render import explain_text
from edgebench.store import iter_records
from tests.explain import profiles

US = 1000
REFERENCE = Path(__file__).parents[2] / "results/reference/quick-linux-amd-2c.jsonl"


def described(measured: Measured, precision: str = "int8-static") -> Deployment:
    named = Named(precision, f"cell/{precision}", "ort", {"precision": precision})
    return deployment(named, measured, None)


def explained(against: Measured, subject: Measured) -> Explanation:
    assert against.profile is not None
    assert subject.profile is not None
    names = common_names(against.nodes, subject.nodes)
    groups = grouped(against.nodes, against.profile.operators, subject.profile.operators, names)
    ratios = [a[0] / b[0] for a, b in zip(subject.plain_ns, against.plain_ns, strict=True)]
    one = described(subject)
    return Explanation(
        workload="network",
        title="A network",
        machine="here",
        subject=one,
        against=described(against, "fp32"),
        slowdown=figure(ratios),
        findings=findings_of(one, groups),
        prediction=predict(groups, against, subject, names),
    )


def by_code(found: list[Finding]) -> dict[str, Finding]:
    return {each.code: each for each in found}


def test_slower_operators_are_told_by_kind_of_kernel() -> None:
    found = explained(
        *profiles.pair([100 * US] * 4, [50 * US, 400 * US, 50 * US, 300 * US])
    ).findings
    slower = by_code(found)["slower_operators"]
    assert (slower.what, slower.count, slower.kernel) == ("one-dimensional Conv", 2, "QLinearConv")
    assert (slower.time_ns, slower.other_ns) == (700 * US, 200 * US)
    assert slower.nodes == ["conv1", "conv3"]


def test_arithmetic_left_in_float_is_found() -> None:
    against, subject = profiles.pair([100 * US] * 2, [50 * US] * 2)
    assert subject.profile is not None
    plain = profiles.operator("conv1", 100 * US)
    ours = [plain if "conv1" in (o.nodes or ()) else o for o in subject.profile.operators]
    found = explained(against, profiles.measured(ours, subject.nodes)).findings
    left = by_code(found)["left_in_float"]
    assert (left.what, left.count, left.nodes) == ("one-dimensional Conv", 1, ["conv1"])


@pytest.mark.parametrize(
    ("operator", "code"),
    [
        (profiles.operator("q", 90 * US, "QuantizeLinear"), "unfused_conversions"),
        (profiles.operator("r", 90 * US, "ReorderOutput", nodes=()), "layout_changes"),
        (profiles.operator("m", 90 * US, "MemcpyToHost", nodes=()), "other_provider"),
        (profiles.operator("s", 90 * US, "Slice", parallel=False), "single_threaded"),
    ],
)
def test_each_rule_finds_its_operators(operator: OperatorTime, code: str) -> None:
    nodes = profiles.convolutions(1)
    measured = profiles.measured(
        [profiles.operator("conv0", 100 * US, parallel=True), operator], nodes, threads=2
    )
    found = by_code(findings_of(described(measured), []))[code]
    assert found.count == 1
    assert found.share == pytest.approx(90 / 190)


def test_time_between_operators_is_found() -> None:
    nodes = profiles.convolutions(2)
    operators = [profiles.operator(node.name, 10 * US) for node in nodes]
    measured = profiles.measured(operators, nodes, run_ns=50 * US)
    found = by_code(findings_of(described(measured), []))["dispatch_overhead"]
    assert (found.time_ns, found.count) == (30 * US, 2)


def test_operators_far_from_the_ceiling_are_found() -> None:
    nodes = profiles.convolutions(1)
    operator = profiles.operator("conv0", 100 * US, moved_bytes=1000)
    measured = profiles.measured([operator], nodes)
    named = Named("fp32", "cell", "ort", {"precision": "fp32"})
    # 100,000 operations at 10 Gop/s take 10 us
    one = deployment(named, measured, _calibration(flops_per_s=1e10, bytes_per_s=1e9))
    line = one.operators[0]
    assert line.bound == "compute"
    assert line.ceiling_ns == pytest.approx(10 * US)
    found = by_code(findings_of(one, []))["far_from_ceiling"]
    assert found.ceiling_ns == pytest.approx(10 * US)


def _calibration(flops_per_s: float, bytes_per_s: float) -> Calibration:
    rates = {"gemm_fp32": flops_per_s, "gemm_int8": 4 * flops_per_s, "memory_add": bytes_per_s}
    return Calibration(
        device=DeviceFacts(name="here", facts={}, unknown={}),
        started_utc="2026-01-01T00:00:00+00:00",
        edgebench="0",
        onnxruntime="0",
        state=[],
        ceilings=[
            Ceiling(
                what=what,  # type: ignore[arg-type]
                threads=1,
                per_s=rate,
                low_per_s=None,
                high_per_s=None,
                of_processes_per_s=[rate],
                detail="",
            )
            for what, rate in rates.items()
        ],
    )


def test_operators_of_a_deployment_fit_into_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = profiles.convolutions(60)
    operators = [profiles.operator(n.name, (60 - i) * US) for i, n in enumerate(nodes)]
    monkeypatch.setattr(describe_deployment, "MAX_BYTES", 4000)
    one = described(profiles.measured(operators, nodes))
    assert len(one.operators) < 60
    assert one.operators[0].name == "conv0", "those that take most stay"
    assert one.kinds[0].count == 60
    assert f"{60 - len(one.operators)} operators that take least are not listed" in one.notes
    assert MAX_BYTES < 64 * 1024, "a record holds what is told beside them, too"


def test_text_says_the_reason_first_and_labels_the_prediction() -> None:
    found = explained(*profiles.pair([100 * US] * 4, [50 * US, 400 * US, 50 * US, 400 * US]))
    first = " ".join(explain_text.paragraph(found))
    assert first.startswith(
        "int8-static is 2.25x (2.25-2.25) slower than fp32 (901 us against 400 us of CPU time)"
    )
    assert "because 2 one-dimensional convolutions (QLinearConv) take 800 us" in first
    assert found.prediction is not None
    told = explain_text.predicted(found, found.prediction)
    assert told.startswith("Prediction, not measured: with conv1, conv3 left in fp32")


def test_text_fits_into_80_columns() -> None:
    found = explained(*profiles.pair([100 * US] * 40, [50 * US, 400 * US] * 20))
    out = io.StringIO()
    explain_text.render(found, 10, out)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert any("QLinearConv" in line for line in lines)


def test_stored_rows_are_explained_without_a_runtime() -> None:
    rows = build_table(list(iter_records(REFERENCE))).rows
    chosen = [row for row in rows if row.workload == "music-transcription"]
    found = explain_rows(chosen, None, {}, None)
    assert found.slowdown is not None
    assert found.slowdown.value > 1
    assert found.subject.operators == []
    assert "the record keeps no times of operators" in found.notes[0]
    with pytest.raises(UsageError, match="rows fit, and one is explained"):
        explain_rows(rows, None, {}, None)
    with pytest.raises(UsageError, match="no measured row fits"):
        explain_rows(chosen, "ort", {"precision": "fp16"}, None)
    with pytest.raises(UsageError, match="no row fits --against backend=openvino"):
        explain_rows(chosen, None, {}, "backend=openvino")


def test_conversions_hold_no_group_together() -> None:
    assert {"QuantizeLinear", "DequantizeLinear"} <= CONVERTING
