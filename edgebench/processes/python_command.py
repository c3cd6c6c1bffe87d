"""Command lines of children that are a Python: the one place where they are built.

`python -m` and `python -c` put the working directory first among the places that imports are looked for
in: a numpy.py or a folder edgebench/ that lies there would be executed. No child gets it from here.
(`python -P` does that as well, from 3.11 on.)
"""

from __future__ import annotations

import sys

_RUN = "import runpy; runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
_FOREIGN_PATH = "import sys; sys.path[:] = filter(None, sys.path); "


def module_command(module: str, *arguments: str) -> list[str]:
    """Runs a module in a fresh process of this Python, which imports what this process imports."""
    path = [entry for entry in sys.path if entry]
    return [sys.executable, "-c", f"import sys; sys.path[:] = {path!r}; {_RUN}", module, *arguments]


def code_command(code: str) -> list[str]:
    """Runs statements in a fresh process of this Python, which imports what this process imports; `sys` is imported."""
    path = [entry for entry in sys.path if entry]
    return [sys.executable, "-c", f"import sys; sys.path[:] = {path!r}; {code}"]


def foreign_module_command(python: str, module: str, *arguments: str) -> list[str]:
    """Runs a module in another Python, which imports what is installed there and what PYTHONPATH names."""
    return [python, "-c", _FOREIGN_PATH + _RUN, module, *arguments]


def foreign_code_command(python: str, code: str) -> list[str]:
    """Runs statements in another Python; `sys` is imported."""
    return [python, "-c", _FOREIGN_PATH + code]
