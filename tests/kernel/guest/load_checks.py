"""A meter under loads that are known, as `edgebench selfcheck` asks it: registers move with the processor that is busy."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from functools import cache
from itertools import count
from pathlib import Path

from edgebench.api.energy_source import find_here
from edgebench.energy import EnergySource
from edgebench.selfcheck.check_file import Answer
from edgebench.selfcheck.load_steps import judge_steps, measure_steps
from tests.kernel.guest.lab import Lab, equal
from tests.kernel.guest.registry import check

_BOARD = "orin-nano"
_ADDRESS, _INPUT = 0x40, 1
_MILLIVOLTS, _IDLE_UV, _BUSY_UV = 5160, 4000, 4000
#: Steps of the chip's register by which a value differs from the last one.
_NOISE_UV = (0, 40)
#: Of the mean over 4 samples of 7 ms: news as often as a kernel whose clock ticks every 10 ms can make them.
_SAMPLES, _NEWS_S = 4, 0.014


def _busy_s() -> float:
    """Seconds for which a processor was busy since the boot."""
    user, nice, system = Path("/proc/stat").read_text().split()[1:4]
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def _power_that_follows_the_load(lab: Lab) -> Iterator[None]:
    """Twice as many watts while a processor is busy as while it is not, as of the last tenth of a second."""
    ended = threading.Event()

    def follow() -> None:
        share, before_s, waited_s = 0.0, _busy_s(), 0.0
        for number in count():
            uv = _IDLE_UV + share * _BUSY_UV + _NOISE_UV[number % 2]
            lab.bus.ina3221(_ADDRESS, _INPUT, _MILLIVOLTS, round(uv))
            if ended.wait(_NEWS_S):
                return
            waited_s += _NEWS_S
            if waited_s > 0.1:
                now_s = _busy_s()
                share = min(1.0, (now_s - before_s) / waited_s)
                before_s, waited_s = now_s, 0.0

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@cache
def _asked(lab: Lab) -> dict[str, Answer]:
    """The answers of the meter to no load and to one core's, asked once for all checks."""
    samples = lab.chip("ina3221") / "samples"
    lab.put(samples, _SAMPLES)
    try:
        with _power_that_follows_the_load(lab):
            source = find_here(None)
            assert isinstance(source, EnergySource), source
            steps = measure_steps(source, os.cpu_count() or 1, lambda said: None)
    finally:
        lab.put(samples, 1)
    assert isinstance(steps, list), steps
    return {answer.claim: answer for answer in judge_steps(source, steps)}


def _holds(lab: Lab, claim: str) -> None:
    answer = _asked(lab)[claim]
    equal((answer.status, answer.detail), ("ok", answer.detail))


@check(_BOARD)
def load_is_followed(lab: Lab) -> None:
    """More watts while a core is busy."""
    _holds(lab, "meter.follows")


@check(_BOARD)
def load_shows_the_rate(lab: Lab) -> None:
    """Values differ as often as the driver says that the chip makes new ones."""
    _holds(lab, "meter.rate")


@check(_BOARD)
def load_adds_up(lab: Lab) -> None:
    """The joules of a long window are those of the short ones in it."""
    _holds(lab, "meter.sum")
