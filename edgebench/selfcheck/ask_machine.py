"""Asks this machine for each claim, through the commands that users have, each in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgebench import registry
from edgebench.api.energy_source import find_here, not_alive
from edgebench.backend import Backend, Ready
from edgebench.energy.source import NoEnergy
from edgebench.measure.cpu_pinning import usable_cpus
from edgebench.probes.proc_files import LIVE
from edgebench.processes.python_command import code_command, module_command
from edgebench.selfcheck.check_file import Answer, judged
from edgebench.selfcheck.load_steps import judge_steps, measure_steps

#: What a command may take before it is given up.
KIT_TIMEOUT_S, DOCTOR_TIMEOUT_S, RUN_TIMEOUT_S = 900.0, 120.0, 600.0
#: Rows of `doctor` that are claims of their own.
STATE_ROWS = (
    *("temperature", "thermal_throttle", "cooling_throttle", "overcurrent", "pi_throttled"),
    *("gpu_throttle", "thermal_pressure", "power_mode", "battery"),
)
_CLOCKS = "sys/devices/system/cpu/cpufreq/policy*/scaling_cur_freq"
#: A clock that rises by less says nothing.
_MIN_RISE = 1.02


@dataclass
class Findings:
    """Answers so far, and the texts that a maintainer may want beside them."""

    say: Callable[[str], None]
    answers: list[Answer] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    doctor: Mapping[str, Any] = field(default_factory=dict)


def ask_doctor(findings: Findings) -> None:
    """The facts of the machine, and whether its state can be read."""
    findings.say("doctor")
    done = _edgebench("doctor", "--format", "json", time_out_s=DOCTOR_TIMEOUT_S)
    findings.texts["doctor.json"] = done.stdout
    findings.texts["doctor-errors.txt"] = done.stderr
    try:
        findings.doctor = json.loads(done.stdout)
    except ValueError:
        findings.answers += [
            judged(f"state.{name}", False, "doctor gave no answer") for name in STATE_ROWS
        ]
        return
    findings.answers += state_answers(findings.doctor["state"])


def state_answers(rows: Sequence[Mapping[str, Any]]) -> list[Answer]:
    """A row with a level other than `unknown` was read; one that is not there does not apply here."""
    found = {row["name"]: row for row in rows}
    return [_state(name, found.get(name)) for name in STATE_ROWS]


def _state(name: str, row: Mapping[str, Any] | None) -> Answer:
    if row is None:
        return _absent(f"state.{name}", "this machine has none")
    detail = str(row["evidence"])
    if row["level"] == "unknown":
        return _absent(f"state.{name}", detail)
    return judged(f"state.{name}", True, detail)


def ask_backends(findings: Findings) -> None:
    """The contract kit of every backend that can run here."""
    pytest = importlib.util.find_spec("pytest") is not None
    for backend in registry.every():
        if backend.name == "null":
            continue
        state = backend.availability()
        for claim in _claims_of(backend.name):
            if not isinstance(state, Ready):
                findings.answers.append(_absent(claim, f"{state.kind}: {state.reason}"))
        if isinstance(state, Ready):
            _ask_backend(findings, backend, state, pytest)


def _claims_of(name: str) -> list[str]:
    more = {"trt": ["build", "dla"], "mlx": ["metal", "cuda"]}.get(name, [])
    return [f"backend.{name}", *(f"backend.{name}.{part}" for part in more)]


def _ask_backend(findings: Findings, backend: Backend, state: Ready, pytest: bool) -> None:
    claim = _claim_here(backend)
    others = (each for each in _claims_of(backend.name) if each != claim)
    findings.answers += [_absent(each, "another device than this machine's") for each in others]
    if state.builds_only or state.runs_only:
        findings.answers.append(_absent(claim, state.note))
    elif not pytest:
        why = "the contract kit needs pytest (pip install 'edgebench[test]')"
        findings.answers.append(_absent(claim, why))
    else:
        findings.say(f"contract kit of {backend.name}")
        findings.answers.append(_kit(findings, claim, backend.name, state.version))


def _claim_here(backend: Backend) -> str:
    """The claim that a backend's answers hold, by the device that it computes on."""
    if backend.name != "mlx":
        return f"backend.{backend.name}"
    if _mlx_device() != "gpu":
        return "backend.mlx"
    return "backend.mlx.metal" if sys.platform == "darwin" else "backend.mlx.cuda"


def _mlx_device() -> str:
    """MLX's default device, asked of MLX itself in a process of its own; "" where it gives none."""
    code = "import mlx.core as mx; print(str(mx.default_device().type).rpartition('.')[2])"
    done = subprocess.run(code_command(code), capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _kit(findings: Findings, claim: str, name: str, version: str) -> Answer:
    command = ("--pyargs", "edgebench.testing", "--backend", name, "-q", "-p", "no:cacheprovider")
    done = _ended(module_command("pytest", *command), KIT_TIMEOUT_S)
    findings.texts[f"kit-{name}.txt"] = done.stdout + done.stderr
    last = ([line for line in done.stdout.splitlines() if line.strip()] or ["no word"])[-1]
    return judged(claim, done.returncode == 0, last.strip("= "), version)


def ask_energy(findings: Findings) -> None:
    """The source that a run would use: is it alive, and does it answer to loads as it states?"""
    found = find_here(None)
    if isinstance(found, NoEnergy):
        findings.answers += _no_meter(f"{found.reason}: {found.detail}")
        return
    claim = f"energy.{found.name}"
    dead = not_alive(found)
    if dead is not None:
        findings.answers.append(judged(claim, False, f"{dead.reason}: {dead.detail}"))
        findings.answers += _no_meter("the meter is not alive")
        return
    findings.answers.append(judged(claim, True, f"{found.total_rail}: {found.scope}"))
    steps = measure_steps(found, usable_cpus(), findings.say)
    if isinstance(steps, NoEnergy):
        findings.answers += _no_meter(steps.detail)
    else:
        findings.answers += judge_steps(found, steps)


def _no_meter(why: str) -> Iterator[Answer]:
    for claim in ("meter.follows", "meter.rate", "meter.sum"):
        yield _absent(claim, why)


def ask_clocks(
    findings: Findings, load: Callable[[float], None] | None = None, root: Path = LIVE
) -> None:
    """Whether the clock of a processor rises under load, or is read at all."""
    from edgebench.energy.meter_liveness import busy
    from edgebench.probes import proc_files

    files = proc_files.glob(root, _CLOCKS)
    before = [clock for path in files if (clock := proc_files.read_int(path))]
    if not before:
        findings.answers.append(_absent("state.clocks", "no cpufreq policies in /sys"))
        return
    (load or busy)(1.0)
    after = [clock for path in files if (clock := proc_files.read_int(path))]
    rises = max(after, default=0) >= _MIN_RISE * min(before)
    pinned = max(after, default=0) == min(before)
    told = f"{max(before) / 1e6:.3g} GHz before, {max(after, default=0) / 1e6:.3g} GHz under load"
    findings.answers.append(judged("state.clocks", rises or pinned, told))


def ask_quick(findings: Findings, budget: str, folder: Path) -> None:
    """A short run of the suite `quick`: rows that are measured and valid."""
    findings.say(f"quick, {budget}")
    done = _edgebench("run", "--suite", "quick", "--budget", budget, "--replicates", "1", "--out", str(folder),
                      "--format", "json", time_out_s=RUN_TIMEOUT_S)  # fmt: skip
    findings.texts["quick-messages.txt"] = done.stderr
    records = [path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.jsonl"))]
    findings.texts["quick.jsonl"] = "".join(records)
    statuses = [json.loads(line).get("status") for text in records for line in text.splitlines()]
    measured, bad = statuses.count("ok"), statuses.count("failed") + statuses.count("invalid")
    said = (done.stderr.strip().splitlines() or ["no word"])[-1]
    detail = f"{measured} of {len(statuses)} rows measured" + (f"; {said}" if not measured else "")
    findings.answers.append(judged("run.quick", bool(measured) and not bad, detail))


def machine_words(facts: Mapping[str, Any]) -> str:
    """The machine for people: its board or processor, and what it is in."""
    name = facts.get("board") or facts.get("cpu_model") or platform.machine()
    where = "virtual machine" if facts.get("virtualised") else ""
    return ", ".join(filter(None, (str(name), where)))


def _absent(claim: str, why: str) -> Answer:
    return Answer(claim=claim, status="not here", detail=why)


def _edgebench(*arguments: str, time_out_s: float) -> subprocess.CompletedProcess[str]:
    return _ended(module_command("edgebench", *arguments), time_out_s)


def _ended(command: Sequence[str], time_out_s: float) -> subprocess.CompletedProcess[str]:
    """A finished command; one that takes too long has failed, and says so."""
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=time_out_s,
                              stdin=subprocess.DEVNULL, check=False)  # fmt: skip
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"given up after {time_out_s:.0f} s")
