"""The parent's side of getting a cell's model file ready: build, freeze, quantise, convert.

The work is done in processes of its own, so that neither the parent nor a worker carries it.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from edgebench import registry
from edgebench.backend import ModelFile, Scalar
from edgebench.measure import convert
from edgebench.models.jobs import PreparedModel, PrepareFailure, PrepareJob, decode_answer
from edgebench.plan import Native
from edgebench.record import ModelFacts, Reason, Status

#: Building and quantising take seconds; a converter that is silent for longer hangs.
TIME_OUT_S = 1800.0


@dataclass(frozen=True)
class Ready:
    """A model file that a backend can open, and where it came from."""

    prepared: PreparedModel
    model: ModelFile
    facts: ModelFacts


@dataclass(frozen=True)
class NotReady:
    """Why a cell has no model."""

    status: Status
    reason: Reason


class Preparer:
    """Prepares models, each once."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._made: dict[bytes, PreparedModel | NotReady] = {}

    def _prepared(self, job: PrepareJob) -> PreparedModel | NotReady:
        key = msgspec.json.encode(job)
        if key not in self._made:
            self._made[key] = _prepare(job)
        return self._made[key]

    def ready(
        self, job: PrepareJob, name: str, uri: str, backend: str, options: dict[str, Scalar]
    ) -> Ready | NotReady:
        """The model of `job`, converted for `backend` with `options` where that needs it."""
        prepared = self._prepared(job)
        if isinstance(prepared, NotReady):
            return prepared
        model = ModelFile(
            Path(prepared.path),
            prepared.format,
            prepared.sha256,
            prepared.precision,
            prepared.batch,
            inputs=tuple(info.name for info in prepared.inputs),
            outputs=tuple(info.name for info in prepared.outputs),
        )
        size_bytes, build_s = prepared.size_bytes, prepared.build_s
        if registry.load(backend).converts(model, options):
            # Below the source's folder, so that pruning finds what was derived from it.
            folder = self._cache / "models" / job.source_sha256[:16] / "converted"
            converted = _convert(model, backend, options, folder)
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
            build_s=build_s,
            work=prepared.work,
        )
        return Ready(prepared, model, facts)

    def ready_native(
        self, job: PrepareJob, name: str, native: Native, path: Path
    ) -> Ready | NotReady:
        """The workload's own file in the backend's format; `job` still makes the reference."""
        prepared = self._prepared(job)
        if isinstance(prepared, NotReady):
            return prepared
        made = native.model
        model = ModelFile(
            path,
            native.format,
            made.sha256,
            prepared.precision,
            prepared.batch,
            {**made.inputs, **made.outputs},
            inputs=tuple(info.name for info in prepared.inputs),
            outputs=tuple(info.name for info in prepared.outputs),
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


def _convert(
    model: ModelFile, backend: str, options: dict[str, Scalar], folder: Path
) -> convert.Converted | NotReady:
    job = convert.ConvertJob(
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
    answer = _ask("edgebench.measure.convert", msgspec.json.encode(job))
    if isinstance(answer, NotReady):
        return answer
    try:
        converted: convert.Answer = convert.decode_answer(answer)
    except msgspec.MsgspecError:
        return _failed("conversion", "the converter gave no answer")
    if isinstance(converted, convert.ConvertFailure):
        return NotReady(
            converted.kind,
            Reason(code="conversion", message=converted.error, fix=converted.fix),
        )
    return converted


def _prepare(job: PrepareJob) -> PreparedModel | NotReady:
    answer = _ask("edgebench.models.prepare", msgspec.json.encode(job))
    if isinstance(answer, NotReady):
        return answer
    try:
        prepared = decode_answer(answer)
    except msgspec.MsgspecError:
        return _failed("preparation", "the preparation gave no answer")
    if isinstance(prepared, PrepareFailure):
        reason = Reason(code="preparation", message=prepared.error, fix=prepared.fix)
        return NotReady(prepared.kind, reason)
    return prepared


def _ask(module: str, job: bytes) -> bytes | NotReady:
    """What `python -m module` answers to `job`; its death or silence is a reason."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", module],
            input=job,
            capture_output=True,
            timeout=TIME_OUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _failed("preparation", f"no model after {TIME_OUT_S:g} s")
    if done.stdout.strip():
        return done.stdout.strip().splitlines()[-1]
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    why = lines[-1] if lines else "it printed nothing"
    return _failed("preparation", f"{module} ended with code {done.returncode}: {why}")


def _failed(code: str, message: str) -> NotReady:
    return NotReady("failed", Reason(code=code, message=message))
