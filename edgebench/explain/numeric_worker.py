"""Finds where a model's numbers go wrong, in a process of its own: `python -m edgebench.explain.numeric_worker
PARENT_PID MEMORY_LIMIT`.

Reads a NumericJob on stdin; writes a line for each batch of layers, and a NumericAnswer, on stdout.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from edgebench import registry
from edgebench.errors import EdgebenchError, UnsupportedError
from edgebench.explain.numeric_report import NumericReport
from edgebench.measure.replicate import steps
from edgebench.measure.worker_messages import Job
from edgebench.preparation.preparation_messages import encode_step
from edgebench.processes.parent_tie import tie_to_parent

#: Inputs that both models run on, unless more are asked for.
ITEMS = 2


class NumericJob(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment, and the model that it is held against."""

    job: Job
    name: str
    reference: str
    items: int = ITEMS
    limit: float | None = None


class NumericAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The report, or why there is none."""

    report: NumericReport | None = None
    error: str = ""
    fix: str = ""
    unsupported: bool = False


def main() -> None:
    tie_to_parent(sys.argv[1:])
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=NumericJob)
    answer_fd = os.dup(1)
    os.dup2(2, 1)  # runtimes print: what they print is no answer
    with os.fdopen(answer_fd, "wb", buffering=0) as out:
        answer = _answer(asked, lambda step: out.write(encode_step(step)))
        out.write(msgspec.json.encode(answer) + b"\n")
    sys.stderr.flush()
    os._exit(0)


def _answer(asked: NumericJob, say: Callable[[str], object]) -> NumericAnswer:
    try:
        return NumericAnswer(report=_report(asked, say))
    except MemoryError:
        return NumericAnswer(error="the worker ran out of memory")
    except EdgebenchError as error:
        cannot = isinstance(error, UnsupportedError)
        return NumericAnswer(error=error.message, fix=error.fix, unsupported=cannot)
    except Exception as error:  # noqa: BLE001 - whatever a runtime raises is an answer
        return NumericAnswer(error=steps.explain(error)[1])


def _report(asked: NumericJob, say: Callable[[str], object]) -> NumericReport:
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
        items = input_pool.first_items(steps.task_of(job, job.fp32_inputs), asked.items)
    own = Path(asked.reference) == Path(job.fp32_path)
    named = "the fp32 model" if own else Path(asked.reference).name
    other = Other(backend, steps.model_file(job), job.options, asked.name, named)
    return numeric_report(
        Path(asked.reference),
        other,
        items[: asked.items],
        asked.limit,
        say,
    )


if __name__ == "__main__":
    main()
