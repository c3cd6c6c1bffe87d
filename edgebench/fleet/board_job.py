"""`python -m edgebench.fleet.board_job FOLDER`: measures a job on its board, and keeps how it ended.

It is the `edgebench run` itself: where it is killed, nothing says that it ended, and it is started again with
`--resume`. The lock of the job, which it was given, is held as long as it lives.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

from edgebench.store import JOURNAL_SUFFIX

#: Interrupted, and results that cannot be written: no end while a journal is left.
_NO_END = (130, 7)


def main(folder: Path) -> None:
    """Runs the program as if it had been typed, and writes its exit code."""
    sys.argv = ["edgebench", *json.loads((folder / "job.json").read_text())]
    code = _code_of_program()
    if code in _NO_END and any((folder / "results").rglob(f"*{JOURNAL_SUFFIX}")):
        sys.exit(code)
    partial = folder / "ended.new"
    partial.write_text(str(code))
    partial.replace(folder / "ended")


def _code_of_program() -> int:
    try:
        runpy.run_module("edgebench", run_name="__main__", alter_sys=True)
    except SystemExit as error:
        return (
            int(error.code) if isinstance(error.code, int) else 1
        )  # an enumeration is a word to str
    return 0


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
