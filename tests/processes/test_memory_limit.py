"""Limits of what a child may allocate, and of what it may hold: on made-up groups, and on this machine's where it allows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgebench.processes.memory_limit import (
    BY_ALLOCATIONS,
    MemoryGroup,
    drop_from_page_cache,
    lift_limit,
    memory_group,
)
from edgebench.testing.trees import write_tree

BUDGET = 64 << 20
#: Ten times a GiB, as `ulimit` may have set it.
BEFORE = 10 << 30
NONE = "resource.RLIM_INFINITY"
CHILD = """
import resource
resource.setrlimit(resource.RLIMIT_DATA, {limits})
from edgebench.processes.memory_limit import limit_memory
for asked in (None, 1 << 30, None, 1 << 40):
    limit_memory(asked)
    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    print(-1 if limit == resource.RLIM_INFINITY else limit)
"""


def test_version_2_limits_memory_and_swap_below_a_group_that_may_be_divided(tmp_path: Path) -> None:
    top = tmp_path / "sys/fs/cgroup"
    write_tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/user/me\n",
            "sys/fs/cgroup/cgroup.subtree_control": "cpu memory\n",
            "sys/fs/cgroup/user/cgroup.subtree_control": "memory\n",
            "sys/fs/cgroup/user/me/cgroup.subtree_control": "\n",  # it has processes of its own
        },
    )
    with memory_group(BUDGET, tmp_path) as group:
        assert group.by == "cgroup v2"
        assert group.folder is not None
        assert group.folder.parent == top / "user"
        assert (group.folder / "memory.max").read_text() == str(BUDGET)
        assert (group.folder / "memory.swap.max").read_text() == "0"
        group.add(77)
        assert (group.folder / "cgroup.procs").read_text() == "77"
        (group.folder / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
        assert group.kills == 1
        lift_limit(group.folder)
        assert (group.folder / "memory.max").read_text() == "max"


def test_version_1_limits_memory_with_swap(tmp_path: Path) -> None:
    write_tree(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/me\n0::/\n",
            "sys/fs/cgroup/memory/me/memory.limit_in_bytes": "9223372036854771712",
        },
    )
    with memory_group(BUDGET, tmp_path) as group:
        assert group.by == "cgroup v1"
        assert group.folder is not None
        assert (group.folder / "memory.limit_in_bytes").read_text() == str(BUDGET)
        assert (group.folder / "memory.memsw.limit_in_bytes").read_text() == str(BUDGET)
        lift_limit(group.folder)
        for name in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"):
            assert (group.folder / name).read_text() == "-1"


def test_without_a_group_the_process_limits_what_it_allocates(tmp_path: Path) -> None:
    write_tree(tmp_path, {"proc/self/cgroup": "0::/\n"})
    with memory_group(BUDGET, tmp_path) as group:
        assert group == MemoryGroup(BY_ALLOCATIONS)
        group.add(77)
        assert group.kills == 0


def test_groups_that_a_killed_process_left_behind_are_removed(tmp_path: Path) -> None:
    top = tmp_path / "sys/fs/cgroup"
    write_tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/\n",
            "proc/77/stat": "",
            "sys/fs/cgroup/cgroup.subtree_control": "memory\n",
            "sys/fs/cgroup/edgebench-9-0123abcd/cgroup.procs": "12\n",  # no kernel removes such a one
        },
    )
    for name in ("edgebench-7-0123abcd", "edgebench-77-0123abcd", "edgebench-7-slice"):
        (top / name).mkdir()
    with memory_group(BUDGET, tmp_path) as group:
        assert group.folder is not None
        there = {path.name for path in top.iterdir() if path.is_dir()} - {group.folder.name}
    assert there == {"edgebench-77-0123abcd", "edgebench-9-0123abcd", "edgebench-7-slice"}


def test_a_real_group_ends_a_process_that_holds_more_and_lets_one_read_a_larger_file(
    tmp_path: Path,
) -> None:
    """What is read again comes from storage again, and was in the page cache before. Nothing does where temporary files
    are in memory."""
    weights = tmp_path / "weights"
    weights.write_bytes(os.urandom(1 << 20) * (2 * BUDGET >> 20))
    wait = "import sys; sys.stdin.readline(); "
    reads = (
        "import mmap; f = open(sys.argv[1], 'rb'); m = mmap.mmap(f.fileno(), 0, prot=1); "
        "sum(m[::4096]); sum(m[::4096]); io = dict(map(str.split, open('/proc/self/io'))); "
        "print(io['read_bytes:'])"
    )
    writes = f"held = b'1' * {2 * BUDGET}"
    drop_from_page_cache(weights)
    with memory_group(BUDGET) as group:
        if group.folder is None:
            pytest.skip("this user may make no control group for memory")
        said = {}
        for code, ended in ((reads, 0), (writes, -9)):
            with subprocess.Popen(
                [sys.executable, "-c", wait + code, str(weights)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            ) as process:
                group.add(process.pid)
                said[code], _ = process.communicate(b"go\n")
            assert process.returncode == ended, code
        assert group.kills == 1
        read = int(said[reads])
        assert read > 3 * BUDGET or not read, "all of the file, and again what did not fit"
        folder = group.folder
    assert not folder.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_models_files_are_those_named_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.xml", "a.bin", "a_data", "apart.bin", "b.bin", "in/c.onnx"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("weights")
    dropped: list[str] = []

    def drop(opened: int, *_: int) -> None:
        dropped.append(Path(f"/proc/self/fd/{opened}").readlink().name)

    monkeypatch.setattr(os, "posix_fadvise", drop)
    drop_from_page_cache(tmp_path / "a.xml")
    drop_from_page_cache(tmp_path / "in")
    drop_from_page_cache(tmp_path / "gone" / "d.onnx")
    assert sorted(dropped) == ["a.bin", "a.xml", "a_data", "c.onnx"]


def limits_left(limits: str) -> list[int]:
    """The limits that hold after none, 1 GiB, none and 1 TiB were asked for."""
    command = [sys.executable, "-c", CHILD.format(limits=limits)]
    return [int(line) for line in subprocess.check_output(command, text=True).splitlines()]


def test_a_limit_that_was_there_before_is_neither_lifted_nor_an_error() -> None:
    for limits in (f"({BEFORE}, {NONE})", f"({BEFORE}, {BEFORE})"):
        assert limits_left(limits) == [BEFORE, 1 << 30, BEFORE, BEFORE]


def test_without_a_limit_before_each_holds_as_asked() -> None:
    assert limits_left(f"({NONE}, {NONE})") == [-1, 1 << 30, -1, 1 << 40]
