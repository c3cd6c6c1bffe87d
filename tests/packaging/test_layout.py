"""Folders have an order: imports go down, never in a circle; names of files lead to one place."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_FILES = 25
#: Folders that are a registry, one file per kind: the only ones that may grow beyond MOST_FILES.
REGISTRIES = {
    "edgebench/cli",
    "edgebench/tasks",
    "edgebench/energy/sources",
    "edgebench/importers",
    "backends/mlx/ops",
}
#: Stems that two files have, and why that does not mislead.
TWICE = {
    "executorch": "the backend, and the reader of its tool: both folders are registries by name",
    "frontier": "the command, and what it prints",
    "pick": "the command, and what it prints",
}
#: Room -> rooms that it never reaches, through whatever it imports.
NEVER = {
    "measure": {"cli", "render", "report", "gate"},
    "analysis": {"cli", "render", "report", "measure", "ab_test", "gate"},
    "record": {"analysis", "measure", "probes", "energy", "cli"},
    "backend": {"registry", "record", "measure", "analysis"},
    "report": {"cli"},
    "render": {"cli", "report"},
    "gate": {"cli", "report"},
}
#: Two halves of one seam, whose types name each other.
HALVES = [("edgebench.backend", "edgebench.generation")]
Graph = dict[str, set[str]]


def folders(top: str) -> Iterator[tuple[str, list[Path]]]:
    found = defaultdict(list)
    for path in sorted((ROOT / top).rglob("*.py")):
        if path.name != "__init__.py":
            found[path.parent.relative_to(ROOT).as_posix()].append(path)
    yield from found.items()


@cache
def sources() -> dict[str, Path]:
    """Module -> file, of all that is shipped."""
    found = {}
    for top, package in (("edgebench", ()), ("backends", ("edgebench",))):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = [*package, *path.relative_to(ROOT).with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(tree: ast.AST, types: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports at the top or in a function; `types`: also those for the eyes of a type checker."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif types or not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            yield from imports(node, types)


def names(module: str, path: Path, types: bool) -> Iterator[str]:
    """What a module imports, by full names."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in imports(ast.parse(path.read_text(encoding="utf-8")), types):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
            continue
        above = package[: len(package) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        yield from (f"{base}.{alias.name}" for alias in node.names)


@cache
def modules(types: bool) -> Graph:
    """Module -> modules that it imports."""
    graph: Graph = {}
    for module, path in sources().items():
        named = {
            name if name in sources() else name.rpartition(".")[0]
            for name in names(module, path, types)
        }
        graph[module] = (named & sources().keys()) - {module}
    return graph


def room(module: str) -> str:
    """The folder or the single file below edgebench/ that a module belongs to."""
    return module.split(".")[1] if "." in module else module


@cache
def rooms() -> Graph:
    graph: Graph = defaultdict(set)
    for module, others in modules(types=False).items():
        graph[room(module)] |= {room(other) for other in others} - {room(module), "edgebench"}
    return graph


def circle(graph: Graph) -> str:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " <- ".join(error.args[1])
    return ""


def reached(start: str) -> set[str]:
    found: set[str] = set()
    ahead = [start]
    while ahead:
        new = rooms()[ahead.pop()] - found
        found |= new
        ahead += new
    return found


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {module: set(others) for module, others in modules(types=True).items()}
    for one, other in HALVES:
        graph[one].remove(other)
    graph["edgebench"].clear()  # the door: what it names is imported when it is used
    graph["edgebench.errors"].clear()  # an error may carry results, whose type it names
    assert circle(graph) == ""


def test_folders_have_an_order_so_that_every_import_goes_down() -> None:
    assert circle(rooms()) == ""


@pytest.mark.parametrize("start", NEVER)
def test_lower_folders_never_import_upper_ones(start: str) -> None:
    assert start in rooms()
    assert reached(start) & NEVER[start] == set()


def test_commands_are_imported_by_nobody_but_the_program() -> None:
    assert {start for start in rooms() if "cli" in rooms()[start]} == {"__main__"}


@pytest.mark.parametrize("top", ["edgebench", "backends", "tests"])
def test_no_folder_is_a_heap(top: str) -> None:
    large = {
        folder: len(paths)
        for folder, paths in folders(top)
        if len(paths) > MAX_FILES and folder not in REGISTRIES
    }
    assert large == {}


def test_a_stem_leads_to_one_place() -> None:
    places = defaultdict(list)
    for path in sources().values():
        if path.name not in ("__init__.py", "__main__.py"):
            places[path.stem].append(path.relative_to(ROOT).as_posix())
    twice = {stem: files for stem, files in places.items() if len(files) > 1}
    assert {stem: files for stem, files in twice.items() if stem not in TWICE} == {}
    assert twice.keys() == TWICE.keys(), "explained, and no longer needed"
