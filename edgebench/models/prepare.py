"""Makes the model file a cell runs: build, fix shapes, quantise, and the reference of parity.

Runs in a process of its own, `python -m edgebench.models.prepare PARENT_PID MEMORY_LIMIT`: a PrepareJob as
JSON on stdin, a line on stdout for each step that it begins, and a last one, a PreparedModel (exit code 0)
or a PrepareFailure (exit code 1). Quantising imports much and a hostile model may crash the process, never
end, or want all memory; nothing of this touches the parent.

Each step is an entry of the cache, keyed by the content it was made from and the code that made it.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from edgebench.assets import file_sha256, folder_sha256
from edgebench.assets.prune import SOURCE_DIGITS
from edgebench.backend import TensorInfo
from edgebench.errors import EdgebenchError, UnsupportedError, UsageError, tells_of_no_memory
from edgebench.generation import Watched
from edgebench.installed import installed_version
from edgebench.measure.parent_link import tie_to_parent
from edgebench.models.cache import Cache, Made
from edgebench.models.jobs import (
    REFERENCE_ITEMS,
    PreparedModel,
    PrepareFailure,
    PrepareJob,
    encode_step,
)
from edgebench.record import Work
from edgebench.suggest import did_you_mean

if TYPE_CHECKING:
    from onnx import ModelProto

    from edgebench.task import Outputs, Task

PRECISIONS = ("as-is", "fp32", "fp16", "bf16", "w8", "w4", "int8-dynamic", "int8-static")

_MODEL, _REFERENCE, _ITEMS = "model.onnx", "reference.npz", "items.npz"


@dataclass(frozen=True)
class _Model:
    """A model file of some step; `build_s` is what all steps to it took, None if there were none."""

    path: Path
    sha256: str
    size_bytes: int
    build_s: float | None
    inputs: tuple[TensorInfo, ...]


Say = Callable[[str], object]


def prepare(job: PrepareJob, say: Say = lambda step: None) -> PreparedModel:
    """Raises EdgebenchError; UnsupportedError where this model cannot be had in this variant.

    `say` hears of each step as it begins, and of what a long one has done.
    """
    # By source, so that `edgebench assets prune` sees what no workload needs any more.
    store = Cache(Path(job.cache) / "models" / job.source_sha256[:SOURCE_DIGITS], say)
    if job.generates:
        return _decoder(job, store)
    if job.precision not in PRECISIONS:
        raise UnsupportedError(
            f"no way to make precision {job.precision!r}{did_you_mean(job.precision, PRECISIONS)}"
        )
    if job.format != "onnx":
        return _native(job)
    built = _built(job, store)
    single = _fixed(job, store, built, batch=1)
    fixed = single if job.batch == 1 else _fixed(job, store, built, batch=job.batch)
    final = fixed  # fp16, bf16, w8 and w4 are the runtime's doing, from the fp32 file
    if job.precision.startswith("int8"):
        final = _quantized(job, store, fixed, single)
    reference, constant = ("", False) if job.without_reference else _reference(job, store, single)
    return PreparedModel(
        path=str(final.path),
        sha256=final.sha256,
        size_bytes=final.size_bytes,
        precision=job.precision,
        batch=job.batch,
        build_s=final.build_s,
        fp32_path=str(single.path),
        inputs=list(single.inputs),
        reference=str(reference),
        reference_constant=constant,
        items=_items(job, store, single),
        fp32_rounding=_rounding(job, store, single, Path(reference)) if reference else None,
        work=_work(store, final),
    )


def _work(store: Cache, final: _Model) -> Work:
    """Operations and bytes of one run, counted once."""
    from edgebench.models import onnx_file
    from edgebench.models.work import work_of

    def make(folder: Path) -> Made:
        counted = work_of(onnx_file.load_model(final.path, weights=False))
        return Made(facts={"work": msgspec.to_builtins(counted)})

    _, facts = store.get({"step": "work", "model": final.sha256, **_made_by()}, make)
    return msgspec.convert(facts["work"], Work)


def _native(job: PrepareJob) -> PreparedModel:
    """A file in a runtime's own format: used as it came, without a reference to compare it with."""
    source = Path(job.source)
    if not source.is_file():
        raise EdgebenchError(f"no model file {source}")
    if job.precision != "as-is" or job.batch != 1:
        raise UnsupportedError(
            f"a {job.format} file is used as it came: no other precision, and batch 1",
            fix="--set precision=as-is --set batch=1",
        )
    return PreparedModel(
        path=job.source,
        format=job.format,
        sha256=job.source_sha256,
        size_bytes=source.stat().st_size,
        precision=job.precision,
        batch=1,
        build_s=None,
        fp32_path=job.source,
        inputs=[],
        reference="",
        reference_constant=False,
    )


def _decoder(job: PrepareJob, store: Cache) -> PreparedModel:
    """A decoder's file as it came, and what an fp32 reference makes of the task's prompts.

    Other precisions are the runtime's doing, from the same GGUF file; an ONNX graph has its own.
    """
    from edgebench.models.llm.session import reference_session
    from edgebench.models.llm.tokenizer import files_beside
    from edgebench.task import TaskContext
    from edgebench.tasks import load_generation_task

    source = Path(job.source)
    if not source.is_file():
        raise EdgebenchError(f"no model file {source}")
    if job.format != "gguf" and job.precision != "as-is":
        raise UnsupportedError(
            f"a decoder in {job.format} is used as it came: no other precision",
            fix="--set precision=as-is",
        )
    data = {name: Path(path) for name, path in job.data.items()}
    context = TaskContext(data=data, options=job.options, model_asset=source, seed=job.seed)
    task = load_generation_task(job.task, context)

    def make(folder: Path) -> Made:
        import numpy as np

        reference = reference_session(source, task.positions)
        session = Watched(reference, lambda: store.say("reference"))
        arrays: dict[str, Any] = task.reference(session)
        session.close()
        np.savez(folder / _REFERENCE, **arrays)
        return Made(facts={})

    weights = _weights_beside(source) if job.format == "onnx" else []
    files, hashes = [source, *weights], [job.source_sha256, *map(file_sha256, weights)]
    sha256 = _joint_sha256(files, hashes)
    tokens = [file_sha256(path) for path in files_beside(source)]
    made_from = {"model": sha256, "tokens": tokens, "task": _task_identity(job)}
    key = {"step": "decoder reference", **made_from, **_made_by()}
    reference = "" if job.without_reference else str(store.get(key, make)[0] / _REFERENCE)
    return PreparedModel(
        path=job.source,
        format=job.format,
        sha256=sha256,
        size_bytes=sum(file.stat().st_size for file in files),
        precision=job.precision,
        batch=job.batch,
        build_s=None,
        fp32_path=job.source,
        inputs=[],
        reference=reference,
        reference_constant=False,
    )


def _built(job: PrepareJob, store: Cache) -> _Model:
    """The source itself, or what its builder makes of it."""
    source = Path(job.source)
    if not source.exists():
        raise EdgebenchError(f"no model file {source}")
    if job.builder is None:
        return _as_it_came(source, store, job.source_sha256)
    build = _builder(job.builder)
    key = {"step": "build", "source": job.source_sha256, "builder": job.builder, **_made_by()}

    def make(folder: Path) -> Made:
        start = time.perf_counter()
        build(source, folder / _MODEL)
        return _facts(folder / _MODEL, time.perf_counter() - start)

    return _from_entry(*store.get(key, make))


def _as_it_came(source: Path, store: Cache, sha256: str) -> _Model:
    """The file in its place, described once and then from the cache."""
    key = {"step": "describe", "source": sha256, "path": str(source.resolve()), **_made_by()}

    def make(folder: Path) -> Made:
        made = _facts(source, None)
        files = [source, *_weights_beside(source)]
        return Made(
            facts={**made.facts, "path": str(source)},
            refers_to={str(path): file_sha256(path) for path in files},
        )

    return _from_entry(*store.get(key, make))


def _builder(name: str) -> Callable[[Path, Path], None]:
    try:
        module = importlib.import_module(f"edgebench.models.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"edgebench.models.{name}":
            raise EdgebenchError(
                f"builder {name!r} needs the package {error.name!r}",
                fix="pip install 'edgebench[full]'",
            ) from None
        raise UsageError(f"no builder {name!r}{did_you_mean(name, _builders())}") from None
    build: Callable[[Path, Path], None] | None = getattr(module, "build", None)
    if build is None:
        raise UsageError(f"edgebench.models.{name} is no builder{did_you_mean(name, _builders())}")
    return build


def _builders() -> list[str]:
    folder = Path(__file__).parent
    return [path.stem for path in folder.glob("*.py") if "\ndef build(" in path.read_text("utf-8")]


def _fixed(job: PrepareJob, store: Cache, built: _Model, batch: int) -> _Model:
    """The model with every input shape fixed; the same file where all are already."""
    from edgebench.models import onnx_file

    if not job.shapes and batch == 1 and not any(None in info.shape for info in built.inputs):
        return built
    key = {
        "step": "fix",
        "model": built.sha256,
        "shapes": job.shapes,
        "batch": batch,
        **_made_by(),
    }

    def make(folder: Path) -> Made:
        start = time.perf_counter()
        model = onnx_file.load_model(built.path)
        shapes = onnx_file.resolve_shapes(model, job.shapes, batch)
        onnx_file.save_model(onnx_file.freeze(model, shapes), folder / _MODEL, keep_opset=True)
        return _facts(folder / _MODEL, (built.build_s or 0.0) + time.perf_counter() - start)

    return _from_entry(*store.get(key, make))


def _quantized(job: PrepareJob, store: Cache, fixed: _Model, single: _Model) -> _Model:
    from edgebench.models import onnx_file, quantize

    static = job.precision == "int8-static"
    key = {
        "step": job.precision,
        "model": fixed.sha256,
        "reduce_range": quantize.weights_need_reduced_range(),
        "calibration": _task_identity(job) if static else None,
        "batch": job.batch,
        **_made_by(),
    }

    def make(folder: Path) -> Made:
        start = time.perf_counter()
        model = _foldable(onnx_file.load_model(fixed.path))
        if static:
            calibration = _task(job, single).calibration()
            model = quantize.quantize_static(model, calibration, job.batch)
        else:
            model = quantize.quantize_dynamic(model)
        onnx_file.save_model(model, folder / _MODEL, keep_opset=True)
        return _facts(folder / _MODEL, (fixed.build_s or 0.0) + time.perf_counter() - start)

    return _from_entry(*store.get(key, make))


def _foldable(model: ModelProto) -> ModelProto:
    """Ready for the quantizer: opset 13 or later, nothing left to fold."""
    from edgebench.models import onnx_file

    raised = onnx_file.raise_opset(model)
    return onnx_file.freeze(raised, onnx_file.resolve_shapes(raised, {}, 1))


def _reference(job: PrepareJob, store: Cache, single: _Model) -> tuple[Path, bool]:
    """Outputs of the unquantised model on the first items, and whether they are all the same."""
    key = {
        "step": "reference",
        "model": single.sha256,
        "task": _task_identity(job),
        "items": REFERENCE_ITEMS,
        **_made_by(),
    }

    def make(folder: Path) -> Made:
        import numpy as np

        outputs = _reference_outputs(single, _task(job, single), store.say)
        np.savez(folder / _REFERENCE, **_named_arrays(outputs))
        return Made(facts={"constant": not _differ(outputs)})

    folder, facts = store.get(key, make)
    return folder / _REFERENCE, bool(facts["constant"])


def _items(job: PrepareJob, store: Cache, single: _Model) -> str:
    """The items that workers time with, made once for all of them: it is quicker, and what decodes
    pictures is in no worker's peak of memory. "" where a file cannot hold them."""
    from edgebench.measure import inputs

    key = {
        "step": "items",
        "model": single.sha256,
        "task": _task_identity(job),
        "batch": job.batch,
        "pool": file_sha256(Path(inputs.__file__)),
        "metrics": job.metrics,  # a task that does not give one is refused before anything is timed
        **_made_by(),
    }

    def make(folder: Path) -> Made:
        import numpy as np

        items = inputs.pool_items(_task(job, single), job.batch)
        kept = inputs.can_be_kept(items)
        if kept:
            np.savez(folder / _ITEMS, **_named_arrays(items))
        return Made(facts={"kept": kept})

    folder, facts = store.get(key, make)
    return str(folder / _ITEMS) if facts["kept"] else ""


def _named_arrays(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        f"{index}/{name}": array for index, item in enumerate(items) for name, array in item.items()
    }


def _rounding(job: PrepareJob, store: Cache, single: _Model, reference: Path) -> float | None:
    """What rounding in fp32 moves the outputs by: what moves them by far more is another precision."""
    from edgebench.measure.check import load_outputs
    from edgebench.models.rounding import fp32_rounding

    def make(folder: Path) -> Made:
        task = _task(job, single)
        known = load_outputs(str(reference), REFERENCE_ITEMS)
        items = [task.preprocess(task.raw(number)) for number in range(len(known))]
        return Made(facts={"rounding": fp32_rounding(str(single.path), items, known, store.say)})

    key = {"step": "rounding", "model": single.sha256, "task": _task_identity(job), **_made_by()}
    _, facts = store.get(key, make)
    rounding = facts["rounding"]
    return None if rounding is None else float(rounding)


def _reference_outputs(model: _Model, task: Task, say: Say) -> list[Outputs]:
    """ONNX Runtime on the CPU, one thread, graph optimisations off.

    Raises UnsupportedError where it cannot run the model, EdgebenchError where the file or the task is at
    fault.
    """
    import onnxruntime as ort

    from edgebench.models import onnx_file

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if not len(task):
        raise EdgebenchError(f"the task {type(task).__name__} has no items")
    items = [dict(task.preprocess(task.raw(n))) for n in range(min(REFERENCE_ITEMS, len(task)))]
    given = {name: (array.dtype.name, array.shape) for name, array in items[0].items()}
    taken = {info.name: (info.dtype, info.shape) for info in model.inputs}
    opened = False
    try:
        session = ort.InferenceSession(str(model.path), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        opened = True
        outputs = []
        for feeds in items:
            say("reference")
            outputs.append(dict(zip(names, session.run(names, feeds), strict=True)))
        return outputs
    except Exception as error:  # noqa: BLE001 - the runtime's exceptions share no base class but Exception
        if opened and given != taken:
            raise EdgebenchError(
                f"the task {type(task).__name__} gives {_named(given)}; the model takes {_named(taken)}"
            ) from None
        what = f"ONNX Runtime cannot run {model.path.name} for a reference"
        raise onnx_file.refusal(error, what) from None


def _named(tensors: Mapping[str, tuple[str, tuple[int | None, ...]]]) -> str:
    return ", ".join(f"{name} {dtype}{list(shape)}" for name, (dtype, shape) in tensors.items())


def _differ(outputs: list[Outputs]) -> bool:
    """Whether any two items gave outputs that differ by more than rounding."""
    import numpy as np

    def differs(mine: Any, first: Any) -> bool:
        mine, first = np.asarray(mine), np.asarray(first)
        if mine.shape != first.shape:
            return True
        if mine.dtype.kind not in "fc":
            return not np.array_equal(mine, first)
        return not np.allclose(mine, first, rtol=1e-5, atol=0, equal_nan=True)

    return any(differs(item[name], outputs[0][name]) for item in outputs[1:] for name in item)


def _task(job: PrepareJob, single: _Model) -> Task:
    from edgebench.task import TaskContext
    from edgebench.tasks import load_task

    context = TaskContext(
        data={name: Path(path) for name, path in job.data.items()},
        options=job.options,
        model=single.path,
        model_asset=Path(job.source),
        inputs=single.inputs,
        seed=job.seed,
    )
    return load_task(job.task, context, job.metrics)


def _task_identity(job: PrepareJob) -> dict[str, Any]:
    """What decides the task's inputs: its code, options, data, seed and the asset it may read."""
    from edgebench.tasks import task_file

    return {
        "task": job.task,
        "code": [file_sha256(task_file(job.task)), _code_sha256()],
        "options": job.options,
        "data": {name: _content_sha256(Path(path)) for name, path in job.data.items()},
        "source": job.source_sha256,
        "seed": job.seed,
    }


def _content_sha256(path: Path) -> str:
    try:
        return folder_sha256(path) if path.is_dir() else file_sha256(path)
    except OSError as error:
        raise EdgebenchError(f"{path} cannot be read: {error.strerror}") from None


@cache
def _made_by() -> dict[str, str]:
    """The code and the libraries an entry depends on."""
    return {
        "code": _code_sha256(),
        "onnx": importlib.metadata.version("onnx"),
        "onnxruntime": _runtime_version(),
    }


@cache
def _code_sha256() -> str:
    """Of all sources that make models and inputs: simpler than following imports, and safe."""
    package = Path(__file__).parent.parent
    files = sorted([*package.glob("models/**/*.py"), *package.glob("tasks/*.py")])
    return hashlib.sha256("".join(file_sha256(file) for file in files).encode()).hexdigest()


def _runtime_version() -> str:
    version = installed_version("onnxruntime")
    if version is None:  # another distribution of the same module
        import onnxruntime

        return str(onnxruntime.__version__)
    return version


def _facts(path: Path, build_s: float | None) -> Made:
    from edgebench.models import onnx_file

    files = [path, *_weights_beside(path)]
    hashes = [file_sha256(file) for file in files]
    inputs, _ = onnx_file.describe(onnx_file.load_model(path, weights=False))
    return Made(
        facts={
            "sha256": _joint_sha256(files, hashes),
            "size_bytes": sum(file.stat().st_size for file in files),
            "build_s": build_s,
            "inputs": msgspec.to_builtins(inputs),
        }
    )


def _joint_sha256(files: list[Path], hashes: list[str]) -> str:
    """Of a model in one file, that file's."""
    if len(files) == 1:
        return hashes[0]
    listing = "".join(f"{h}  {f.name}\n" for h, f in zip(hashes, files, strict=True))
    return hashlib.sha256(listing.encode()).hexdigest()


def _weights_beside(path: Path) -> list[Path]:
    from edgebench.models import onnx_file

    return onnx_file.external_files(path)


def _from_entry(folder: Path, facts: dict[str, Any]) -> _Model:
    return _Model(
        path=Path(facts.get("path", folder / _MODEL)),
        sha256=facts["sha256"],
        size_bytes=facts["size_bytes"],
        build_s=facts["build_s"],
        inputs=msgspec.convert(facts["inputs"], tuple[TensorInfo, ...]),
    )


def main() -> int:
    """Reads the job, answers on stdout; whatever libraries print goes to stderr."""
    tie_to_parent(sys.argv[1:])
    with os.fdopen(os.dup(1), "wb", buffering=0) as out:
        os.dup2(2, 1)
        answer: PreparedModel | PrepareFailure
        try:
            job = msgspec.json.decode(sys.stdin.buffer.read(), type=PrepareJob)
            answer = prepare(job, lambda step: out.write(encode_step(step)))
        except EdgebenchError as error:
            cannot = isinstance(error, UnsupportedError) and not tells_of_no_memory(error)
            kind: Literal["unsupported", "failed"] = "unsupported" if cannot else "failed"
            answer = PrepareFailure(error=error.message, fix=error.fix, kind=kind)
        except MemoryError:
            answer = PrepareFailure(error="it ran out of memory")
        except Exception as error:  # noqa: BLE001 - whatever a library raises becomes a row, not a traceback
            answer = PrepareFailure(error=f"{type(error).__name__}: {error}")
        out.write(msgspec.json.encode(answer) + b"\n")
    return 1 if isinstance(answer, PrepareFailure) else 0


if __name__ == "__main__":
    sys.exit(main())
