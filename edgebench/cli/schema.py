"""`edgebench schema`."""

from __future__ import annotations

import json

import click

from edgebench.definitions.json_schema import KINDS, json_schema


@click.command(name="schema")
@click.argument("kind", metavar="|".join(KINDS))
def command(kind: str) -> None:
    """Print the JSON Schema of a definition or result format.

    For an editor: `edgebench schema workload > workload.schema.json`, and as the first line of the
    YAML file `# yaml-language-server: $schema=workload.schema.json`.
    """
    click.echo(json.dumps(json_schema(kind), indent=2))
