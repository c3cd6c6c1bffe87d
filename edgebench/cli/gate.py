"""`edgebench gate`: a policy's A/B in CI, or stored results against absolute limits."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgebench.cli.ab import EPILOG, FORMATS, finish
from edgebench.cli.shared.options import EXISTING_FILE, verdict_options
from edgebench.cli.shared.verdict_files import VerdictCommand, concluded
from edgebench.errors import UsageError
from edgebench.text.plain_text import say

if TYPE_CHECKING:
    from edgebench.ab_test.ab_report_types import GateReport


@click.command(name="gate", cls=VerdictCommand, epilog=EPILOG)
@click.argument("candidate", required=False, type=EXISTING_FILE, metavar="[CANDIDATE.jsonl]")
@click.option(
    "--policy",
    type=EXISTING_FILE,
    help="File that says what to compare and how, such as gate.yaml.",
)
@click.option("--base", multiple=True, metavar="SPEC", help="Replaces the policy's baseline.")
@click.option("--head", multiple=True, metavar="SPEC", help="Replaces the policy's candidate.")
@click.option("--budget", metavar="TIME", help="Replaces the policy's time budget, such as 60s.")
@click.option("--baseline", type=EXISTING_FILE, help="Stored results to compare CANDIDATE with.")
@click.option(
    "--limit", "limits", multiple=True, metavar="LIMIT",
    help='Limit that CANDIDATE must meet, such as "latency.p99 <= 30 ms" (repeatable).',
)  # fmt: skip
@verdict_options(None, FORMATS)
@click.option("--github", is_flag=True, help="Also write a GitHub step summary and annotations.")
def command(**params: Any) -> int:
    """Judge a change in CI: measure the pairs of --policy, or check the stored results CANDIDATE.

    Latency can only be compared within one job, so of two stored files it is shown but not judged.
    Their memory, size and quality are judged, and so are limits such as "latency.p99 <= 30 ms".

    \b
    Examples:
      edgebench gate --policy gate.yaml
      edgebench gate --baseline old.jsonl new.jsonl
    """
    return finish(concluded(params, lambda: _judge(params)), params)


def _judge(params: dict[str, Any]) -> GateReport:
    """Judges by the policy or by stored results. The policy decides whether `inconclusive` passes, unless an option does."""
    stored = params["candidate"] or params["baseline"] or params["limits"]
    if not stored and params["policy"] is None:
        raise UsageError(
            "gate has nothing to judge",
            "give --policy gate.yaml, or --baseline OLD.jsonl NEW.jsonl",
        )
    policy = None
    if params["policy"]:
        from edgebench.gate.policy import load_policy

        policy = load_policy(Path(params["policy"]))
    params["inconclusive"] = params["inconclusive"] or (policy.inconclusive if policy else "fail")
    return _stored(params, policy) if stored else _measure(params, policy)


def _measure(params: Mapping[str, Any], policy: Any) -> GateReport:
    import msgspec

    from edgebench.ab_test.ab_runner import Settings
    from edgebench.ab_test.run_ab import compare
    from edgebench.api.ab_progress import watching
    from edgebench.api.energy_source import meter_here
    from edgebench.api.run_options import own_task_lines, positive_s
    from edgebench.gate.policy import budget_s_of
    from edgebench.gate.policy_requests import requests_of

    started_s = time.monotonic()
    path = Path(params["policy"])
    requests = requests_of(policy, path, params["base"], params["head"])
    for line in own_task_lines(workload for request in requests for workload in request.workloads):
        say(line)
    budget, option = params["budget"], "--budget"
    budget_s = positive_s(budget, option, "60s") if budget else budget_s_of(policy)
    with watching() as watcher:
        report = compare(
            requests,
            alpha=policy.alpha,
            settings=Settings(budget_s=budget_s, started_s=started_s),
            watcher=watcher,
            out=None if params["no_save"] else Path(params["out"]),
            meter=None if params["no_energy"] else meter_here(params["energy_root"]),
        )
    if not policy.limits:
        return report
    note = f"the limits of {path} were not judged: they apply to stored results (edgebench gate NEW.jsonl)"
    return msgspec.structs.replace(report, notes=[*report.notes, note])


def _stored(params: Mapping[str, Any], policy: Any) -> GateReport:
    from edgebench.ab_test.ab_report_types import Tolerances
    from edgebench.analysis.table import build_table
    from edgebench.gate.absolute_limits import CellRequirement, judge_stored, parse_limit
    from edgebench.store import iter_records

    if params["candidate"] is None:
        raise UsageError(
            "the result file to judge is missing", "name it last: edgebench gate ... NEW.jsonl"
        )
    if params["base"] or params["head"] or params["budget"]:
        raise UsageError(
            "--base, --head and --budget belong to a measurement; stored results are only checked",
            "leave them out",
        )
    limits = [parse_limit(text) for text in [*params["limits"], *(policy.limits if policy else [])]]
    tolerances = Tolerances()
    cells: list[CellRequirement] = []
    if policy is not None:
        from edgebench.gate.policy_requests import demands_of, tolerances_of

        tolerances, cells = tolerances_of(policy.tolerances), demands_of(policy)
    baseline = params["baseline"]
    return judge_stored(
        build_table(iter_records(Path(params["candidate"]))),
        build_table(iter_records(Path(baseline))) if baseline else None,
        limits,
        tolerances,
        cells,
    )
