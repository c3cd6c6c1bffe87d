"""`edgebench schema`."""

from __future__ import annotations

import json

import click

from edgebench.definitions.json_schema import KINDS, json_schema


@click.command(name="schema")
@click.argument("kind", metavar="|".join(KINDS))
def command(kind: str) -> None:
    """Print the JSON Schema of a definition or result format.

    An editor completes and checks a YAML file that begins with the line
    `# yaml-language-server: $schema=workload.schema.json`.

    \b
    Example:
      edgebench schema workload > workload.schema.json
    """
    click.echo(json.dumps(json_schema(kind), indent=2))
