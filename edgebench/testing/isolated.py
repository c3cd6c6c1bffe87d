"""Looks at a backend in a fresh interpreter: `python -m edgebench.testing.isolated imports|hidden NAME`.

Prints one JSON object. `imports`: foreign modules that loading the backend and asking for its
availability brought in. `hidden`: what availability says where nothing but the standard library,
edgebench and the backend's own package can be found.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, DistributionFinder
from typing import Any

from edgebench import registry
from edgebench.backend import Backend, Ready

#: Small packages that edgebench's own light commands import as well.
_LIGHT = {"click", "msgspec", "platformdirs", "psutil", "rich", "yaml"}


class _Hiding:
    """A module finder that finds only what is allowed, and no distribution at all."""

    def __init__(self, finder: Any, allowed: set[str]) -> None:
        self._finder = finder
        self._allowed = allowed

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.partition(".")[0] not in self._allowed:
            return None
        return self._finder.find_spec(name, path, target)

    def find_distributions(
        self, context: DistributionFinder.Context | None = None
    ) -> Iterable[Distribution]:
        return ()


def main(mode: str, name: str) -> None:
    before = set(sys.modules)
    backend = registry.load(name)
    own = type(backend).__module__.partition(".")[0]
    allowed = {*sys.stdlib_module_names, *_LIGHT, "edgebench", own}
    answer = _imports(backend, before, allowed) if mode == "imports" else _hidden(backend, allowed)
    print(json.dumps(answer))


def _imports(backend: Backend, before: set[str], allowed: set[str]) -> dict[str, Any]:
    backend.availability()
    # None in the place of a module keeps it from being imported.
    loaded = {name for name, module in sys.modules.items() if module is not None}
    return {"imports": sorted({name.partition(".")[0] for name in loaded - before} - allowed)}


def _hidden(backend: Backend, allowed: set[str]) -> dict[str, Any]:
    sys.meta_path[:] = [_Hiding(finder, allowed) for finder in sys.meta_path]
    state = backend.availability()
    if isinstance(state, Ready):
        return {"kind": "ready", "version": state.version}
    return {"kind": state.kind, "reason": state.reason, "fix": state.fix}


if __name__ == "__main__":
    main(*sys.argv[1:])
