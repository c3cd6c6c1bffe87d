"""The option `--prefer` of all commands that choose a deployment."""

from __future__ import annotations

import click

from edgebench.analysis.ties import DEFAULT, parse_preferences

prefer_option = click.option(
    "--prefer",
    callback=lambda context, parameter, text: parse_preferences(text),
    default=",".join(DEFAULT),
    show_default=True,
    metavar="CRITERIA",
    help="Criteria, in this order, that choose between deployments whose results are too close to call.",
)
