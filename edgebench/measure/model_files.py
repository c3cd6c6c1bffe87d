"""Prepares the model file of a cell: builds, freezes, quantises and converts it.

The work is done in processes of its own, so that neither the parent nor a worker carries it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import msgspec

from edgebench import registry
from edgebench.backend import ModelFile, Scalar
from edgebench.measure import convert_model
from edgebench.planning.cells import Native
from edgebench.preparation.preparation_messages import (
    PreparedModel,
    PrepareFailure,
    PrepareJob,
    as_users_file,
    decode_answer,
)
from edgebench.processes.child import OUT_OF_TIME
from edgebench.record import ModelFacts, Reason, Status
from edgebench.words.reason_words import reason

#: A conversion is one silent step, of another's code: an engine of TensorRT takes minutes to build.
CONVERSION_TIMEOUT_FACTOR = 10.0


class Ask(Protocol):
    """Asks a child for something, in `share` of the time there is; `patience` multiplies the silence that
    counts as a hang."""

    def __call__(
        self, module: str, job: bytes, *, patience: float = 1.0, share: float = 1.0
    ) -> bytes | Reason: ...


#: Of a cell's turn, for its model with the reference; then it is made without, so that something is measured.
REFERENCE_SHARE = 0.5


@dataclass(frozen=True)
class Ready:
    """A model file that a backend can open, and how it was made."""

    prepared: PreparedModel
    model: ModelFile
    facts: ModelFacts


@dataclass(frozen=True)
class NotReady:
    status: Status
    reason: Reason


NO_TIME = NotReady("failed", reason("out_of_time.before"))


class Preparer:
    """Prepares each model once. A preparation that the budget ended may be tried again."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._made: dict[bytes, PreparedModel | NotReady] = {}
        self._slow: set[tuple[str, str]] = set()  # whose reference a budget has no time for

    def _prepared(self, job: PrepareJob, ask: Ask) -> PreparedModel | NotReady:
        """The model and, where there is time for it, the reference."""
        key = msgspec.json.encode(job)
        if key in self._made:
            return self._made[key]
        task = job.task, job.source_sha256
        answer = NO_TIME if task in self._slow else _prepare(job, ask, share=REFERENCE_SHARE)
        if _out_of_time(answer):
            self._slow.add(task)
            answer = _prepare(msgspec.structs.replace(job, without_reference=True), ask)
        if not _out_of_time(answer):
            self._made[key] = answer
        return answer

    def ready(
        self,
        job: PrepareJob,
        name: str,
        uri: str,
        backend: str,
        options: dict[str, Scalar],
        ask: Ask,
    ) -> Ready | NotReady:
        """The model of `job`, converted for `backend` with `options` where that needs it."""
        prepared = self._prepared(job, ask)
        if isinstance(prepared, NotReady):
            return prepared
        model = _model_file(prepared)
        size_bytes, build_s = prepared.size_bytes, prepared.build_s
        if registry.load(backend).converts(model, options):
            # Below the source's folder, so that pruning finds what was derived from it.
            folder = self._cache / "models" / job.source_sha256[:16] / "converted"
            converted = _convert(model, backend, options, folder, ask)
            if isinstance(converted, NotReady):
                return converted
            model = replace(
                model,
                path=Path(converted.path),
                format=converted.format,
                sha256=converted.sha256,
            )
            size_bytes = converted.size_bytes
            seconds = converted.seconds
            build_s = None if seconds is None else (build_s or 0.0) + seconds
        facts = ModelFacts(
            name=name,
            sha256=model.sha256,
            size_bytes=size_bytes,
            source=uri,
            source_sha256=job.source_sha256,
            precision=prepared.precision,
            recipe=prepared.recipe,
            build_s=build_s,
            work=prepared.work,
        )
        return Ready(prepared, model, facts)

    def ready_native(
        self, job: PrepareJob, name: str, native: Native, path: Path, ask: Ask
    ) -> Ready | NotReady:
        """The workload's own file in the backend's format; `job` still makes the reference."""
        prepared = self._prepared(job, ask)
        if isinstance(prepared, NotReady):
            return prepared
        made = native.model
        model = replace(
            _model_file(prepared),
            path=path,
            format=native.format,
            sha256=made.sha256,
            names={**made.inputs, **made.outputs},
        )
        facts = ModelFacts(
            name=name,
            sha256=made.sha256,
            size_bytes=path.stat().st_size,
            source=made.uri,
            source_sha256=made.sha256,
            precision=prepared.precision,
        )
        return Ready(prepared, model, facts)


def _model_file(prepared: PreparedModel) -> ModelFile:
    return ModelFile(
        Path(prepared.path),
        prepared.format,
        prepared.sha256,
        prepared.precision,
        prepared.batch,
        inputs=tuple(info.name for info in prepared.inputs),
        outputs=tuple(info.name for info in prepared.outputs),
    )


def _convert(
    model: ModelFile, backend: str, options: dict[str, Scalar], folder: Path, ask: Ask
) -> convert_model.Converted | NotReady:
    job = convert_model.ConvertJob(
        backend=backend,
        options=options,
        path=str(model.path),
        format=model.format,
        sha256=model.sha256,
        precision=model.precision,
        batch=model.batch,
        inputs=list(model.inputs),
        outputs=list(model.outputs),
        cache=str(folder),
    )
    answer = ask(
        "edgebench.measure.convert_model",
        msgspec.json.encode(job),
        patience=CONVERSION_TIMEOUT_FACTOR,
    )
    if isinstance(answer, Reason):
        return NotReady("failed", answer)
    try:
        converted = convert_model.decode_answer(answer)
    except (msgspec.MsgspecError, RecursionError):
        return NotReady("failed", reason("conversion"))
    if isinstance(converted, PrepareFailure):
        why = Reason(code="conversion", message=converted.error, fix=converted.fix)
        return NotReady(converted.kind, why)
    return converted


def _out_of_time(answer: PreparedModel | NotReady) -> bool:
    return isinstance(answer, NotReady) and answer.reason.code == OUT_OF_TIME


def _prepare(job: PrepareJob, ask: Ask, share: float = 1.0) -> PreparedModel | NotReady:
    answer = ask("edgebench.preparation.prepare", msgspec.json.encode(job), share=share)
    if isinstance(answer, Reason):
        return NotReady("failed", answer)
    try:
        prepared = decode_answer(answer)
    except (msgspec.MsgspecError, RecursionError):
        return NotReady("failed", reason("preparation"))
    if isinstance(prepared, PrepareFailure):
        message = as_users_file(prepared.error, job.source)
        why = Reason(code="preparation", message=message, fix=prepared.fix)
        return NotReady(prepared.kind, why)
    return prepared
