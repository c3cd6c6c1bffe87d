"""Finding a task by name or in a user's file, and the errors where there is none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgebench.errors import EdgebenchError, UsageError
from edgebench.task import TaskContext
from edgebench.tasks import (
    known_tasks,
    load_generation_task,
    load_task,
    task_class,
    task_file,
    task_metrics,
)

GOOD = """
from edgebench.task import Metric, Task

class Mine(Task):
    metrics = {"right": Metric("1", "higher", "share that is right")}
    def __len__(self): return 3
    def raw(self, index): return index
    def preprocess(self, raw): return {"x": raw}
    def postprocess(self, outputs, raw): return outputs
    def score(self, predictions): return {"right": 1.0}

class Half(Task):
    metrics = {}

NUMBER = 3
"""


@pytest.fixture
def task_py(tmp_path: Path) -> Path:
    path = tmp_path / "task.py"
    path.write_text(GOOD)
    return path


@pytest.mark.parametrize("name", known_tasks())
def test_every_task_that_comes_along_is_found_and_has_metrics(name: str) -> None:
    assert task_metrics(name)
    assert task_file(name).stem == name


def test_a_users_task_is_found_by_file_and_class(task_py: Path) -> None:
    task = load_task(f"{task_py}:Mine", TaskContext(seed=5))
    assert (len(task), task.context.seed) == (3, 5)
    assert list(task_metrics(f"{task_py}:Mine")) == ["right"]


def test_an_option_that_a_task_does_not_read_is_refused(task_py: Path) -> None:
    with pytest.raises(UsageError, match=r"no option 'file'; did you mean 'files'"):
        load_task("file_typing", TaskContext(options={"file": 3}))
    with pytest.raises(UsageError, match="no option 'temprature'; did you mean 'temperature'"):
        load_generation_task("generate", TaskContext(options={"temprature": 0.6}))
    assert load_task(f"{task_py}:Mine", TaskContext(options={"its_own": 1}))


def test_a_metric_that_a_task_does_not_give_is_refused(task_py: Path) -> None:
    with pytest.raises(UsageError, match="no metric 'perplexty'; did you mean 'perplexity'"):
        load_generation_task("generate", TaskContext(), ("exact_match", "perplexty"))
    with pytest.raises(UsageError, match="no metric 'rigth'; did you mean 'right'"):
        load_task(f"{task_py}:Mine", TaskContext(), ("rigth",))
    assert load_task(f"{task_py}:Mine", TaskContext(), ("right",))


@pytest.mark.parametrize("name", known_tasks())
def test_every_task_tells_its_options(name: str) -> None:
    source = task_file(name).read_text(encoding="utf-8")
    read = set(re.findall(r"""options(?:\.get\(|\[)\s*"(\w+)\"""", source))
    assert read <= set(task_class(name).option_names or ())


def test_two_files_of_one_name_do_not_mix(task_py: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "task.py"
    other.parent.mkdir()
    other.write_text(GOOD.replace("return 3", "return 4"))
    lengths = [len(load_task(f"{path}:Mine", TaskContext())) for path in (task_py, other)]
    assert lengths == [3, 4]


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("image_clasification", "did you mean 'image_classification'"),
        ("_pages", "no task '_pages'"),
        ("../tasks/file_typing", "no task"),
        ("{path}:Mime", "no class 'Mime'; did you mean 'Mine'"),
        ("{path}:Half", "Half is not a task"),
        ("{path}:NUMBER", "NUMBER is not a task"),
        ("{path}x.py:Mine", "no file"),
        ("{path}:", "is not a task"),
        ("task.txt:Mine", "is not a task"),
    ],
)
def test_a_wrong_task_is_one_clear_error(task_py: Path, spec: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        load_task(spec.replace("{path}", str(task_py)), TaskContext())


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("x = (", r"SyntaxError: .*task\.py, line 1"),
        ("import nothing_of_that_name", r"No module named 'nothing_of_that_name' \(line 1\)"),
        ("\n\n1 / 0", r"ZeroDivisionError: .* \(line 3\)"),
    ],
)
def test_a_users_file_that_does_not_import_says_where(
    tmp_path: Path, code: str, complaint: str
) -> None:
    path = tmp_path / "task.py"
    path.write_text(code)
    with pytest.raises(EdgebenchError, match=complaint):
        load_task(f"{path}:Mine", TaskContext())
