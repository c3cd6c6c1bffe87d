"""Tells kinds of requests apart beyond their lengths: speculation, and turns of a conversation that are kept or read anew."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgebench.backend import Backend, ModelFile, Scalar
from edgebench.errors import UnsupportedError
from edgebench.generation import Drafting, GenerationSession, Prompts, Room, check_room
from edgebench.measure.replicate.kept_prefix import KeptPrefix, common_length
from edgebench.measure.replicate.speculation import (
    ModelDraft,
    PromptLookup,
    RuntimeSpeculation,
    Speculating,
    Speculative,
)
from edgebench.measure.worker_messages import DraftFile, GenerateJob
from edgebench.models.llm.gguf_file import trained_positions
from edgebench.models.llm.tokenizer import vocabulary_of
from edgebench.probes import process_memory
from edgebench.record import PlainDecoding, Request

_FIX = "draft=FILE of the same family, or draft=self:w8"


class Turn(list[Sequence[int]]):
    """The prompts of a turn of a conversation, whose number it knows: 1 begins one."""

    def __init__(self, prompts: Prompts, number: int) -> None:
        super().__init__(prompts)
        self.number = number


@dataclass(frozen=True)
class Opened:
    """A session that answers requests as they were asked for, and what a draft's decoder added to the process."""

    session: GenerationSession
    draft_bytes: int | None = None


def check_files(room: Room, asked: GenerateJob, asset: Path) -> None:
    """Whether the decoder, whose tokens `asset` has, and what drafts for it can answer such requests, as far as files
    tell: read before the load, which is timed. Raises UnsupportedError."""
    _check_length(room, asked, asset)
    if asked.draft is not None and asked.draft.tokens:
        draft = Path(asked.draft.tokens)
        _check_draft_length(room, draft)
        _check_tokens(draft, asset)


def opened(
    backend: Backend,
    model: ModelFile,
    options: Mapping[str, Scalar],
    room: Room,
    asked: GenerateJob,
) -> Opened:
    """The decoder, with what drafts for it or keeps its turns. Raises UnsupportedError."""
    if _by_the_runtime(backend, asked):
        return Opened(_runtime_speculation(backend, model, options, room, asked))
    session = backend.open_generation(model, options, room)
    if asked.reuse:
        return Opened(KeptPrefix(session))
    if asked.lookup:
        return Opened(Speculative(session, PromptLookup(asked.lookup), asked.draft_tokens))
    if asked.draft is None:
        return Opened(session)
    before = process_memory.uss_bytes()
    drafting = backend.open_generation(_file_of(asked.draft), options, room)
    after = process_memory.uss_bytes()
    _check_vocabulary(drafting, session)
    drafter = ModelDraft(drafting, asked.draft_confidence)
    added = None if before is None or after is None else max(0, after - before)
    return Opened(Speculative(session, drafter, asked.draft_tokens), added)


def _check_length(room: Room, asked: GenerateJob, asset: Path) -> None:
    """The model was trained for requests of such a length, whether its runtime cares or not. Raises UnsupportedError."""
    trained = trained_positions(asset)
    if trained is None:
        return
    try:
        check_room(room, trained)
    except UnsupportedError as error:
        if not asked.turns:
            raise
        why = (
            f"turn {asked.turns} of a conversation ends at {room.positions} tokens: {error.message}"
        )
        raise UnsupportedError(why, f"fewer turns than {asked.turns}, or {error.fix}") from error


def _check_draft_length(room: Room, draft: Path) -> None:
    trained = trained_positions(draft)
    if trained is not None and room.positions > trained:
        raise UnsupportedError(
            f"{room.positions} positions are more than the {trained} of the draft",
            "ask for shorter prompts or fewer new tokens, or for another draft",
        )


def _by_the_runtime(backend: Backend, asked: GenerateJob) -> bool:
    """Whether what is asked for is what the runtime does by its own means; a decoder that forgets tokens is drafted
    for by edgebench."""
    can = backend.generation
    kind = "lookup" if asked.lookup else "draft" if asked.draft else ""
    return can is not None and not can.rewinds and kind in can.speculates


def _runtime_speculation(
    backend: Backend,
    model: ModelFile,
    options: Mapping[str, Scalar],
    room: Room,
    asked: GenerateJob,
) -> RuntimeSpeculation:
    draft = _file_of(asked.draft) if asked.draft else None
    drafting = Drafting(asked.draft_tokens, asked.lookup, draft)
    own = backend.open_speculation(model, options, room, drafting)
    return RuntimeSpeculation(own, lambda: backend.open_generation(model, options, room), room)


def _file_of(draft: DraftFile) -> ModelFile:
    return ModelFile(Path(draft.path), draft.format, draft.sha256, draft.precision, 1)


def _check_vocabulary(drafting: GenerationSession, session: GenerationSession) -> None:
    """A number means the same token to both. Raises UnsupportedError."""
    if drafting.vocabulary != session.vocabulary:
        raise UnsupportedError(
            f"the draft has another vocabulary: {drafting.vocabulary} tokens, the decoder {session.vocabulary}",
            _FIX,
        )


def _check_tokens(draft: Path, asset: Path) -> None:
    ours, others = vocabulary_of(asset).tokens(), vocabulary_of(draft).tokens()
    if len(ours) != len(others):
        raise UnsupportedError(
            f"the draft has another vocabulary: {len(others)} tokens, the decoder {len(ours)}", _FIX
        )
    if ours != others:
        raise UnsupportedError("the draft has another vocabulary: other tokens, as many", _FIX)


def before(session: GenerationSession, prompts: Prompts) -> None:
    """Ahead of a request, outside of its time: only a later turn finds what was read before it."""
    if isinstance(session, KeptPrefix) and getattr(prompts, "number", 1) == 1:
        session.reset()


def with_session_facts(session: GenerationSession, prompts: Prompts, request: Request) -> Request:
    """The request with what its session knows of it."""
    if isinstance(session, Speculating):
        return msgspec.structs.replace(request, speculated=session.last)
    if not isinstance(prompts, Turn):
        return request
    return msgspec.structs.replace(
        request,
        turn=prompts.number,
        kept_tokens=session.kept if isinstance(session, KeptPrefix) else 0,
        kv_used_bytes=session.kv_used_bytes(),
    )


def compare_with_plain(
    session: GenerationSession, pool: Sequence[Prompts], new_tokens: int, ends: Collection[int]
) -> PlainDecoding | None:
    """The prompts answered as they were asked for and plainly, in turns; None where that is the same."""
    if isinstance(session, Speculating):
        return _speculation_compared(session, pool, new_tokens, ends)
    if isinstance(session, KeptPrefix):
        return _turns_compared(session, pool, new_tokens, ends)
    return None


def _speculation_compared(
    session: Speculating, pool: Sequence[Prompts], new_tokens: int, ends: Collection[int]
) -> PlainDecoding:
    from edgebench.measure.replicate.generation_loops import timed_request

    times: dict[bool, list[int]] = {False: [], True: []}
    differs = None
    list(session.plain.stream(pool[0], most=2))  # it may have been opened a moment ago
    for number, prompts in enumerate(pool):
        answers = {}
        for drafts in (True, False) if number % 2 else (False, True):
            asked = session if drafts else session.plain
            request, answers[drafts] = timed_request(asked, prompts, new_tokens, ends=ends)
            times[drafts].append(request.token_ns[-1] - request.token_ns[0])
        differs = differs or _difference(session.plain, prompts, answers[False], answers[True])
    return _plain_decoding(times[False], times[True], differs)


def _turns_compared(
    session: KeptPrefix, pool: Sequence[Prompts], new_tokens: int, ends: Collection[int]
) -> PlainDecoding:
    """A conversation with its turns kept, and then each turn by itself."""
    from edgebench.measure.replicate.generation_loops import timed_request

    kept = []
    for prompts in pool:
        before(session, prompts)
        kept.append(timed_request(session, prompts, new_tokens, ends=ends))
    anew = [timed_request(session.plain, prompts, new_tokens, ends=ends) for prompts in pool]
    differs = None
    for prompts, (_, plain), (_, other) in zip(pool, anew, kept, strict=True):
        differs = differs or _difference(session.plain, prompts, plain, other)
    session.reset()
    plain_ns, kept_ns = ([request.token_ns[0] for request, _ in some] for some in (anew, kept))
    return _plain_decoding(plain_ns, kept_ns, differs)


def _plain_decoding(
    plain_ns: list[int], ours_ns: list[int], differs: tuple[int, float | None] | None
) -> PlainDecoding:
    place, by = differs or (None, None)
    return PlainDecoding(plain_ns=plain_ns, speculated_ns=ours_ns, differs_at=place, differs_by=by)


def _difference(
    session: GenerationSession,
    prompts: Prompts,
    plain: Sequence[Sequence[int]],
    other: Sequence[Sequence[int]],
) -> tuple[int, float | None] | None:
    """Place of the first token that is another one, and how far the logits of both lie apart there; None: the
    answers are equal."""
    if plain == other:
        return None
    said, others = ([token for [token] in answer] for answer in (plain, other))
    place = common_length(said, others)
    if place >= min(len(said), len(others)):
        return place, None
    row = session.logits(session.prefill([prompts[0]]))[0]
    for token in said[:place]:
        row = session.logits(session.step([token]))[0]
    return place, float(row[said[place]] - row[others[place]])
