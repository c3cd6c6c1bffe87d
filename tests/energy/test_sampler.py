"""The helper process that reads a meter: it samples in time, ends when told, and dies with its parent."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from math import nan
from pathlib import Path

import psutil
import pytest

from edgebench.energy import run_meter
from edgebench.energy.energy_window import SourceFacts
from edgebench.energy.sampler import (
    RECORD,
    Sampler,
    SamplerError,
    _greet,
    decode,
    jittered,
    poll_interval_s,
)
from edgebench.energy.sampler_process import sample_until
from edgebench.energy.source import EnergySource, NoEnergy, Sample
from edgebench.processes.child import STANDARD, Child, Limits
from edgebench.testing.power.bench import Clock
from edgebench.testing.power.meters import OrinNx, RaplPackage


@pytest.fixture
def orin(tmp_path: Path) -> Iterator[EnergySource]:
    chip = OrinNx(tmp_path / "machine")
    chip.show([5000, 2000])
    yield chip.source(time.monotonic_ns)
    chip.close()


def gone(pid: int) -> bool:
    """Whether a process has ended, waiting for it for a while."""
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up:
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.02)
                continue
        return True
    return False


def test_sampler_reads_from_another_process_and_ends_on_close(
    orin: EnergySource, tmp_path: Path
) -> None:
    sampler = Sampler(orin, tmp_path / "samples")
    assert sampler.alive
    assert sampler.pid != os.getpid()
    assert (sampler.facts.name, sampler.facts.total_rail) == ("ina3221", "VDD_IN")
    start_ns = time.monotonic_ns()
    samples: list[Sample] = []
    while len(samples) < 20:
        assert sampler.alive
        samples = sampler.between(start_ns, time.monotonic_ns())
    assert {sample.value for sample in samples} == {10.0}
    assert all(start_ns <= sample.start_ns <= sample.end_ns for sample in samples)
    middle_ns = samples[10].start_ns
    assert sampler.between(middle_ns, samples[12].start_ns) == samples[10:12]
    sampler.close()
    sampler.close()
    assert gone(sampler.pid)


def test_a_source_that_does_not_open_is_an_error(tmp_path: Path) -> None:
    chip = OrinNx(tmp_path / "machine")
    source = chip.source(time.monotonic_ns)
    chip.close()
    for file in chip.files:
        (chip.root / file).unlink()
    with pytest.raises(SamplerError, match="ina3221: No such file"):
        Sampler(source, tmp_path / "samples")


@pytest.mark.parametrize(
    "line", [b"a driver says hello\n", b"[]\n", b"5\n", b'{"no": 1}\n', b"\x1b[2J\n"]
)
def test_a_meter_s_library_that_writes_to_stdout_is_an_error(
    orin: EnergySource, line: bytes
) -> None:
    command = [sys.executable, "-c", f"import os; os.write(1, {line!r})"]
    with (
        Child(command, Limits(60.0), STANDARD) as child,
        pytest.raises(SamplerError, match="ina3221: it answered what is no answer: ") as caught,
    ):
        _greet(child, orin)
    assert "\x1b" not in str(caught.value)


def test_sampler_dies_with_its_parent(orin: EnergySource, tmp_path: Path) -> None:
    code = (
        "import pickle, sys, time; from pathlib import Path\n"
        "from edgebench.energy.sampler import Sampler\n"
        "sampler = Sampler(pickle.load(sys.stdin.buffer), Path(sys.argv[1]))\n"
        "print(sampler.pid, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "samples")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        pickle.dump(orin, parent.stdin)
        parent.stdin.close()
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert gone(pid)


def test_samples_survive_the_file() -> None:
    samples = [Sample(1, 2, 3.5), Sample(4, 5, None), Sample(2**62, 2**62 + 1, 0.0)]
    data = b"".join(RECORD.pack(a, b, nan if value is None else value) for a, b, value in samples)
    assert len(data) == 3 * RECORD.size
    assert decode(data) == samples


def test_meters_are_polled_at_their_own_rate(tmp_path: Path) -> None:
    power, counter = OrinNx(tmp_path / "a"), RaplPackage(tmp_path / "b")
    fast, slow = power.source(Clock()), counter.source(Clock())
    assert poll_interval_s(fast) == 0.009  # a second has 100 readings
    assert poll_interval_s(slow) == 0.020
    assert jittered(fast)
    assert not jittered(slow)
    power.close()
    counter.close()


def test_a_long_window_is_looked_at_calmly_by_a_meter_that_stays_what_it_is(
    orin: EnergySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_meter, "_alive", lambda *_: NoEnergy("no_sensor", "not asked"))
    for window_s, interval_s in ((0.1, 0.009), (1.15, 0.01), (60.0, 0.02)):
        with run_meter.open_meter(orin, window_s=window_s):
            assert poll_interval_s(SourceFacts.of(orin)) == pytest.approx(interval_s)
            assert orin.period_s == 0.0066


def test_every_interval_has_its_read_at_another_moment(tmp_path: Path) -> None:
    chip = OrinNx(tmp_path)
    clock = Clock()
    source = chip.source(clock)
    source.open()
    written: list[bytes] = []

    def sleep(seconds: float) -> bool:
        clock.ns += max(0, round(seconds * 1e9))
        return len(written) == 500

    sample_until(source, written.append, sleep, clock)
    source.close()
    chip.close()
    at_s = [sample.start_ns / 1e9 for sample in decode(b"".join(written))]
    assert [int(at / 0.009) for at in at_s] == list(range(500))
    parts = [at / 0.009 % 1 for at in at_s]
    assert min(parts) < 0.05
    assert max(parts) > 0.95
