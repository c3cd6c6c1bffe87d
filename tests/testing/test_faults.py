"""Each fault backend has its fault, after the runs it was told, and is honest before that."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from edgebench import registry
from edgebench.backend import Backend, ModelFile, Ready, Scalar, Session, Unavailable
from edgebench.errors import UnsupportedError
from edgebench.testing import faults
from edgebench.testing.models import two_by_two

CASE = two_by_two()
NAMES = sorted(
    name
    for name, value in vars(faults).items()
    if isinstance(value, type)
    and issubclass(value, faults.FaultyBackend)
    and not name.startswith("_")
)

#: Opens a model, runs it and says how far it came; in a process of its own.
SCRIPT = """
import sys
from pathlib import Path
from edgebench import registry
from edgebench.testing.models import two_by_two
case = two_by_two()
model = case.write(Path(sys.argv[2]))
session = registry.load("edgebench.testing.faults:" + sys.argv[1]).open(
    model, {"inner": "null", "after": 2}
)
prepared = session.prepare(case.feeds(0))
if len(sys.argv) > 3:
    import resource
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for number in range(4):
    print("run", number, flush=True)
    session.run(prepared)
"""


class Woken(Exception):
    """Raised instead of a sleep."""


def wake(seconds: float) -> NoReturn:
    raise Woken(seconds)


@pytest.fixture
def model(tmp_path: Path) -> ModelFile:
    return CASE.write(tmp_path)


def fault(name: str) -> Backend:
    return registry.load(f"edgebench.testing.faults:{name}")


def opened(name: str, model: ModelFile, **options: Scalar) -> Session:
    backend = fault(name)
    backend.import_runtime()
    return backend.open(model, options)


def answer(session: Session, seed: int) -> dict[str, Any]:
    prepared = session.prepare(CASE.feeds(seed))
    return session.outputs_of(prepared, session.run(prepared))


def assert_right(outputs: dict[str, Any], seed: int) -> None:
    for name, expected in CASE.reference(CASE.feeds(seed)).items():
        np.testing.assert_allclose(outputs[name], expected, rtol=1e-4, atol=1e-5)


def child(name: str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SCRIPT, name, str(folder), *more]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_fault_is_a_backend_of_its_own_name(name: str) -> None:
    backend = fault(name)
    assert backend.summary.startswith("test backend: ")
    assert backend.name.startswith("fault-")


def test_names_are_unique() -> None:
    assert len({fault(name).name for name in NAMES}) == len(NAMES)


def test_without_a_fault_it_is_the_inner_backend(model: ModelFile) -> None:
    session = opened("FaultyBackend", model, threads=1)
    for seed in range(3):
        assert_right(answer(session, seed), seed)
    assert session.effective().threads == 1
    assert session.effective().options["inner"] == "ort"
    session.close()


def test_unknown_options_are_refused(model: ModelFile) -> None:
    with pytest.raises(UnsupportedError, match="did you mean 'after'"):
        opened("Hang", model, aftr=1)


@pytest.mark.parametrize("name", ["Hang", "Crash", "HangHoldingGil"])
def test_the_fault_comes_after_the_runs_it_was_told(
    name: str, model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = opened(name, model, inner="null", after=2)
    prepared = session.prepare(CASE.feeds(0))
    session.run(prepared)
    session.run(prepared)
    monkeypatch.setattr(time, "sleep", wake)
    monkeypatch.setattr(ctypes, "PyDLL", lambda _: type("Libc", (), {"sleep": staticmethod(wake)}))
    expected = RuntimeError if name == "Crash" else Woken
    with pytest.raises(expected):
        session.run(prepared)


def test_hangs_at_import_and_at_open(model: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", wake)
    with pytest.raises(Woken):
        fault("HangAtImport").import_runtime()
    with pytest.raises(Woken):
        fault("HangAtOpen").open(model, {})


def test_hang_holding_the_lock_finds_its_function() -> None:
    assert ctypes.PyDLL(None).sleep(0) == 0


def test_crash_at_open_and_refusal(model: ModelFile) -> None:
    with pytest.raises(RuntimeError, match="loaded the model"):
        opened("CrashAtOpen", model)
    with pytest.raises(UnsupportedError) as caught:
        opened("Refuse", model)
    assert caught.value.fix


def test_segfault_ends_the_process_by_signal(tmp_path: Path) -> None:
    done = child("Segfault", tmp_path)
    assert done.returncode == -signal.SIGSEGV
    assert done.stdout.splitlines()[-1] == "run 2"


def test_exit_ends_the_process_with_three(tmp_path: Path) -> None:
    done = child("Exit", tmp_path)
    assert done.returncode == 3
    assert done.stdout.splitlines()[-1] == "run 2"
    assert done.stderr == ""


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not enforce RLIMIT_AS")
def test_memory_eater_eats_to_the_limit(tmp_path: Path) -> None:
    done = child("MemoryEater", tmp_path, str(256 * 2**20))
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "run 2"
    assert "MemoryError" in done.stderr


def test_memory_eater_goes_on_at_its_own_limit(
    model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []

    class Block(bytearray):
        def __init__(self, size: int) -> None:
            taken.append(size)
            super().__init__(size)

    monkeypatch.setattr(faults, "bytearray", Block, raising=False)
    answer(opened("MemoryEater", model, inner="null", limit_mib=128), seed=0)
    assert taken == [64 * 2**20, 64 * 2**20]


def test_memoise_computes_an_input_once(model: ModelFile) -> None:
    session: Any = opened("Memoise", model, after=1)
    computed: list[Any] = []
    honest = session.inner.run

    def counted(prepared: Any) -> Any:
        computed.append(prepared)
        return honest(prepared)

    session.inner.run = counted
    for seed in (1, 1, 1, 2, 1, 2):
        assert_right(answer(session, seed), seed)
    # The first run is honest and not remembered; then each input is computed once.
    assert len(computed) == 3


def test_wrong_output_is_right_before_and_wrong_after(model: ModelFile) -> None:
    session = opened("WrongOutput", model, after=1)
    assert_right(answer(session, 1), 1)
    for seed in (1, 2):
        outputs = answer(session, seed)
        assert {info.name for info in CASE.outputs} == set(outputs)
        assert all((outputs[info.name] == 1).all() for info in CASE.outputs)
        assert all(outputs[info.name].shape == info.shape for info in CASE.outputs)


def test_async_returns_before_the_work_is_done(model: ModelFile) -> None:
    import threading

    session: Any = opened("Async", model)
    go = threading.Event()
    honest = session.inner.run

    def wait_and_run(prepared: Any) -> Any:
        assert go.wait(30)
        return honest(prepared)

    session.inner.run = wait_and_run
    prepared = session.prepare(CASE.feeds(1))
    raw = session.run(prepared)  # would wait for ever if it did the work itself
    assert not raw.done()
    go.set()
    assert_right(session.outputs_of(prepared, raw), 1)
    session.close()


def test_silent_fallback_executes_what_was_not_asked(model: ModelFile) -> None:
    session = opened("SilentFallback", model)
    assert session.inner.effective().precision == "fp32"  # type: ignore[attr-defined]
    assert session.effective().precision == "fp16"


def test_slow_start_is_slow_only_at_first(
    model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    session = opened("SlowStart", model, inner="null", delay_s=0.5, slow_runs=2)
    assert slept == [0.5]
    for seed in range(5):
        answer(session, seed)
    assert slept == [0.5, 0.5, 0.5]


def test_noisy_writes_everywhere(model: ModelFile, capfdbinary: Any) -> None:
    answer(opened("Noisy", model, inner="null"), seed=0)
    out, err = capfdbinary.readouterr()
    for where in (b"import", b"open", b"run"):
        assert b"noise from " + where in out
        assert b"noise from " + where in err
    assert b"\xff\xfe" in out


@pytest.mark.parametrize(
    ("name", "kind", "error"),
    [
        ("NotInstalled", "not_installed", ImportError),
        ("BrokenInstall", "broken", OSError),
        ("UnknownState", "unknown", None),
    ],
)
def test_absent_runtimes_are_unavailable_with_reason_and_fix(
    name: str, kind: str, error: type[Exception] | None
) -> None:
    state = fault(name).availability()
    assert isinstance(state, Unavailable)
    assert (state.kind, bool(state.reason), bool(state.fix)) == (kind, True, True)
    if error is not None:
        with pytest.raises(error):
            fault(name).import_runtime()


def test_broken_at_import_says_that_it_is_ready() -> None:
    backend = fault("BrokenAtImport")
    assert isinstance(backend.availability(), Ready)
    with pytest.raises(ImportError):
        backend.import_runtime()
