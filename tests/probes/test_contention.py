"""What the kernel tells of contention, below a root that is made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgebench.probes import contention
from edgebench.record import CACHE_MISSES, MAJOR_FAULTS, MEMORY_BYTES, STALLS
from edgebench.testing.trees import write_tree

PRESSURE = "some avg10=0.00 avg60=0.12 avg300=0.00 total={}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
MACHINE = {f"proc/pressure/{kind}": PRESSURE.format(1000) for kind in STALLS}


def test_pressure_of_the_machine_is_read_where_a_group_keeps_none(tmp_path: Path) -> None:
    told = contention.counters(write_tree(tmp_path, MACHINE))
    assert told.look()["memory_stall_ns"] == 1_000_000
    assert told.sources["io_stall_ns"] == contention.MACHINE


def test_pressure_of_the_nearest_group_goes_before_that_of_the_machine(tmp_path: Path) -> None:
    group = {
        "proc/self/cgroup": "0::/user/run",
        "sys/fs/cgroup/user/run/cgroup.procs": "1",
        "sys/fs/cgroup/user/memory.pressure": PRESSURE.format(5),
        "sys/fs/cgroup/memory.pressure": PRESSURE.format(6),
    }
    told = contention.counters(write_tree(tmp_path, MACHINE | group))
    assert told.look()["memory_stall_ns"] == 5000
    assert told.sources["memory_stall_ns"] == contention.GROUP
    assert told.sources["cpu_stall_ns"] == contention.MACHINE


def test_bytes_of_all_domains_are_summed_up(tmp_path: Path) -> None:
    files = {
        "sys/fs/resctrl/mon_data/mon_L3_00/mbm_total_bytes": "700",
        "sys/fs/resctrl/mon_data/mon_L3_01/mbm_total_bytes": "300",
    }
    root = write_tree(tmp_path, files)
    told = contention.counters(root)
    assert told.look()[MEMORY_BYTES] == 1000
    (root / "sys/fs/resctrl/mon_data/mon_L3_01/mbm_total_bytes").write_text("Unavailable")
    assert MEMORY_BYTES not in told.look()


@pytest.mark.parametrize(
    ("files", "name", "why"),
    [
        ({}, "io_stall_ns", "/proc/pressure/io: no such file or directory"),
        ({"proc/pressure/io": "nonsense"}, "io_stall_ns", "/proc/pressure/io: not understood"),
        ({}, MEMORY_BYTES, "/sys/fs/resctrl/mon_data: not mounted"),
        ({"sys/fs/resctrl/mon_data/x": ""}, MEMORY_BYTES, "it counts no bytes here"),
        ({}, CACHE_MISSES, "no counter was begun"),
    ],
)
def test_what_tells_nothing_says_why(
    files: dict[str, str], name: str, why: str, tmp_path: Path
) -> None:
    told = contention.counters(write_tree(tmp_path, files))
    assert name not in told.look()
    assert name not in told.sources
    assert why in told.untold[name]


def test_page_faults_are_always_counted(tmp_path: Path) -> None:
    assert contention.counters(tmp_path).look()[MAJOR_FAULTS] >= 0
