"""pytest plugin: the option `--backend` for `pytest --pyargs edgebench.testing --backend NAME`.

An installed plugin is loaded into every pytest session of its environment, so it must stay out of
the way: the option exists only in sessions that are told to run this package, and cannot clash
with a project's own `--backend` elsewhere.
"""

from __future__ import annotations

from pathlib import Path

import pytest

USAGE = "say which backend: pytest --pyargs edgebench.testing --backend NAME"


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(parser: pytest.Parser, args: list[str]) -> None:
    if any(_names_the_kit(arg) for arg in args):
        group = parser.getgroup("edgebench", "edgebench backend contract")
        group.addoption(
            "--backend",
            metavar="NAME",
            dest="edgebench_backend",
            help="as for `edgebench run --backend`: a name, or path/file.py:Class",
        )


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config.option, "edgebench_backend") or config.option.help:
        return
    name = config.option.edgebench_backend
    if not name:
        raise pytest.UsageError(USAGE)
    from edgebench.errors import EdgebenchError
    from edgebench.registry import BrokenBackend, load

    try:
        backend = load(name)
    except EdgebenchError as error:
        raise pytest.UsageError(str(error)) from None
    if isinstance(backend, BrokenBackend):
        raise pytest.UsageError(str(backend.availability()))


def _names_the_kit(arg: str) -> bool:
    target = arg.partition("::")[0]
    if target == "edgebench.testing" or target.startswith("edgebench.testing."):
        return True
    if target.startswith("-"):
        return False
    folder = Path(__file__).parent
    path = Path(target).resolve()
    return folder in (path, path.parent)
