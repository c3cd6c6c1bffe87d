"""The RAPL source: nothing counted twice, wraps undone, a counter that was set back not believed."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebench.energy import EnergySource, NoEnergy, find_source
from edgebench.energy.sources._counter import Counter
from edgebench.probes import proc_files
from edgebench.testing.trees import write_tree
from tests.energy.energy_trees import INTEL, METAL, POWERCAP, Clock, zone

RANGE_UJ = 262_143_328_850


def opened(root: Path, clock: Clock) -> EnergySource:
    source = find_source(root, clock_ns=clock)
    assert isinstance(source, EnergySource), source
    source.open()
    return source


def put(root: Path, identity: str, energy_uj: int) -> None:
    (root / POWERCAP / identity / "energy_uj").write_text(f"{energy_uj}\n")


def test_package_and_memory_are_summed_and_nothing_is_twice(tmp_path: Path) -> None:
    clock = Clock()
    source = opened(write_tree(tmp_path, INTEL), clock)
    assert (source.name, source.kind, source.quantity) == ("rapl", "vendor_counter", "energy")
    assert source.scope == "package + dram"
    assert source.total_rail == "package-0 + package-0/dram"
    names = [rail.name for rail in source.rails()]
    assert names == ["package-0", "package-0/core", "package-0/dram", "psys"]
    clock.advance(1)
    for identity, joules in (
        ("intel-rapl:0", 30),
        ("intel-rapl:0:0", 20),
        ("intel-rapl:0:1", 4),
        ("intel-rapl:1", 60),
        ("intel-rapl-mmio:0", 30),
    ):
        put(
            tmp_path,
            identity,
            int(INTEL[f"{POWERCAP}/{identity}/energy_uj"]) + joules * 1_000_000,
        )
    assert source.sample().value == pytest.approx(34)
    assert [rail.value for rail in source.rails()] == pytest.approx([30, 20, 4, 60])
    source.close()


def test_an_id_that_is_no_number_is_a_package_too(tmp_path: Path) -> None:
    tree = {
        **METAL,
        **zone("intel-rapl:0", "package-0", 1),
        **zone("intel-rapl:a", "package-10", 1),
    }
    source = opened(write_tree(tmp_path, tree), Clock())
    assert source.total_rail == "package-0 + package-10"
    assert source.scope == "package"


def test_mmio_alone_serves(tmp_path: Path) -> None:
    tree = {**METAL, **zone("intel-rapl-mmio:0", "package-0", 1)}
    assert opened(write_tree(tmp_path, tree), Clock()).total_rail == "package-0"


def test_psys_alone_is_not_taken_for_the_package(tmp_path: Path) -> None:
    found = find_source(write_tree(tmp_path, {**METAL, **zone("intel-rapl:1", "psys", 1)}))
    assert isinstance(found, NoEnergy)


def test_a_wrap_is_undone(tmp_path: Path) -> None:
    clock = Clock()
    tree = {**METAL, **zone("intel-rapl:0", "package-0", RANGE_UJ - 5_000_000)}
    source = opened(write_tree(tmp_path, tree), clock)
    clock.advance(1)
    put(tmp_path, "intel-rapl:0", 15_000_000)
    assert source.sample().value == pytest.approx(20)
    clock.advance(1)
    put(tmp_path, "intel-rapl:0", 35_000_000)
    assert source.sample().value == pytest.approx(40)


def test_a_counter_set_back_says_nothing_more(tmp_path: Path) -> None:
    clock = Clock()
    tree = {**METAL, **zone("intel-rapl:0", "package-0", 100_000_000_000)}
    source = opened(write_tree(tmp_path, tree), clock)
    clock.advance(1)
    put(tmp_path, "intel-rapl:0", 3_000_000)
    assert source.sample().value is None
    clock.advance(1)
    put(tmp_path, "intel-rapl:0", 23_000_000)
    assert source.sample().value is None
    assert "package-0 went back from 100000000000 to 3000000" in source.problem
    source.open()
    assert (source.sample().value, source.problem) == (0.0, "")


def test_an_unreadable_moment_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    tree = {**METAL, **zone("intel-rapl:0", "package-0", 0)}
    source = opened(write_tree(tmp_path, tree), clock)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", lambda *_: (_ for _ in ()).throw(OSError(errno.EAGAIN, "busy")))
        clock.advance(1)
        assert source.sample().value is None
    put(tmp_path, "intel-rapl:0", 7_000_000)
    clock.advance(1)
    assert source.sample().value == pytest.approx(7)


def test_only_root_may_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = proc_files._read_bytes

    def forbidden(path: Path, limit_bytes: int) -> bytes:
        if path.name == "energy_uj":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return original(path, limit_bytes)

    monkeypatch.setattr(proc_files, "_read_bytes", forbidden)
    found = find_source(write_tree(tmp_path, INTEL))
    assert isinstance(found, NoEnergy)
    assert found.reason == "permission_denied"
    assert "/sys/class/powercap/intel-rapl:0/energy_uj: permission denied" in found.detail
    assert "sudo chmod a+r /sys/class/powercap/" in found.fix
    chip = "sys/class/hwmon/hwmon1"
    gpu = {f"{chip}/name": "amdgpu", f"{chip}/power1_label": "PPT", f"{chip}/power1_input": "9"}
    other = find_source(write_tree(tmp_path, gpu))
    assert isinstance(other, EnergySource)
    assert other.scope == "GPU package"
    assert "stands in for another meter: RAPL: /sys/class/powercap/" in other.caveats[-1]


@given(
    start=st.integers(0, RANGE_UJ - 1),
    steps=st.lists(st.tuples(st.integers(0, 200_000_000), st.booleans()), min_size=1, max_size=30),
)
def test_a_counter_counts_what_was_used_whatever_it_wraps_or_misses(
    start: int, steps: list[tuple[int, bool]]
) -> None:
    """Up to 200 W, a look every second; some looks fail, and cost nothing but themselves."""
    counter = Counter(1e-6, RANGE_UJ, 1000.0, 1.0)
    assert counter.advance(start, 0) == 0.0
    used = 0
    for second, (microjoules, fails) in enumerate(steps, 1):
        used += microjoules
        units = None if fails else (start + used) % RANGE_UJ
        value = counter.advance(units, second * 1_000_000_000)
        assert value is None if fails else value == pytest.approx(used * 1e-6)


def test_a_counter_unread_for_too_long_may_have_wrapped() -> None:
    counter = Counter(1e-6, RANGE_UJ, 1000.0, 1.0)
    counter.advance(0, 0)
    assert counter.advance(5, 300 * 1_000_000_000) is None
    assert "wrapped unseen" in counter.lost


def test_a_counter_without_a_range_never_wraps() -> None:
    counter = Counter(1e-3, None, 1000.0, 1.0)
    counter.advance(10_000, 0)
    assert counter.advance(11_000, 10**9) == pytest.approx(1.0)
    assert counter.advance(9_000, 2 * 10**9) is None
    assert "set back" in counter.lost


def test_a_counter_that_leaps_gives_no_value() -> None:
    counter = Counter(1e-6, RANGE_UJ, 1000.0, 1.0)
    counter.advance(0, 0)
    assert counter.advance(10_000_000_000, 10**9) is None
    assert "leapt" in counter.lost
