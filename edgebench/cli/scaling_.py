"""`edgebench scaling`: what more tokens and more samples of a decoder buy, and what they cost."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from edgebench.errors import UsageError


@click.command("scaling")
@click.argument("paths", metavar="FILE|DIR...", nargs=-1, required=True, type=Path)
@click.option("--within", metavar="TIME", help="The slowest task must keep this: 2s.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
def command(paths: Sequence[Path], within: str | None, form: str) -> None:
    """Accuracy against latency over token budgets and samples, with fits of prefill and decode.

    Reads results of workloads with sampled answers (smollm2-budget).
    """
    import msgspec

    from edgebench.analysis.scaling import scaling_of
    from edgebench.cli.results import files_of, records_of
    from edgebench.report.scaling import render
    from edgebench.units import parse_duration_s

    within_ns = None if within is None else round(parse_duration_s(within) * 1e9)
    found = scaling_of(records_of(files_of(paths)), within_ns)
    if not found:
        raise UsageError(
            "no result holds sampled answers",
            "edgebench run smollm2-budget, or the option `samples` in a workload of your own",
        )
    if form == "json":
        body = {"schema": "edgebench.scaling/1", "within_ns": within_ns, "cells": found}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(body), indent=2).decode() + "\n")
        return
    render(found, within_ns, sys.stdout)
