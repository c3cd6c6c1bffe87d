"""Results of other tools as records: one file per format, the folder is the registry.

A format is a module with `TOOL` (its name on the command line), `SUMMARY` (what it reads) and
`read(source) -> Imports`. What a source does not tell stays unknown, with the reason.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgebench.errors import UsageError
from edgebench.text.did_you_mean import did_you_mean

if TYPE_CHECKING:
    from edgebench.importers._source import Imports, SourceFile


def tools() -> dict[str, str]:
    """Name of every format -> what it reads."""
    stems = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))
    modules = [importlib.import_module(f"{__name__}.{stem}") for stem in stems]
    return {module.TOOL: module.SUMMARY for module in modules}


def reader(tool: str) -> Callable[[SourceFile], Imports]:
    """Reads files of a format into records of which no two share an id.

    Raises UsageError with the nearest name where there is no such format.
    """
    known = tools()
    if tool not in known:
        raise UsageError(
            f"no format {tool!r}{did_you_mean(tool, known)}", f"one of {', '.join(known)}"
        )
    module = importlib.import_module(f"{__name__}.{tool.replace('-', '_')}")

    def read(source: SourceFile) -> Imports:
        from edgebench.importers._source import told_apart

        return told_apart(module.read(source))

    return read
