"""A child process, as whoever starts one sees it: what it may take, and what is said of its end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec
import pytest

from edgebench.measure.worker_messages import Phase, encode_message
from edgebench.processes import child
from edgebench.processes.child import PIPES, STANDARD, Child, Failed, Limits, Setup, ask

HEAR = partial(msgspec.json.decode, type=Phase)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


class Speaker:
    """Takes the place of a process: it never ends by itself, and says what the test says for it."""

    pid = 2**22 + 1  # larger than any that there is

    def __init__(self) -> None:
        self.returncode: int | None = None
        self.how: dict[str, Any] = {}

    def __call__(self, command: list[str], **how: Any) -> Any:
        self.how = how
        self.heard, self.voice = (os.dup(int(fd)) for fd in command[-3:-1])
        return self

    def say(self, line: bytes) -> None:
        os.write(self.voice, line + b"\n")

    def hang_up(self) -> None:
        os.close(self.voice)
        os.close(self.heard)

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self.returncode = 0
        return 0


@pytest.fixture
def speaker() -> Iterator[Speaker]:
    found = Speaker()
    yield found
    found.hang_up()


class Clock:
    """Stands still until it is told to go on."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_the_silence_that_is_told_is_the_one_that_was_allowed(speaker: Speaker) -> None:
    with Child(["x"], Limits(0.01), Setup(spawn=speaker)) as talking:
        speaker.say(encode_message(Phase("quality pass", 0.02)))
        assert not talking.listen(HEAR)
        assert (talking.phase, talking.limit_s) == ("quality pass", 0.03)
        reason = talking.why_no_answer()
    assert (reason.code, reason.message) == (
        "timed_out",
        "no sign of life for 0.03 s during quality pass: killed",
    )


def test_a_child_that_is_never_silent_ends_with_its_time(speaker: Speaker) -> None:
    """Each word of it would begin a new silence; all words together have an end."""
    clock = Clock()

    def hear(line: bytes) -> Phase:
        speaker.say(line)
        clock.now_s += 1.0
        return Phase("warm-up")

    with Child(["x"], Limits(60.0, 20.0), Setup(spawn=speaker), clock) as talking:
        speaker.say(b"on and on")
        assert not talking.listen(hear)
        assert (talking.out_of_time, talking.timed_out) == (True, False)
        assert talking.why_no_answer().code == child.OUT_OF_TIME
    assert clock.now_s == 120.0


def test_words_that_came_together_are_heard_one_conversation_after_the_other(
    speaker: Speaker,
) -> None:
    lines: list[bytes] = []
    with Child(["x"], Limits(60.0), Setup(spawn=speaker)) as talking:
        speaker.say(b"one\ntwo")
        assert talking.listen(lines.append)
        assert lines == [b"one"]
        assert talking.listen(lines.append)
    assert lines == [b"one", b"two"]


def test_less_patience_than_the_phase_may_have_is_what_is_told(speaker: Speaker) -> None:
    with Child(["x"], Limits(1e6), Setup(spawn=speaker)) as talking:
        assert not talking.listen(HEAR, patience_s=lambda limit_s: min(limit_s, 0.02))
        assert "no sign of life for 0.02 s during start" in talking.why_no_answer().message


def test_a_child_that_reads_nothing_holds_nobody_up(speaker: Speaker) -> None:
    """More is said than a pipe holds: a blocking write would never return."""
    with Child(["x"], Limits(0.02), Setup(spawn=speaker)) as silent:
        silent.send(b"x" * 2**22)
        assert not silent.listen(HEAR)
        assert silent.timed_out


def test_a_long_job_arrives_whole_and_the_end_after_it() -> None:
    code = "import sys; print(len(sys.stdin.buffer.read()))"
    assert ask(python(code), Limits(60.0), b"x" * 2**22) == str(2**22).encode()


def test_what_a_child_inherits_is_what_it_was_given(speaker: Speaker) -> None:
    with Child(["x"], Limits(1.0), Setup(inherited_fds=(7,), spawn=speaker)):
        assert speaker.how["pass_fds"][2:] == (7,)
        assert speaker.how["env"] is None
        assert speaker.how["start_new_session"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import sys; sys.exit('no licence')", ("exited", "with code 1 during start: no licence")),
        ("import os; os.abort()", ("crashed", "died of SIGABRT during start")),
        ("import os; os.kill(os.getpid(), 9)", ("killed", "by SIGKILL during start, not by")),
    ],
)
def test_the_cause_of_death_is_told_with_the_phase(code: str, expected: tuple[str, str]) -> None:
    failed = ask(python(code), Limits(60.0))
    assert isinstance(failed, Failed)
    assert failed.reason.code == expected[0]
    assert expected[1] in failed.reason.message


def test_a_command_that_is_not_there_is_a_reason_and_leaves_nothing_open() -> None:
    before = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []  # noqa: PTH112, PTH208
    failed = ask(["/no/such/program"], Limits(60.0))
    assert isinstance(failed, Failed)
    assert failed.reason.code == "not_started"
    after = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []  # noqa: PTH112, PTH208
    assert len(after) == len(before)


@pytest.mark.parametrize("setup", [PIPES, STANDARD])
def test_whoever_leaves_the_block_leaves_no_process(setup: Setup) -> None:
    with Child(python("import time; time.sleep(600)"), Limits(60.0), setup) as sleeping:
        assert sleeping.alive
        pid = sleeping.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("missing", ["nothing", "in the kernel", "in Python"])
def test_one_that_ends_by_itself_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    if missing == "in the kernel":
        monkeypatch.setattr(os, "pidfd_open", _no_such_call, raising=False)
    if missing == "in Python":  # which was built where Linux was older
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(0.2)"], start_new_session=True
    )
    assert not child.terminate(process, wait=True)
    assert process.returncode == 0
    assert not child.terminate(process, wait=True)  # a second time


def _no_such_call(_: int) -> int:
    raise OSError(38, "Function not implemented")
