"""`edgebench gate`: a policy's A/B in CI, or stored results against absolute limits."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgebench.cli.ab import EPILOG, FORMATS, finish
from edgebench.cli.shared.verdict_files import VerdictCommand, concluded
from edgebench.errors import UsageError
from edgebench.text.plain_text import say

if TYPE_CHECKING:
    from edgebench.ab_test.ab_report_types import GateReport

_FILE = click.Path(exists=True, dir_okay=False)


@click.command(name="gate", cls=VerdictCommand, epilog=EPILOG)
@click.argument("candidate", required=False, type=_FILE, metavar="[CANDIDATE.jsonl]")
@click.option("--policy", type=_FILE, help="What is compared and how: gate.yaml.")
@click.option("--base", multiple=True, metavar="SPEC", help="In place of the policy's base.")
@click.option("--head", multiple=True, metavar="SPEC", help="In place of the policy's head.")
@click.option("--budget", help="In place of the policy's: 60s.")
@click.option("--baseline", type=_FILE, help="Stored results that CANDIDATE is held against.")
@click.option("--limit", "limits", multiple=True, help='Of CANDIDATE: "latency.p99 <= 30 ms".')
@click.option(
    "--inconclusive", type=click.Choice(["pass", "fail"]), help="What INCONCLUSIVE counts as."
)
@click.option(
    "--out", type=click.Path(file_okay=False), default="results", show_default=True,
    help="Folder for the raw pairs.",
)  # fmt: skip
@click.option("--no-energy", is_flag=True, help="Read no meter: pairs take less time.")
@click.option("--energy-root", hidden=True, type=click.Path(exists=True, file_okay=False))
@click.option("--no-save", is_flag=True, help="Keep no raw pairs.")
@click.option("--junit", type=click.Path(dir_okay=False), help="Write a JUnit XML file as well.")
@click.option("--markdown", type=click.Path(dir_okay=False), help="Write a comment body as well.")
@click.option("--github", is_flag=True, help="Write a step summary and annotations.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True)
def command(**given: Any) -> int:
    """Judge a change: the A/B of --policy, or stored results against limits.

    Latency is judged only where base and head are measured in this job. Of two stored files it is shown
    and not judged; limits like "latency.p99 <= 30 ms", memory, size and quality are.
    """
    return finish(concluded(given, lambda: _judged(given)), given)


def _judged(given: dict[str, Any]) -> GateReport:
    """By its policy or by stored results. Whether `inconclusive` passes is the policy's, unless given."""
    stored = given["candidate"] or given["baseline"] or given["limits"]
    if not stored and given["policy"] is None:
        raise UsageError(
            "nothing to judge", "give --policy gate.yaml, or --baseline OLD.jsonl NEW.jsonl"
        )
    policy = None
    if given["policy"]:
        from edgebench.gate.policy import load_policy

        policy = load_policy(Path(given["policy"]))
    given["inconclusive"] = given["inconclusive"] or (policy.inconclusive if policy else "fail")
    return _stored(given, policy) if stored else _measured(given, policy)


def _measured(given: Mapping[str, Any], policy: Any) -> GateReport:
    import msgspec

    from edgebench.ab_test.ab_runner import Settings
    from edgebench.ab_test.run_ab import compare
    from edgebench.api.ab_progress import watching
    from edgebench.api.ab_request import positive
    from edgebench.api.energy_source import meter_here
    from edgebench.api.own_tasks import own_task_lines
    from edgebench.gate.policy import budget_s_of
    from edgebench.gate.policy_requests import requests_of

    started_s = time.monotonic()
    path = Path(given["policy"])
    requests = requests_of(policy, path, given["base"], given["head"])
    for line in own_task_lines(workload for request in requests for workload in request.workloads):
        say(line)
    budget_s = positive(given["budget"], "--budget") if given["budget"] else budget_s_of(policy)
    with watching() as watcher:
        report = compare(
            requests,
            alpha=policy.alpha,
            settings=Settings(budget_s=budget_s, started_s=started_s),
            watcher=watcher,
            out=None if given["no_save"] else Path(given["out"]),
            meter=None if given["no_energy"] else meter_here(given["energy_root"]),
        )
    if not policy.limits:
        return report
    note = f"the limits of {path} are not judged here: they are of stored results"
    return msgspec.structs.replace(report, notes=[*report.notes, note])


def _stored(given: Mapping[str, Any], policy: Any) -> GateReport:
    from edgebench.ab_test.ab_report_types import Tolerances
    from edgebench.analysis.table import build_table
    from edgebench.gate.absolute_limits import CellRequirement, judge_stored, parse_limit
    from edgebench.store import iter_records

    if given["candidate"] is None:
        raise UsageError("no results to judge", "name the file: edgebench gate ... NEW.jsonl")
    if given["base"] or given["head"] or given["budget"]:
        raise UsageError(
            "--base, --head and --budget are of a measurement, and stored results are not measured",
            "leave them out",
        )
    limits = [parse_limit(text) for text in [*given["limits"], *(policy.limits if policy else [])]]
    tolerances = Tolerances()
    cells: list[CellRequirement] = []
    if policy is not None:
        from edgebench.gate.policy_requests import demands_of, tolerances_of

        tolerances, cells = tolerances_of(policy.tolerances), demands_of(policy)
    baseline = given["baseline"]
    return judge_stored(
        build_table(iter_records(Path(given["candidate"]))),
        build_table(iter_records(Path(baseline))) if baseline else None,
        limits,
        tolerances,
        cells,
    )
