"""Backends are found in the folder, by entry point and by FILE:CLASS; broken is never missing."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from edgebench import registry
from edgebench.backend import Backend, Ready, Unavailable
from edgebench.errors import UsageError
from edgebench.installed_packages import installed_version

BACKEND = """\
from edgebench.backend import Backend, Capabilities, Ready


class {name}(Backend):
    name = "{name}"
    summary = "for a test"
    capabilities = Capabilities(formats=("onnx",), precisions=("fp32",), options=())

    def availability(self):
        return Ready("1.0")

    def import_runtime(self):
        return "1.0"

    def open(self, model, options):
        raise NotImplementedError


BACKEND = {name}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of backends searched beside the shipped ones, and the root of a user's modules."""
    package = sys.modules[registry.GROUP]
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder: Path, file: str, text: str) -> Path:
    path = folder / file
    path.write_text(text, encoding="utf-8")
    return path


def entry_point(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    point = importlib.metadata.EntryPoint(name, value, registry.GROUP)
    # Twice: one distribution can be on sys.path twice.
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda *, group: (point, point))


def availability(backend: Backend) -> Unavailable:
    found = backend.availability()
    assert isinstance(found, Unavailable)
    return found


def test_every_file_of_the_folder_is_a_backend_of_that_name() -> None:
    assert {"null", "ort"} <= set(registry.names())
    for name in registry.names():
        backend = registry.load(name)
        assert backend.name == name
        assert not isinstance(backend, registry.BrokenBackend)


def test_finding_and_loading_imports_no_runtime() -> None:
    code = (
        "import sys; from edgebench import registry\n"
        "for name in registry.names(): registry.load(name).availability()\n"
        "print([m for m in ('numpy', 'onnx', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_new_file_is_a_new_backend(folder: Path) -> None:
    write(folder, "fresh.py", BACKEND.format(name="fresh"))
    write(folder, "_helper.py", "")
    assert "fresh" in registry.names()
    assert "_helper" not in registry.names()
    assert registry.load("fresh").availability() == Ready("1.0")


def test_an_unknown_name_is_an_error_with_the_one_that_was_meant() -> None:
    with pytest.raises(UsageError, match=r"no backend 'nul'; did you mean 'null'\?"):
        registry.load("nul")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import a_runtime_that_is_not_here", "ModuleNotFoundError: No module named 'a_runtime"),
        ("raise OSError('libx.so: no such file')", "OSError: libx.so: no such file"),
        ("def broken(:", "SyntaxError"),
        ("x = 1", "has no attribute 'BACKEND'"),
        ("BACKEND = dict", "not a subclass of edgebench.backend.Backend"),
        (BACKEND.format(name="another"), "it calls itself 'another'"),
        (BACKEND.format(name="cracked").replace("def open", "def shut"), "abstract"),
    ],
)
def test_a_backend_that_cannot_be_loaded_is_broken_and_listed(
    folder: Path, text: str, words: str
) -> None:
    write(folder, "cracked.py", text)
    assert "cracked" in registry.names()
    backend = registry.load("cracked")
    assert backend.name == "cracked"
    assert availability(backend).kind == "broken"
    assert words in availability(backend).reason
    assert "edgebench.backends.cracked" in availability(backend).reason
    with pytest.raises(ImportError):
        backend.import_runtime()


def test_an_entry_point_is_a_backend(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, "their_module.py", BACKEND.format(name="theirs"))
    entry_point(monkeypatch, "theirs", "their_module:theirs")
    assert registry.load("theirs").name == "theirs"
    entry_point(monkeypatch, "theirs", "their_module")
    assert registry.load("theirs").name == "theirs"


def test_an_entry_point_that_fails_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    entry_point(monkeypatch, "theirs", "a_module_that_is_not_here:Class")
    found = availability(registry.load("theirs"))
    assert found.kind == "broken"
    assert "a_module_that_is_not_here" in found.reason


def test_two_backends_of_one_name_are_an_error_that_names_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry_point(monkeypatch, "null", "their_module:Null")
    for ask in (registry.names, lambda: registry.load("ort")):
        with pytest.raises(UsageError, match=r"edgebench\.backends\.null and their_module:Null"):
            ask()


def test_a_class_in_a_file_or_module(folder: Path) -> None:
    path = write(folder, "mine.py", BACKEND.format(name="Mine"))
    assert registry.load(f"{path}:Mine").name == "Mine"
    assert registry.load("mine:Mine").name == "Mine"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("absent.py:Mine", "no file"),
        ("absent_module:Mine", "no module 'absent_module'"),
        ("absent_package.module:Mine", "no module 'absent_package.module'"),
        ("mine:Min", "did you mean 'Mine'"),
        ("mine:Ready", "mine:Ready is not a Backend; known: Mine"),
        (":Mine", "is not FILE.py:CLASS"),
        ("mine:", "is not FILE.py:CLASS"),
    ],
)
def test_a_specification_that_makes_no_sense(folder: Path, spec: str, words: str) -> None:
    write(folder, "mine.py", BACKEND.format(name="Mine"))
    with pytest.raises(UsageError, match=words):
        registry.load(spec)


@pytest.mark.parametrize("spec", ["{folder}/mine.py:Mine", "mine:Mine"])
def test_a_users_module_that_fails_is_broken(folder: Path, spec: str) -> None:
    write(folder, "mine.py", "import a_runtime_that_is_not_here")
    found = availability(registry.load(spec.format(folder=folder)))
    assert found.kind == "broken"
    assert "No module named 'a_runtime_that_is_not_here'" in found.reason


def test_the_version_of_what_is_installed() -> None:
    version = importlib.metadata.version("msgspec")
    assert installed_version("a-distribution-not-here", "msgspec") == version
    assert installed_version("a-distribution-not-here") is None


def test_a_files_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert registry.absolute("mine.py:Mine") == f"{tmp_path.resolve()}/mine.py:Mine"
    assert registry.absolute("mine:Mine") == "mine:Mine"
    assert registry.absolute("null") == "null"


def test_all_at_once_are_what_each_is_alone(folder: Path) -> None:
    write(folder, "cracked.py", "raise OSError('libx.so: no such file')")
    found = registry.every()
    assert [backend.name for backend in found] == registry.names()
    for backend in found:
        alone = registry.load(backend.name)
        assert type(backend) is type(alone)
        assert backend.availability() == alone.availability()


def test_a_worker_loads_a_shipped_backend_without_a_look_at_what_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = registry.direct("null")

    def looked() -> NoReturn:
        raise AssertionError("every installed distribution was read")

    monkeypatch.setattr(registry, "_entry_points", looked)
    assert registry.load(spec).name == "null"
    assert registry.direct("mine.py:Mine") == "mine.py:Mine"
    assert registry.direct("not-shipped") == "not-shipped"


def test_a_worker_that_starts_reads_no_metadata_of_distributions() -> None:
    script = """
import sys
before = "importlib.metadata" in sys.modules
import edgebench.measure.replicate.worker
assert ("importlib.metadata" in sys.modules) == before
"""
    subprocess.run([sys.executable, "-c", script], check=True)
