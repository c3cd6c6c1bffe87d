"""How every command ends."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import click
import pytest

from edgebench.cli import cli
from edgebench.cli.shared.error_to_exit_code import exit_code_of
from edgebench.errors import EdgebenchError, ExitCode, StoreError, UnsupportedError
from edgebench.record import encode
from edgebench.testing.models import two_by_two
from edgebench.units import parse_duration_s
from tests.records import record

FULL = Path("/dev/full")


def ends(stdout: int, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "edgebench", *arguments]
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)
    return done.returncode, done.stderr


# Short output is written when the command is over, long output while it runs.
OUTPUTS = (["schema", "gate"], ["schema", "record"])


@pytest.mark.parametrize("arguments", OUTPUTS)
def test_a_reader_that_has_enough_is_no_failure(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert ends(writer, *arguments) == (ExitCode.OK, "")
    finally:
        os.close(writer)


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")
@pytest.mark.parametrize("arguments", OUTPUTS)
def test_a_full_disk_is_one_error(arguments: list[str]) -> None:
    with FULL.open("w") as full:
        code, said = ends(full.fileno(), *arguments)
    assert code == ExitCode.STORE
    assert said == "edgebench: stdout cannot be written: No space left on device\n"


def closed(fds: tuple[int, ...], *arguments: str) -> tuple[int, str]:
    """Exit code and stderr of a command that starts with these descriptors closed."""

    def close() -> None:
        for fd in fds:
            os.close(fd)

    command = [sys.executable, "-m", "edgebench", *arguments]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=close,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("arguments", [*OUTPUTS, ["--help"]])
def test_a_closed_stdout_is_one_error(arguments: list[str]) -> None:
    assert closed((1,), *arguments) == (
        ExitCode.STORE,
        "edgebench: stdout cannot be written: Bad file descriptor\n",
    )


@pytest.mark.parametrize("fds", [(2,), (0, 2), (0, 1, 2)])
def test_a_closed_stderr_decides_nothing(fds: tuple[int, ...], tmp_path: Path) -> None:
    code, _ = closed(fds, "show", str(tmp_path / "none.jsonl"))
    assert code == ExitCode.STORE


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")
def test_a_full_stderr_decides_nothing(tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    results = write_results(tmp_path)
    with FULL.open("w") as full:
        command = [sys.executable, "-m", "edgebench", "export", str(results), "-o", str(out)]
        assert subprocess.run(command, stderr=full, check=False).returncode == ExitCode.OK
    assert out.read_text()


def test_a_file_that_is_opened_later_never_gets_the_descriptor_of_a_closed_stream(
    tmp_path: Path,
) -> None:
    """A runtime that warns on descriptor 2 would write into it."""
    out = tmp_path / "rows.csv"
    assert (
        closed((0, 1, 2), "export", str(write_results(tmp_path)), "-o", str(out))[0] == ExitCode.OK
    )
    code = (
        "import os; from edgebench.cli.shared.streams import secure_streams; secure_streams(); "
        f"file = open({str(tmp_path / 'later')!r}, 'w'); os._exit(file.fileno())"
    )
    command = [sys.executable, "-c", code]

    def close() -> None:
        for fd in (0, 1, 2):
            os.close(fd)

    done = subprocess.run(command, check=False, preexec_fn=close)
    assert done.returncode > 2


@pytest.mark.parametrize("columns", ["0", "1", "-5", "nonsense", "9" * 5000, "\u00b2", "9" * 9])
def test_a_width_that_cannot_be_leaves_nothing_out(tmp_path: Path, columns: str) -> None:
    command = [sys.executable, "-m", "edgebench", "show", str(write_results(tmp_path))]
    environment = {**os.environ, "COLUMNS": columns, "LINES": columns}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (ExitCode.OK, "")
    assert "deploy" in done.stdout


def write_results(folder: Path) -> Path:
    file = folder / "results.jsonl"
    file.write_bytes(encode(record()) + encode(record({"precision": "int8-static"}, p50=4e6)))
    return file


@pytest.mark.parametrize(
    "error", [KeyError("x"), RecursionError(), AssertionError(), ImportError()]
)
def test_a_crash_is_no_verdict(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """1 would be read as a regression."""
    code, said = ends_with(error, monkeypatch, capsys)
    assert (code, int(ExitCode.INTERNAL)) == (70, 70)
    assert type(error).__name__ in said
    assert "(error_to_exit_code.py:" in said
    assert "Traceback" not in said


def test_the_place_of_a_crash_is_the_innermost_line_of_edgebench(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In whichever of its folders that line is."""
    nothing: Any = None
    monkeypatch.setattr(cli, "main", lambda **_: parse_duration_s(nothing))
    assert exit_code_of(cli) == ExitCode.INTERNAL
    assert "(units.py:" in capsys.readouterr().err


def test_the_place_of_a_crash_is_shown_to_who_asks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEBENCH_TRACEBACK", "1")
    assert "Traceback" in ends_with(KeyError("x"), monkeypatch, capsys)[1]


def test_a_full_folder_for_temporary_files_is_not_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/edgebench-1/rows.jsonl")
    code, said = ends_with(error, monkeypatch, capsys)
    assert code == ExitCode.STORE
    assert said.startswith("edgebench: /tmp/edgebench-1/rows.jsonl: No space left on device\n")
    assert "TMPDIR" in said


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)), ExitCode.STORE),
        (MemoryError(), ExitCode.STORE),
        (UnsupportedError("no such kernel"), ExitCode.USAGE),
        (UnicodeEncodeError("utf-8", "/caf\udce9/cache", 4, 5, "surrogates"), ExitCode.USAGE),
        (EdgebenchError("a file is not what a task needs"), ExitCode.ASSET),
        (StoreError("\x1b[2J\n::error::pwned " + "x" * 30_000), ExitCode.STORE),
    ],
)
def test_every_error_has_a_code_that_is_no_verdict(
    error: Exception,
    code: ExitCode,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found, said = ends_with(error, monkeypatch, capsys)
    assert (found, code == ExitCode.CELL_FAILED) == (code, False)
    assert len(said) < 5000
    assert "\x1b" not in said
    assert "\n::" not in said


def ends_with(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """Exit code and stderr where a command raises this."""

    def fails(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "main", fails)
    code = exit_code_of(cli)
    return code, capsys.readouterr().err


def test_an_interrupt_is_reported_as_lack_of_processes_if_no_thread_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """OpenBLAS sends SIGINT to its own process, which is no Ctrl-C."""

    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    for error in (click.Abort(), KeyboardInterrupt(), RuntimeError("can't start new thread")):
        code, said = ends_with(error, monkeypatch, capsys)
        assert code == ExitCode.STORE
        assert said == (
            "edgebench: the system cannot start another process or thread\n  fix: raise `ulimit -u`\n"
        )


def test_an_interrupt_ends_with_its_own_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends_with(KeyboardInterrupt(), monkeypatch, capsys) == (
        ExitCode.INTERRUPTED,
        "edgebench: interrupted: no file is left half written; give the command again\n",
    )


def test_a_signal_that_ends_a_command_is_told(tmp_path: Path) -> None:
    """click makes an Abort of what a handler raises."""
    code = (
        "import os, signal, sys; from edgebench import cli; from edgebench.cli import show; "
        "show.command.callback = lambda **_: os.kill(os.getpid(), signal.SIGXCPU); "
        f"sys.argv[1:] = ['show', {str(write_results(tmp_path))!r}]; cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.INTERRUPTED
    told = "edgebench: stopped by SIGXCPU: no file is left half written; give the command again"
    assert done.stderr.strip() == told


def test_a_working_directory_that_was_removed_is_one_error(tmp_path: Path) -> None:
    results, gone = write_results(tmp_path), tmp_path / "gone"
    gone.mkdir()
    code = (
        f"import os, sys; os.chdir({str(gone)!r}); os.rmdir({str(gone)!r}); "
        f"sys.argv[1:] = ['export', {str(results)!r}, '-o', 'x.csv']; "
        "from edgebench.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.STORE
    said = "edgebench: x.csv: cannot be written: No such file or directory\n"
    assert done.stderr == f"{said}  fix: name another place\n"


#: Executes a command without what lets root pass where modes do not let it (CAP_DAC_OVERRIDE, ..._READ_SEARCH).
AS_MODES_SAY = """
import ctypes, os, sys
for capability in (1, 2):
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
os.chdir(sys.argv[1])
os.chmod(".", 0)
os.execv(sys.executable, [sys.executable, "-m", "edgebench", *sys.argv[2:]])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities of Linux")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["show", "RESULTS"], ExitCode.OK, ""),
        (["export", "RESULTS", "-o", "OUT/rows.csv"], ExitCode.OK, "rows.csv"),
        (["list", "devices"], ExitCode.OK, ""),
        (
            ["list", "devices", "--devices", "mine.yaml"],
            ExitCode.USAGE,
            "mine.yaml",
        ),
        (
            ["show", "results.jsonl"],
            ExitCode.STORE,
            "Permission denied",
        ),
        (
            ["run", "--model", "MODEL", "--replicates", "1", "--slice", "50ms"],
            ExitCode.STORE,
            "cannot write results: Permission denied",
        ),
        (
            ["run", "--model", "MODEL", "--replicates", "1", "--slice", "50ms", "--out", "OUT"],
            ExitCode.OK,
            "results: OUT",
        ),
    ],
)
def test_a_working_directory_that_cannot_be_read_is_one_error_or_none(
    tmp_path: Path, arguments: list[str], code: ExitCode, said: str
) -> None:
    locked, out = tmp_path / "locked", tmp_path / "out"
    locked.mkdir()
    out.mkdir()
    places = {"RESULTS": write_results(tmp_path), "OUT": out}
    if "MODEL" in arguments:
        places["MODEL"] = two_by_two().write(tmp_path).path
    for name, place in places.items():
        arguments = [argument.replace(name, str(place)) for argument in arguments]
        said = said.replace(name, str(place))
    command = [sys.executable, "-c", AS_MODES_SAY, str(locked), *arguments]
    environment = {**os.environ, "EDGEBENCH_CACHE": str(tmp_path / "cache")}
    try:
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
    finally:
        locked.chmod(0o700)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    if code != ExitCode.OK:
        assert done.stderr.count("edgebench: ") == 1
    if "--out" in arguments:
        assert len(list(out.rglob("*.jsonl"))) == 1


def test_a_user_who_is_not_there_is_one_error(tmp_path: Path) -> None:
    results = write_results(tmp_path)
    command = [sys.executable, "-m", "edgebench", "roofline", str(results)]
    environment = {**os.environ, "EDGEBENCH_CACHE": "~nobody-of-that-name/cache"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.USAGE
    assert "no user has that name" in done.stderr
