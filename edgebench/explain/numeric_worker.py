"""Finds where a model's numbers go wrong, in a process of its own: `python -m edgebench.explain.numeric_worker
PARENT_PID MEMORY_LIMIT`.

Reads a NumericJob on stdin; writes a line for each batch of layers, and a NumericAnswer, on stdout.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from edgebench import registry
from edgebench.errors import EdgebenchError, UnsupportedError
from edgebench.explain.numeric_report import NumericReport
from edgebench.measure.replicate import steps
from edgebench.measure.worker_messages import Job
from edgebench.processes.child_job import Say, run_job
from edgebench.words.reason_words import reason

#: Inputs that both models run on.
ITEMS = 2


class NumericJob(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment, and the model that it is held against."""

    job: Job
    name: str
    reference: str
    limit: float | None = None


class NumericAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The report, or why there is none."""

    report: NumericReport | None = None
    error: str = ""
    fix: str = ""
    unsupported: bool = False


def main() -> None:
    run_job(NumericJob, _answer, _failure)
    sys.stderr.flush()
    os._exit(0)


def _failure(error: Exception) -> NumericAnswer:
    if isinstance(error, MemoryError):
        return NumericAnswer(error=reason("out_of_memory").message)
    if isinstance(error, EdgebenchError):
        cannot = isinstance(error, UnsupportedError)
        return NumericAnswer(error=error.message, fix=error.fix, unsupported=cannot)
    return NumericAnswer(error=steps.explain(error)[1])


def _answer(asked: NumericJob, say: Say) -> NumericAnswer:
    from edgebench.explain.numeric import Other, numeric_report
    from edgebench.files.model_outputs import load_outputs
    from edgebench.preparation import input_pool

    job = asked.job
    if job.model_format != "onnx":
        raise UnsupportedError(
            f"{job.backend} opens a {job.model_format} file, whose tensors are not those of the ONNX model",
            "explain it on a backend that opens ONNX files, such as --backend ort or openvino",
        )
    if job.batch != 1:
        raise UnsupportedError("the reference has batch 1", "leave --set batch out")
    backend = registry.load(job.backend)
    os.environ.update(backend.environment(job.options))
    backend.import_runtime()
    if job.items:
        items = load_outputs(job.items, input_pool.POOL)
    else:
        items = input_pool.first_items(steps.task_of(job, job.fp32_inputs), ITEMS)
    own = Path(asked.reference) == Path(job.fp32_path)
    named = "the fp32 model" if own else Path(asked.reference).name
    other = Other(backend, steps.model_file(job), job.options, asked.name, named)
    reference, compared = Path(asked.reference), items[:ITEMS]
    return NumericAnswer(report=numeric_report(reference, other, compared, asked.limit, say))


if __name__ == "__main__":
    main()
