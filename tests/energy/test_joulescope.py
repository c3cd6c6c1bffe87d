"""The Joulescope source, on a fake of the vendor's driver."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import pytest

from edgebench.energy import EnergySource, NoEnergy, find_source
from edgebench.energy.sources.joulescope import Joulescope
from tests.energy.energy_trees import Clock


class FakeDriver:
    """Topics published, and the statistics callback that was subscribed."""

    def __init__(self, *paths: str) -> None:
        self.paths = list(paths)
        self.published: dict[str, object] = {}
        self.callback: Callable[[str, Any], None] | None = None
        self.finished = False

    def device_paths(self) -> list[str]:
        return self.paths

    def open(self, path: str) -> None:
        assert path in self.paths

    def publish(self, topic: str, value: object) -> None:
        self.published[topic] = value

    def subscribe(self, topic: str, flags: str, callback: Callable[[str, Any], None]) -> None:
        assert topic.endswith("/s/stats/value")
        self.callback = callback

    def finalize(self) -> None:
        self.finished = True

    def tell(self, joules: float) -> None:
        assert self.callback is not None
        self.callback("", {"accumulators": {"energy": {"value": joules, "units": "J"}}})


@pytest.mark.parametrize(("model", "samples"), [("js220", 20_000), ("js110", 40_000)])
def test_joules_that_the_instrument_adds_up(model: str, samples: int) -> None:
    driver = FakeDriver(f"u/{model}/002557")
    source = Joulescope(Clock(), lambda: driver)
    assert (source.kind, source.quantity) == ("measured_external", "energy")
    source.open()
    assert driver.published[f"u/{model}/002557/s/stats/scnt"] == samples
    assert driver.published[f"u/{model}/002557/s/stats/ctrl"] in (1, "on")
    assert source.sample().value is None  # nothing has come yet
    driver.tell(100.0)
    driver.tell(107.5)
    assert source.sample().value == pytest.approx(7.5)
    driver.tell(3.0)  # set back: what was used is unknown
    assert source.sample().value is None
    assert "set back" in source.problem
    source.close()
    assert driver.finished


@pytest.mark.parametrize("paths", [(), ("u/js220/1", "u/js220/2"), ("u/other/1",)])
def test_one_instrument_that_is_known(paths: tuple[str, ...]) -> None:
    driver = FakeDriver(*paths)
    with pytest.raises(OSError, match="instruments found"):
        Joulescope(Clock(), lambda: driver).open()
    assert driver.finished


def test_joulescope_is_used_only_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert not isinstance(find_source(), Joulescope)
    assert isinstance(find_source(preference="joulescope"), Joulescope)


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = find_source(preference="joulescope")
    assert isinstance(found, NoEnergy)
    assert "edgebench[joulescope]" in found.fix
    assert not isinstance(found, EnergySource)


def test_the_real_driver_has_every_call_that_is_used() -> None:
    driver = pytest.importorskip("pyjoulescope_driver").Driver
    for name in ("device_paths", "open", "publish", "subscribe", "finalize"):
        assert callable(getattr(driver, name))
