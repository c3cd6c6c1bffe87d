"""Says which code of a user's own a run is going to execute, before any of it runs."""

from __future__ import annotations

from collections.abc import Iterable

from edgebench.definitions.workload import Workload
from edgebench.text.plain_text import say


def say_own_tasks(workloads: Iterable[Workload]) -> None:
    """One line on stderr for each workload whose definition names its task by a file."""
    own = {(workload.name, workload.task) for workload in workloads if ":" in workload.task}
    for name, task in sorted(own):
        file, _, class_name = task.rpartition(":")
        say(f"task: {name} runs code of your own: {class_name} in {file}")
