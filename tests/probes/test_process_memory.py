"""Memory of the worker process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgebench.probes import process_memory
from edgebench.testing.trees import write_tree

STATUS = "Name:\tpython3\nVmPeak:\t  999 kB\nVmHWM:\t   22396 kB\nVmRSS:\t   100 kB"
ROLLUP = (
    "55dbc2487000-7fff2d2c7000 ---p 00000000 00:00 0    [rollup]\nRss:      1712 kB\n"
    "Private_Clean:   120 kB\nPrivate_Dirty:   116 kB\nPrivate_Hugetlb:  2048 kB"
)


def test_peak_is_the_high_water_mark_of_resident_memory(tmp_path: Path) -> None:
    write_tree(tmp_path, {"proc/self/status": STATUS})
    assert process_memory.peak_rss(tmp_path, "linux") == (22396 * 1024, "VmHWM")


@pytest.mark.parametrize("status", ["Name: x", "VmHWM: many kB", "VmHWM: 12 MB", ""])
def test_an_unreadable_peak_is_none_with_the_reason(tmp_path: Path, status: str) -> None:
    write_tree(tmp_path, {"proc/self/status": status})
    peak, why = process_memory.peak_rss(tmp_path, "linux")
    assert peak is None
    assert "VmHWM" in why


def test_uss_is_private_memory_only(tmp_path: Path) -> None:
    write_tree(tmp_path, {"proc/self/smaps_rollup": ROLLUP})
    assert process_memory.uss_bytes(tmp_path, "linux") == (120 + 116 + 2048) * 1024


def test_uss_without_its_lines_is_none(tmp_path: Path) -> None:
    assert process_memory.uss_bytes(tmp_path, "linux") is None
    write_tree(tmp_path, {"proc/self/smaps_rollup": "Private_Clean:  120 kB"})
    assert process_memory.uss_bytes(tmp_path, "linux") is None


def test_macos_counts_ru_maxrss_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    class Usage:
        ru_maxrss = 22_000_000

    monkeypatch.setattr(resource, "getrusage", lambda who: Usage())
    assert process_memory.peak_rss(platform="darwin") == (22_000_000, "ru_maxrss")


@pytest.mark.skipif(sys.platform != "linux", reason="reads the live /proc")
def test_peak_of_this_process_sees_memory_that_was_freed() -> None:
    program = (
        "from edgebench.probes.process_memory import peak_rss, uss_bytes\n"
        "block = bytearray(b'x') * (64 << 20)\n"
        "held = uss_bytes()\n"
        "del block\n"
        "peak, source = peak_rss()\n"
        "assert source == 'VmHWM' and peak > 64 << 20, (peak, source)\n"
        "assert held > 64 << 20 > uss_bytes()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_importing_the_probe_imports_nothing_heavy() -> None:
    program = (
        "import sys, edgebench.probes.process_memory\n"
        "heavy = {'numpy', 'psutil', 'msgspec', 'onnxruntime', 'subprocess'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_resident_parts_are_those_of_the_kernel(tmp_path: Path) -> None:
    folder = tmp_path / "proc" / "self"
    folder.mkdir(parents=True)
    (folder / "status").write_text("RssAnon:\t  300 kB\nRssFile:\t  120 kB\nRssShmem:\t 4 kB\n")
    (folder / "smaps_rollup").write_text("Rss:  424 kB\nPss:  350 kB\n")
    assert process_memory.resident(tmp_path) == (300 * 1024, 120 * 1024, 350 * 1024)
    (folder / "smaps_rollup").unlink()
    assert process_memory.resident(tmp_path) == (300 * 1024, 120 * 1024, None)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_mapped_file_counts_as_a_file_and_an_array_as_anonymous(tmp_path: Path) -> None:
    size = 64 << 20  # an emulator gives 2 MiB of its own back meanwhile
    (tmp_path / "weights").write_bytes(b"\1" * size)
    code = (
        "import mmap, sys\n"
        "from edgebench.probes.process_memory import resident\n"
        "before = resident()\n"
        "with open(sys.argv[1], 'rb') as file:\n"
        "    pages = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)\n"
        "    sum(pages[::4096])\n"
        "    mapped = resident()\n"
        "    held = bytearray(b'1') * (64 << 20)\n"
        "    written = resident()\n"
        "print(mapped.file_backed - before.file_backed, written.anonymous - mapped.anonymous)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "weights")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    of_file, own = map(int, done.stdout.split())
    assert of_file == pytest.approx(size, rel=0.05)
    assert own == pytest.approx(size, rel=0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_this_process_is_what_the_kernel_sums() -> None:
    """Each mapping's figures of /proc/self/smaps, summed by hand, within 1 %."""
    code = (
        "from pathlib import Path\n"
        "from edgebench.probes.process_memory import resident, uss_bytes\n"
        "held = bytearray(b'1') * (48 << 20)\n"
        "told, uss = resident(), uss_bytes()\n"
        "lines = [line.split() for line in Path('/proc/self/smaps').read_text().splitlines()]\n"
        "def total(*names):\n"
        "    return 1024 * sum(int(words[1]) for words in lines if words[0].rstrip(':') in names)\n"
        "assert abs(told.proportional / total('Pss') - 1) < 0.01\n"
        "assert abs(uss / total('Private_Clean', 'Private_Dirty') - 1) < 0.01\n"
        "assert abs((told.anonymous + told.file_backed) / total('Rss') - 1) < 0.01\n"
        "print(told, total('Pss'), uss)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_available_is_the_least_that_machine_and_groups_leave(tmp_path: Path) -> None:
    files = {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 2000 kB"}
    assert (
        process_memory.available_bytes(write_tree(tmp_path / "machine", files), "linux")
        == 2000 * 1024
    )
    files |= {
        "proc/self/cgroup": "0::/box",
        "sys/fs/cgroup/box/memory.max": "1000000",
        "sys/fs/cgroup/box/memory.current": "700000",
        "sys/fs/cgroup/box/memory.stat": "anon 5\ninactive_file 60000\nactive_file 40000",
    }
    assert process_memory.available_bytes(write_tree(tmp_path / "v2", files), "linux") == 400_000
    files["sys/fs/cgroup/box/memory.max"] = "max"
    assert (
        process_memory.available_bytes(write_tree(tmp_path / "open", files), "linux") == 2000 * 1024
    )
    assert process_memory.available_bytes(tmp_path / "nothing", "linux") is None
    first = {
        "proc/self/cgroup": "4:memory:/box",
        "sys/fs/cgroup/memory/box/memory.limit_in_bytes": "500000",
        "sys/fs/cgroup/memory/box/memory.usage_in_bytes": "600000",
    }
    assert process_memory.available_bytes(write_tree(tmp_path / "v1", first), "linux") == 0
