"""Tasks, one file each: data, pre- and post-processing, quality metric.

A module of this package names its task class in the attribute `TASK`. A user's own task is given as
`path/my_task.py:Class`, on the command line or by a workload in a folder of the user's own.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from types import ModuleType

from edgebench.errors import EdgebenchError, UsageError
from edgebench.files.regular_file import open_regular
from edgebench.task import GenerationTask, Metric, Task, TaskContext
from edgebench.text.did_you_mean import did_you_mean


def load_task(spec: str, context: TaskContext, judged_by: Collection[str] = ()) -> Task:
    """The task `spec` names (a module of this package, or `path/my_task.py:Class`), constructed.

    Raises UsageError where there is no such task, no such option of it or no metric of `judged_by`, and
    EdgebenchError where its data is not there.
    """
    task = task_class(spec)
    if not issubclass(task, Task):
        raise UsageError(
            f"the task {spec!r} generates text: it has no single inferences",
            "it is for decoders (.gguf) and the scenario generate; leave --task out for other models",
        )
    _check(spec, task, context, judged_by)
    return task(context)


def load_generation_task(
    spec: str, context: TaskContext, judged_by: Collection[str] = ()
) -> GenerationTask:
    """Loads a task that generates text, as `load_task` does for others."""
    task = task_class(spec)
    if not issubclass(task, GenerationTask):
        raise UsageError(f"the task {spec!r} generates no text", "--task generate does")
    _check(spec, task, context, judged_by)
    return task(context)


def _check(
    spec: str, task: type[Task | GenerationTask], context: TaskContext, judged_by: Collection[str]
) -> None:
    """Refuses an option that nothing reads, and before anything is measured a metric that is not given."""
    known = task.option_names
    for name in context.options:
        if known is not None and name not in known:
            raise UsageError(
                f"the task {spec!r} has no option {name!r}{did_you_mean(name, known)}",
                f"it has {', '.join(known) or 'none'}: see `options` of the workload",
            )
    for name in judged_by:
        if name not in task.metrics:
            raise UsageError(
                f"the task {spec!r} gives no metric {name!r}{did_you_mean(name, task.metrics)}",
                f"it gives {', '.join(task.metrics)}: see `quality` of the workload",
            )


def task_metrics(spec: str) -> Mapping[str, Metric]:
    """The metrics a task reports, without its data. Imports the task's module."""
    return task_class(spec).metrics


def known_tasks() -> list[str]:
    """Names of the tasks that come with edgebench, sorted."""
    folder = Path(__file__).parent
    return sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_"))


def task_file(spec: str) -> Path:
    """The file that defines the task; a name without a file raises UsageError."""
    path, colon, _ = spec.rpartition(":")
    if colon:
        return _user_file(spec, path)
    if spec not in known_tasks():
        raise UsageError(
            f"no task {spec!r}{did_you_mean(spec, known_tasks())}",
            fix="name a task above, or your own as path/my_task.py:Class",
        )
    return Path(__file__).parent / f"{spec}.py"


def task_class(spec: str) -> type[Task | GenerationTask]:
    """The class behind a task's name. Raises UsageError where there is none."""
    file = task_file(spec)
    _, colon, class_name = spec.rpartition(":")
    if colon:
        module = _import_user_file(file)
    else:
        class_name, module = "TASK", importlib.import_module(f"{__name__}.{spec}")
    chosen = getattr(module, class_name, None)
    if chosen is None:
        names = [n for n, value in vars(module).items() if _is_task(value)]
        raise UsageError(f"{file} has no class {class_name!r}{did_you_mean(class_name, names)}")
    if not _is_task(chosen):
        raise UsageError(
            f"{file}: {class_name} is not a task",
            fix="derive it from edgebench.task.Task and define all its methods and `metrics`",
        )
    result: type[Task | GenerationTask] = chosen
    return result


def _is_task(value: object) -> bool:
    return (
        isinstance(value, type)
        and issubclass(value, Task | GenerationTask)
        and not getattr(value, "__abstractmethods__", None)
        and hasattr(value, "metrics")
    )


def _user_file(spec: str, path: str) -> Path:
    file = Path(path).expanduser()
    if file.suffix != ".py" or not spec.rpartition(":")[2].isidentifier():
        raise UsageError(f"{spec!r} is not a task", fix="write path/my_task.py:Class")
    try:
        open_regular(file).close()  # Python's import waits for a pipe without end
    except FileNotFoundError:
        raise UsageError(
            f"no file {path!r}", fix="give the path to the file with your task"
        ) from None
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", "name a file of Python"
        ) from None
    return file.resolve()


def _import_user_file(file: Path) -> ModuleType:
    """Imports the file once per process, under a name that two files of one name do not share."""
    name = f"edgebench_user_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{file} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling look the module up by its name
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything
        del sys.modules[name]
        raise EdgebenchError(
            f"{file} cannot be imported: {type(error).__name__}: {error}{_line_of(error, file)}",
            fix="run it with python to see the whole error",
        ) from None
    return module


def _line_of(error: BaseException, file: Path) -> str:
    """Returns the line of the user's file where the error arose, as far as the traceback tells."""
    if isinstance(error, SyntaxError):
        return ""  # its message says the line
    trace, line = error.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(file):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f" (line {line})" if line else ""
