"""Lists the user's own code that a run will execute, before any of it runs."""

from __future__ import annotations

from collections.abc import Iterable

from edgebench.definitions.workload import Workload


def own_task_lines(workloads: Iterable[Workload]) -> list[str]:
    """Makes a line for each workload whose task is a file of the user."""
    own = {(workload.name, workload.task) for workload in workloads if ":" in workload.task}
    return [_line(name, *task.rpartition(":")[::2]) for name, task in sorted(own)]


def _line(name: str, file: str, class_name: str) -> str:
    return f"task: {name} runs code of your own: {class_name} in {file}"
