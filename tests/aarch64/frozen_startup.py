"""The first module of an interpreter that comes without a command line: makes it behave as `python3` does.

The Python 3.10 of aarch64 (see python310.py) is meant to start one frozen program; this starts what its arguments name:
`-c CODE`, `-m MODULE` or a file. Installed as `__startup__.py` beside the standard library.
"""

import os
import sys
from pathlib import Path

_FLAGS = ("-I", "-E", "-s", "-B", "-u", "-P", "-S")


def init() -> None:
    """Lets imports be found as PYTHONPATH says, as every Python 3.10 does."""
    home = str(Path(sys.executable).parent / "lib")
    sys.path[:] = [
        *filter(None, os.environ.get("PYTHONPATH", "").split(":")), home, home + "/lib-dynload",
    ]  # fmt: skip
    sys.dont_write_bytecode = "PYTHONDONTWRITEBYTECODE" in os.environ
    sys.pycache_prefix = os.environ.get("PYTHONPYCACHEPREFIX")
    vars(sys).pop("frozen", None)


def run() -> None:
    """Runs what the arguments name."""
    import runpy

    arguments = sys.argv[1:]
    while arguments and arguments[0] in _FLAGS:
        del arguments[0]
    if not arguments:
        raise SystemExit("this Python has no prompt: give -c CODE, -m MODULE or a file")
    what, *rest = arguments
    if what == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.path.insert(0, "")
        main = type(sys)("__main__")
        sys.modules["__main__"] = main
        main.__dict__["__builtins__"] = __builtins__
        exec(compile(rest[0], "<string>", "exec"), main.__dict__)  # noqa: S102 - that is what -c is
    elif what == "-m":
        sys.argv = rest
        sys.path.insert(0, str(Path.cwd()))
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(what, run_name="__main__")
