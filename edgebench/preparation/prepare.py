"""Makes the model file that a cell runs: builds it, fixes shapes, quantises, and computes the reference of parity.

Runs in a process of its own, `python -m edgebench.preparation.prepare PARENT_PID MEMORY_LIMIT`: a PrepareJob as
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
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgebench.assets import file_sha256, folder_sha256
from edgebench.assets.prune import SOURCE_DIGITS
from edgebench.backend import TensorInfo
from edgebench.errors import EdgebenchError, UnsupportedError, UsageError, tells_of_no_memory
from edgebench.generation import Watched
from edgebench.installed_packages import installed_version
from edgebench.models.file_kind import check_arrived, check_mark
from edgebench.models.precision_map import MIXED, CalibrationSpec, is_mixed, kept_map
from edgebench.models.quantization_recipes import STATIC_NAME, recipe_named
from edgebench.preparation.built_model_cache import Cache, Made
from edgebench.preparation.preparation_messages import (
    REFERENCE_ITEMS,
    PreparedModel,
    PrepareFailure,
    PrepareJob,
    Reference,
    why_failed,
)
from edgebench.processes.child_job import leave, run_job
from edgebench.record import Work
from edgebench.task import RANGE_FIX, InputRange
from edgebench.text.did_you_mean import did_you_mean
from edgebench.user_code import place_of
from edgebench.words import quality_words

if TYPE_CHECKING:
    from onnx import ModelProto

    from edgebench.models.onnx_file import OpenAxesError
    from edgebench.models.open_axes import Shapes
    from edgebench.models.quantize import Quantizable, Ranges
    from edgebench.preparation.parity_tolerance import Run
    from edgebench.task import Feeds, Outputs, Task

PRECISIONS = ("as-is", "fp32", "fp16", "bf16", "w8", "w4", "int8-dynamic", "int8-static")

#: ONNX's own evaluator is slow: after this time it answers no further item.
MAX_EVALUATOR_S = 120.0
MAX_WORDS_CHARS = 300  # of a library's error message
MAX_ITEM_ELEMENTS = 1 << 28  # of all inputs of one item: a volume of 645 x 645 x 645

_MODEL, _REFERENCE, _ITEMS = "model.onnx", "reference.npz", "items.npz"


@dataclass(frozen=True)
class _Model:
    """A model file of some step; `build_s` is what all steps to it took, None if there were none."""

    path: Path
    sha256: str
    size_bytes: int
    build_s: float | None
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    input_ranges: dict[str, InputRange]


Say = Callable[[str], object]


def prepare(job: PrepareJob, say: Say = lambda step: None) -> PreparedModel:
    """Raises EdgebenchError; UnsupportedError where this model cannot be had in this variant.

    `say` hears of each step as it begins, and of what a long one has done.
    """
    from edgebench.models import onnx_file

    # By source, so that `edgebench assets prune` sees what no workload needs any more.
    store = Cache(Path(job.cache) / "models" / job.source_sha256[:SOURCE_DIGITS], say)
    try:
        return _prepared(job, store)
    except (EdgebenchError, MemoryError):
        raise
    except Exception as error:
        words = f"{type(error).__name__}: {_first_line(error)}"
        place = place_of(error, [job.task])
        if place:
            raise EdgebenchError(f"{place}: {words}", "correct the task") from error
        if isinstance(error, onnx_file.damage_kinds()):
            raise EdgebenchError(
                f"{job.source} cannot be prepared: {words}",
                "check the file: python -m onnx.bin.checker FILE, or export it again",
            ) from error
        raise


def _prepared(job: PrepareJob, store: Cache) -> PreparedModel:
    if job.generates:
        return _decoder(job, store)
    if job.precision not in PRECISIONS and not is_mixed(job.precision):
        raise UnsupportedError(
            f"no precision {job.precision!r} can be made{did_you_mean(job.precision, PRECISIONS)}"
        )
    if job.format != "onnx":
        return _native(job)
    built = _built(job, store)
    single = _fixed(job, store, built, batch=1)
    fixed = single if job.batch == 1 else _fixed(job, store, built, batch=job.batch)
    final = fixed  # fp16, bf16, w8 and w4 are the runtime's doing, from the fp32 file
    if is_mixed(job.precision):
        final = _mixed(job, store, fixed, single)
    elif job.precision.startswith("int8"):
        final = _quantized(job, store, fixed, single)
    reference = _reference(job, store, single)
    return PreparedModel(
        path=str(final.path),
        sha256=final.sha256,
        size_bytes=final.size_bytes,
        precision=job.precision,
        recipe=_recipe(job),
        batch=job.batch,
        build_s=final.build_s,
        fp32_path=str(single.path),
        inputs=list(single.inputs),
        outputs=list(single.outputs),
        input_ranges=single.input_ranges,
        open_path=_with_open_axes(job, store, built) if job.keeps_open else "",
        items=_items(job, store, single),
        reference=_with_rounding(job, store, single, reference),
        work=_work(store, final),
    )


def _recipe(job: PrepareJob) -> str:
    if is_mixed(job.precision):
        return kept_map(job.precision, Path(job.cache)).recipe
    return STATIC_NAME if job.precision == "int8-static" else ""


def _work(store: Cache, final: _Model) -> Work:
    """Operations and bytes of one run, counted once."""
    from edgebench.models import onnx_file
    from edgebench.models.work_count import work_of

    def make(folder: Path) -> Made:
        counted = work_of(onnx_file.load_model(final.path, weights=False))
        return Made(facts={"work": msgspec.to_builtins(counted)})

    _, facts = _entry(store, "work", make, model=final.sha256)
    return msgspec.convert(facts["work"], Work)


def _native(job: PrepareJob) -> PreparedModel:
    """A file in a runtime's own format: used as it came, without a reference to compare it with."""
    from edgebench.models import tflite_ranges

    source = Path(job.source)
    if not source.is_file():
        raise EdgebenchError(f"no model file {source}")
    check_arrived(source)
    check_mark(source, job.format)
    if job.precision != "as-is" or job.batch != 1:
        raise UnsupportedError(
            f"a {job.format} file is used unchanged: it has no other precision, and batch 1 only",
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
        input_ranges=tflite_ranges.input_ranges(source) if job.format == "tflite" else {},
        reference=Reference(note=quality_words.NO_FP32_MODEL),
    )


def _decoder(job: PrepareJob, store: Cache) -> PreparedModel:
    """A decoder's file as it came, and what an fp32 reference makes of the task's prompts.

    Other precisions are the runtime's doing, from the same GGUF file; an ONNX graph has its own.
    """
    from edgebench.models.llm.reference_decoder import reference_session
    from edgebench.models.llm.tokenizer import files_beside
    from edgebench.task import TaskContext
    from edgebench.tasks import load_generation_task

    source = Path(job.source)
    if not source.is_file():
        raise EdgebenchError(f"no model file {source}")
    check_arrived(source)
    if job.format != "gguf" and job.precision != "as-is":
        raise UnsupportedError(
            f"a decoder in {job.format} is used unchanged: it has no other precision",
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
    reference = ""
    if not job.without_reference:
        made_from = {"model": sha256, "tokens": tokens, "task": _task_identity(job)}
        folder, _ = _entry(store, "decoder reference", make, **made_from)
        reference = str(folder / _REFERENCE)
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
        reference=Reference(path=reference),
    )


def _built(job: PrepareJob, store: Cache) -> _Model:
    """The source itself, or what its builder makes of it."""
    source = Path(job.source)
    if not source.exists():
        raise EdgebenchError(f"no model file {source}")
    if source.is_file():
        check_arrived(source)
    if job.builder is None:
        return _as_it_came(source, store, job.source_sha256)
    build = _builder(job.builder)

    def make(folder: Path) -> Made:
        start = time.perf_counter()
        build(source, folder / _MODEL)
        return _facts(folder / _MODEL, time.perf_counter() - start)

    return _model(store, "build", make, source=job.source_sha256, builder=job.builder)


def _with_open_axes(job: PrepareJob, store: Cache, built: _Model) -> str:
    """The model for inputs of several shapes; "": all of its shapes are fixed."""
    build = (
        getattr(importlib.import_module(f"edgebench.models.{job.builder}"), "build_open", None)
        if job.builder
        else None
    )
    if build is None:
        return str(built.path) if any(info.sizes is None for info in built.inputs) else ""

    def make(folder: Path) -> Made:
        build(Path(job.source), folder / _MODEL)
        return _facts(folder / _MODEL, None)

    made_from = {"source": job.source_sha256, "builder": job.builder}
    return str(_model(store, "build open", make, **made_from).path)


def _as_it_came(source: Path, store: Cache, sha256: str) -> _Model:
    """The file in its place, described once and then from the cache."""
    if any(_is_elsewhere(file) for file in _weights_beside(source)):
        return _gathered(source, store)

    def make(folder: Path) -> Made:
        facts = _facts(source, None)
        files = [source, *_weights_beside(source)]
        return Made(
            facts={**facts.facts, "path": str(source)},
            refers_to={str(path): file_sha256(path) for path in files},
        )

    return _model(store, "describe", make, source=sha256, path=str(source.absolute()))


def _is_elsewhere(file: Path) -> bool:
    """Whether a file is a link into another folder, as in a cache of downloads."""
    return file.resolve().parent != file.parent.resolve()


def _gathered(source: Path, store: Cache) -> _Model:
    """The model and its weights in one folder: runtimes refuse weights that a link brings from elsewhere."""
    facts = _facts(source, None)

    def make(folder: Path) -> Made:
        _link_or_copy(source, folder / _MODEL)
        for file in _weights_beside(source):
            _link_or_copy(file, folder / file.relative_to(source.parent))
        return facts

    return _model(store, "gather", make, model=facts.facts["sha256"])


def _link_or_copy(source: Path, target: Path) -> None:
    """The same content under another name: without a copy where the file system can."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


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
        raise UsageError(
            f"edgebench.models.{name} is not a builder{did_you_mean(name, _builders())}"
        )
    return build


def _builders() -> list[str]:
    folder = Path(__file__).parents[1] / "models"
    return [path.stem for path in folder.glob("*.py") if "\ndef build(" in path.read_text("utf-8")]


def _fixed(job: PrepareJob, store: Cache, built: _Model, batch: int) -> _Model:
    """The model with every input shape fixed; the same file where all are already."""
    from edgebench.models import onnx_file

    if not job.shapes and batch == 1 and all(info.sizes is not None for info in built.inputs):
        return built

    def make(folder: Path) -> Made:
        start = time.perf_counter()
        model = onnx_file.load_model(built.path)
        try:
            shapes = onnx_file.resolve_shapes(model, job.shapes, batch)
        except onnx_file.OpenAxesError as error:
            raise UsageError(error.message, _shapes_that_run(job, built, model, error)) from None
        try:
            frozen = onnx_file.freeze(model, shapes)
        except onnx_file.RefusedError:
            # A branch that this run does not take may contradict the shapes: people deploy such files.
            if onnx_file.is_loaded_by_onnxruntime(built.path):
                return _run_as_it_came(built, shapes)
            frozen = onnx_file.load_model(built.path)
            onnx_file.set_input_shapes(frozen, shapes)
        onnx_file.save_model(frozen, folder / _MODEL, keep_opset=True)
        return _facts(folder / _MODEL, (built.build_s or 0.0) + time.perf_counter() - start)

    return _model(store, "fix", make, model=built.sha256, shapes=job.shapes, batch=batch)


def _shapes_that_run(
    job: PrepareJob, built: _Model, model: ModelProto, error: OpenAxesError
) -> str:
    """The options that give the open axes sizes with which the model was seen to run, or what they look like."""
    from edgebench.models import onnx_file, open_axes

    def feeds(given: Shapes) -> Feeds:
        shapes = onnx_file.resolve_shapes(model, {**job.shapes, **given}, 1)
        inputs = tuple(
            msgspec.structs.replace(i, shape=tuple(shapes[i.name])) for i in built.inputs
        )
        task = _task(job, replace(built, inputs=inputs))
        return task.preprocess(task.raw(0))

    runs = open_axes.that_run(built.path, open_axes.proposals(error.proposed), feeds)
    return error.fix if runs is None else open_axes.seen_to_run(runs)


def _run_as_it_came(built: _Model, shapes: Mapping[str, list[int]]) -> Made:
    """The file of an earlier step, whose axes stay open, fed with inputs of these shapes."""
    files = [built.path, *_weights_beside(built.path)]
    inputs = [msgspec.structs.replace(i, shape=tuple(shapes[i.name])) for i in built.inputs]
    return Made(
        facts=msgspec.to_builtins(replace(built, inputs=tuple(inputs)), enc_hook=str),
        refers_to={str(path): file_sha256(path) for path in files},
    )


def _quantized(job: PrepareJob, store: Cache, fixed: _Model, single: _Model) -> _Model:
    from edgebench.models import quantize

    static = job.precision == "int8-static"

    def quantized() -> ModelProto:
        model = _foldable(fixed)
        if not static:
            return quantize.quantize_dynamic(model)
        return quantize.quantize_static(model, _task(job, single).calibration(), job.batch)

    return _by_quantizer(
        job,
        store,
        job.precision,
        fixed,
        quantized,
        calibration=_task_identity(job) if static else None,
        recipe=STATIC_NAME if static else None,
    )


def _mixed(job: PrepareJob, store: Cache, fixed: _Model, single: _Model) -> _Model:
    """The model by a precision map that this machine knows. Raises UsageError for another model's map."""
    from edgebench.models import quantize

    wanted = kept_map(job.precision, Path(job.cache))
    if wanted.model_sha256 != job.source_sha256:
        about = f" ({wanted.workload})" if wanted.workload else ""
        raise UsageError(
            f"the precision map {job.precision} is of another model{about}: its file has the sha256 "
            f"{wanted.model_sha256[:12]}, this one {job.source_sha256[:12]}",
            "give a map of this model: `edgebench search` finds one",
        )
    ranges_of = _ranger(job, store, fixed, single)

    def quantized() -> ModelProto:
        source = quantize.quantizable(_foldable(fixed), recipe_named(wanted.recipe))
        return quantize.quantize_mixed(source, ranges_of(wanted.calibration, source), wanted)

    made_from = {"map": job.precision, "calibration": _task_identity(job)}
    return _by_quantizer(job, store, MIXED, fixed, quantized, **made_from)


def _by_quantizer(
    job: PrepareJob,
    store: Cache,
    step: str,
    fixed: _Model,
    quantized: Callable[[], ModelProto],
    **made_from: Any,
) -> _Model:
    from edgebench.models import onnx_file, quantize

    def make(folder: Path) -> Made:
        start = time.perf_counter()
        onnx_file.save_model(quantized(), folder / _MODEL, keep_opset=True)
        return _facts(folder / _MODEL, (fixed.build_s or 0.0) + time.perf_counter() - start)

    reduced = quantize.weights_need_reduced_range()
    every = {"model": fixed.sha256, "reduce_range": reduced, "batch": job.batch, **made_from}
    return _model(store, step, make, **every)


Ranger = Callable[[CalibrationSpec, "Quantizable"], "Ranges"]


def _ranger(job: PrepareJob, store: Cache, fixed: _Model, single: _Model) -> Ranger:
    """Finds the ranges of every tensor, once for all maps of a model, a recipe and a way to calibrate."""
    from edgebench.models import quantize

    def ranges_of(spec: CalibrationSpec, source: Quantizable) -> Ranges:
        def make(folder: Path) -> Made:
            calibration = _task(job, single).calibration()
            return Made(
                facts={"ranges": dict(quantize.ranges_of(source, calibration, spec, job.batch))}
            )

        _, facts = _entry(
            store,
            "calibrate",
            make,
            model=fixed.sha256,
            recipe=source.recipe.name,
            method=msgspec.to_builtins(spec),
            calibration=_task_identity(job),
            batch=job.batch,
        )
        return {name: (float(low), float(high)) for name, (low, high) in facts["ranges"].items()}

    return ranges_of


@dataclass(frozen=True)
class Subject:
    """A model of batch 1 as the quantizer takes it, with what `edgebench search` asks of it."""

    model: ModelProto
    fp32_path: Path
    task: Callable[[int], Task]  # by the number of the draw of items
    ranges: Ranger


def subject_of(job: PrepareJob, say: Say = lambda step: None) -> Subject:
    """The fp32 model of a job, ready for the quantizer. Raises EdgebenchError as `prepare` does."""
    store = Cache(Path(job.cache) / "models" / job.source_sha256[:SOURCE_DIGITS], say)
    single = _fixed(job, store, _built(job, store), batch=1)
    ranger = _ranger(job, store, single, single)
    return Subject(_foldable(single), single.path, lambda draw: _task(job, single, draw), ranger)


def _foldable(fixed: _Model) -> ModelProto:
    """Ready for the quantizer: opset 13 or later, nothing left to fold where shapes can be fixed."""
    from edgebench.models import onnx_file

    def raised() -> ModelProto:
        return onnx_file.raise_opset(onnx_file.load_model(fixed.path))

    try:
        return onnx_file.freeze(raised(), {i.name: i.sizes or () for i in fixed.inputs})
    except onnx_file.RefusedError:
        return raised()


def _parity_key(job: PrepareJob, single: _Model) -> dict[str, Any]:
    """Returns what a model is asked: one file is asked other things at other sizes, where it runs as it came."""
    return {
        "model": single.sha256,
        "inputs": msgspec.to_builtins(single.inputs),
        "task": _task_identity(job),
    }


def _reference(job: PrepareJob, store: Cache, single: _Model) -> Reference:
    """The outputs of the unquantised model; what rounding moves them by is not known yet."""
    from edgebench.preparation.parity_tolerance import unmeasured

    if job.without_reference:
        return Reference(parity=unmeasured(single.path), note=quality_words.NO_TIME_FOR_REFERENCE)

    def make(folder: Path) -> Made:
        from edgebench.files.model_outputs import save_outputs

        outputs, told = _answers(single, _task(job, single), lambda: store.say("reference"))
        if outputs:
            save_outputs(folder / _REFERENCE, outputs)
            told = msgspec.structs.replace(told, path=_REFERENCE)
        return Made(facts=msgspec.to_builtins(told))

    made_from = {**_parity_key(job, single), "items": REFERENCE_ITEMS}
    folder, facts = _entry(store, "reference", make, **made_from)
    told = msgspec.convert(facts, Reference)
    return msgspec.structs.replace(told, path=str(folder / told.path)) if told.path else told


def _items(job: PrepareJob, store: Cache, single: _Model) -> str:
    """The items that workers time with, made once for all of them: it is quicker, and what decodes
    pictures is in no worker's peak of memory. "" where a file cannot hold them."""
    from edgebench.preparation import input_pool as inputs

    def make(folder: Path) -> Made:
        from edgebench.files.model_outputs import save_outputs

        items = inputs.pool_items(_task(job, single), job.batch)
        kept = inputs.can_be_kept(items)
        if kept:
            save_outputs(folder / _ITEMS, items)
        return Made(facts={"kept": kept})

    folder, facts = _entry(
        store,
        "items",
        make,
        **_parity_key(job, single),
        batch=job.batch,
        pool=file_sha256(Path(inputs.__file__)),
        metrics=job.metrics,  # a task that does not give one is refused before anything is timed
    )
    return str(folder / _ITEMS) if facts["kept"] else ""


def _with_rounding(
    job: PrepareJob, store: Cache, single: _Model, reference: Reference
) -> Reference:
    """The reference with what rounding in fp32 moves its outputs by; a far larger shift means another precision. It is
    unknown of a file that computes in less by itself, or that has no answers to hold others against."""
    from edgebench.files.model_outputs import load_outputs
    from edgebench.preparation.parity_tolerance import fp32_rounding
    from edgebench.preparation.quantization_noise import FP32_UNITS, MAX_FP32_ROUNDING

    parity = reference.parity
    if not reference.path or reference.note or parity.arithmetic or parity.random:
        return reference

    def make(folder: Path) -> Made:
        task = _task(job, single)
        known = load_outputs(reference.path, REFERENCE_ITEMS)
        items = [task.preprocess(task.raw(number)) for number in range(len(known))]
        return Made(facts={"rounding": fp32_rounding(str(single.path), items, known, store.say)})

    _, facts = _entry(store, "rounding", make, **_parity_key(job, single))
    rounding = facts["rounding"]
    if rounding is None:
        return reference
    # Where ONNX Runtime has nothing to fuse, the two are bit for bit the same, and tell nothing of others.
    numbers = [each.name for each in single.outputs if "float" in each.dtype]
    moved = max((parity.moved.get(name, 0.0) for name in numbers), default=0.0)
    rounding = float(max(rounding, min(moved, MAX_FP32_ROUNDING) / FP32_UNITS))
    return msgspec.structs.replace(reference, rounding=rounding)


def _answers(
    model: _Model, task: Task, say: Callable[[], object]
) -> tuple[list[Outputs], Reference]:
    """Answers of ONNX Runtime, unoptimised; of ONNX's own evaluator where that cannot run the model, as other
    runtimes may; of none where neither can. Raises EdgebenchError where the items do not fit the model,
    memory does not suffice, or nobody could run it. `say` is called before each item: a sign of life."""
    from edgebench.models import onnx_file
    from edgebench.preparation.parity_tolerance import (
        by_evaluator,
        telling,
        unmeasured,
        unoptimised,
    )

    items = _first_items(task, model)
    names = [output.name for output in model.outputs]
    opened = False
    try:
        run = telling(unoptimised(model.path, names), say)
        opened = True
        return _reference_answers(model, run, items, [run(feeds) for feeds in items], say)
    except Exception as error:  # noqa: BLE001 - the runtime's exceptions share no base class but Exception
        if tells_of_no_memory(error):
            what = f"ONNX Runtime cannot run {model.path.name} for a reference"
            raise onnx_file.refusal(error, what) from None
        refusal, meaning = _first_line(error), onnx_file.refusal(error, f"{model.path} is damaged")
    _check_fit(model, items, task)
    if opened and (drawn := task.drawn()):
        raise type(meaning)(
            f"ONNX Runtime cannot run {model.path.name} for a reference: {refusal}{drawn}",
            RANGE_FIX,
        )
    try:
        run = telling(by_evaluator(model.path, names), say)
        outputs, told = _reference_answers(model, run, *_within_time(run, items), say)
    except Exception as error:  # noqa: BLE001 - operators of the evaluator raise anything
        if not isinstance(meaning, UnsupportedError):
            raise meaning from None
        note = quality_words.nobody_answers(runtime=refusal, evaluator=_first_line(error))
        return [], Reference(parity=unmeasured(model.path), note=note)
    note = quality_words.evaluator_answers(refusal=refusal)
    parity = msgspec.structs.replace(told.parity, evaluated=True)
    return outputs, msgspec.structs.replace(told, parity=parity, note=note)


def _reference_answers(
    model: _Model,
    run: Run,
    items: list[Feeds],
    outputs: list[Outputs],
    say: Callable[[], object],
) -> tuple[list[Outputs], Reference]:
    from edgebench.preparation.parity_tolerance import is_constant, parity_of

    parity = parity_of(model.path, run, items, outputs, say)
    return outputs, Reference(constant=is_constant(run, items, outputs), parity=parity)


def _within_time(run: Run, items: list[Feeds]) -> tuple[list[Feeds], list[Outputs]]:
    """Returns as many items as there is time for, at least two, with their outputs."""
    outputs: list[Outputs] = []
    end = time.monotonic() + MAX_EVALUATOR_S
    for feeds in items:
        outputs.append(run(feeds))
        if len(outputs) > 1 and time.monotonic() > end:
            break
    return items[: len(outputs)], outputs


def _first_items(task: Task, model: _Model) -> list[Feeds]:
    """Raises EdgebenchError where the task has none."""
    if not len(task):
        raise EdgebenchError(f"the task {type(task).__name__} has no items")
    size = sum(prod(n or 1 for n in info.shape or ()) for info in model.inputs)
    if size > MAX_ITEM_ELEMENTS:
        raise UnsupportedError(
            f"one item of the model's inputs has {size} numbers: more than {MAX_ITEM_ELEMENTS} are not fed",
            "give smaller sizes with --shape, or check the file",
        )
    return [dict(task.preprocess(task.raw(n))) for n in range(min(REFERENCE_ITEMS, len(task)))]


def _check_fit(model: _Model, items: list[Feeds], task: Task) -> None:
    inputs: dict[str, tuple[str, tuple[int | None, ...] | None]]
    inputs = {name: (array.dtype.name, array.shape) for name, array in items[0].items()}
    taken = {info.name: (info.dtype, info.shape) for info in model.inputs}
    if inputs != taken:
        raise EdgebenchError(
            f"the task {type(task).__name__} gives {_named(inputs)}; the model takes {_named(taken)}"
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:MAX_WORDS_CHARS]


def _named(tensors: Mapping[str, tuple[str, tuple[int | None, ...] | None]]) -> str:
    return ", ".join(
        f"{name} {dtype}{'' if shape is None else list(shape)}"
        for name, (dtype, shape) in tensors.items()
    )


def _task(job: PrepareJob, single: _Model, draw: int = 0) -> Task:
    from edgebench.task import TaskContext
    from edgebench.tasks import load_task

    context = TaskContext(
        data={name: Path(path) for name, path in job.data.items()},
        options=job.options,
        model=single.path,
        model_asset=Path(job.source),
        inputs=single.inputs,
        input_ranges=single.input_ranges,
        seed=job.seed,
        draw=draw,
    )
    return load_task(job.task, context, job.metrics)


def _task_identity(job: PrepareJob) -> dict[str, Any]:
    """Returns what decides the task's inputs: its code, options, data, seed and the asset it may read."""
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
    """Hashes all sources that make models, inputs and what is noted of them: simpler than following imports, and safe."""
    package = Path(__file__).parents[1]
    patterns = ("models/**/*.py", "preparation/*.py", "tasks/*.py", "words/quality_words.py")
    files = sorted(path for pattern in patterns for path in package.glob(pattern))
    return hashlib.sha256("".join(file_sha256(file) for file in files).encode()).hexdigest()


def _runtime_version() -> str:
    version = installed_version("onnxruntime")
    if version is None:  # another distribution of the same module
        import onnxruntime

        return str(onnxruntime.__version__)
    return version


def _facts(path: Path, build_s: float | None) -> Made:
    from edgebench.models import onnx_file
    from edgebench.models.input_ranges import input_ranges

    files = [path, *_weights_beside(path)]
    hashes = [file_sha256(file) for file in files]
    model = onnx_file.load_model(path, weights=False)
    inputs, outputs = onnx_file.describe(model)
    return Made(
        facts=msgspec.to_builtins(
            {
                "sha256": _joint_sha256(files, hashes),
                "size_bytes": sum(file.stat().st_size for file in files),
                "build_s": build_s,
                "inputs": inputs,
                "outputs": outputs,
                "input_ranges": input_ranges(model),
            }
        )
    )


def _joint_sha256(files: list[Path], hashes: list[str]) -> str:
    """Returns the hash of all files; for a model in one file, the hash of that file."""
    if len(files) == 1:
        return hashes[0]
    listing = "".join(f"{h}  {f.name}\n" for h, f in zip(hashes, files, strict=True))
    return hashlib.sha256(listing.encode()).hexdigest()


def _weights_beside(path: Path) -> list[Path]:
    from edgebench.models import onnx_file

    return onnx_file.external_files(path)


def _entry(
    store: Cache, step: str, make: Callable[[Path], Made], **made_from: Any
) -> tuple[Path, dict[str, Any]]:
    """The entry of a step, made unless it is there from the same things by the same code and libraries."""
    return store.get({"step": step, **made_from, **_made_by()}, make)


def _model(store: Cache, step: str, make: Callable[[Path], Made], **made_from: Any) -> _Model:
    """The model of a step: in its entry, or where the entry says."""
    folder, facts = _entry(store, step, make, **made_from)
    placed = {"path": str(folder / _MODEL), **facts}
    return msgspec.convert(placed, _Model, dec_hook=lambda kind, text: kind(text))


def main() -> int:
    answer = run_job(PrepareJob, prepare, why_failed)
    return 1 if isinstance(answer, PrepareFailure) else 0


if __name__ == "__main__":
    leave(main())
