"""The axes of a request of text generation: its lengths and content, speculation, conversations. What of them makes no
sense together is refused before anything runs; what one runtime cannot do is a reason of its row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from edgebench.backend import Capabilities, Scalar
from edgebench.errors import UsageError
from edgebench.models.file_kind import format_of
from edgebench.record import Reason
from edgebench.text.did_you_mean import did_you_mean
from edgebench.words.reason_words import reason

#: What is said of every request, and what it is where nothing is said. Its `batch` is the number of sequences
#: side by side.
REQUEST_AXES: dict[str, int] = {"prompt_tokens": 128, "new_tokens": 32}
#: What kind of text an answer will be: how much a draft can guess depends on it.
CONTENT = "content"
CONTENTS = ("repeat", "edit", "chat")
#: Speculation: how far back a look-up compares (0: plain decoding), the decoder that drafts ("none": plain
#: decoding), how many tokens are drafted at most, and how sure that decoder must be of each.
LOOKUP, DRAFT, DRAFT_TOKENS, DRAFT_CONFIDENCE = (
    "lookup",
    "draft",
    "draft_tokens",
    "draft_confidence",
)
DEFAULT_DRAFT_TOKENS = 4
NO_DRAFT = "none"
OF_ITSELF = "self:"  # before a precision: the row's own file
#: Conversations: how many turns one has, and whether what was read of it is kept from turn to turn.
TURNS, REUSE = "turns", "reuse"
_DECODER_FILES = ("gguf", "onnx")
_DRAFT_FIX = "draft=FILE.gguf, or draft=self:w8 for the row's own file at another precision"
#: Axes that have no value unless they are asked for.
ASKED_AXES = (CONTENT, LOOKUP, DRAFT, DRAFT_TOKENS, DRAFT_CONFIDENCE, TURNS, REUSE)
OF_REQUESTS = (*REQUEST_AXES, *ASKED_AXES)
#: Axes that mean something beside one of others alone.
_NEEDS = {
    DRAFT_TOKENS: (LOOKUP, DRAFT),
    DRAFT_CONFIDENCE: (DRAFT,),
    REUSE: (TURNS,),
}
#: Axes that exclude each other, and why.
_APART = (
    (LOOKUP, DRAFT, "a draft is looked up or made by a decoder"),
    (TURNS, LOOKUP, "the turns of a conversation are decoded plainly"),
    (TURNS, DRAFT, "the turns of a conversation are decoded plainly"),
    (TURNS, CONTENT, "a conversation has a content of its own"),
)


def check_axis(axis: str, values: Sequence[Scalar]) -> None:
    """Raises UsageError for a value that no request can have."""
    if axis == CONTENT:
        _check_contents(values)
    elif axis == REUSE:
        _check_each(axis, values, "true or false", lambda value: isinstance(value, bool))
    elif axis == DRAFT:
        _check_drafts(values)
    elif axis == DRAFT_CONFIDENCE:
        _check_each(axis, values, "a number from 0 to below 1", _is_share)
    else:
        check_counts(axis, values, least=0 if axis == LOOKUP else 1)


def check_counts(axis: str, values: Sequence[Scalar], least: int = 1) -> None:
    """Raises UsageError for what is no whole number of `least` or more."""
    wanted = f"a whole number of {least} or more"
    _check_each(axis, values, wanted, lambda value: type(value) is int and value >= least)


def check_together(variant: Mapping[str, Scalar]) -> None:
    """Raises UsageError for axes of one request that make no sense together."""
    for axis, needed in _NEEDS.items():
        if axis in variant and not any(other in variant for other in needed):
            raise UsageError(
                f"{axis} has no effect without {' or '.join(needed)}",
                f"add --set {needed[0]}=..., or leave {axis} out",
            )
    for one, other, why in _APART:
        if one in variant and other in variant:
            raise UsageError(
                f"{one} and {other} are not for one row: {why}", "leave one of them out"
            )


def speculates(variant: Mapping[str, Scalar]) -> bool:
    return bool(variant.get(LOOKUP)) or variant.get(DRAFT, NO_DRAFT) != NO_DRAFT


def request_reasons(
    backend: str, can: Capabilities, variant: Mapping[str, Scalar], temperature: Scalar, able: str
) -> Iterator[Reason]:
    """Why a runtime cannot answer such requests; `able` says which ones can."""
    drafts, keeps = speculates(variant), bool(variant.get(REUSE, False))
    kind = LOOKUP if variant.get(LOOKUP) else DRAFT
    if keeps and not can.rewinds:
        yield reason("unsupported_request.keep", backend=backend, able=able)
    if drafts and not can.rewinds and kind not in can.speculates:
        yield reason("unsupported_request.draft", backend=backend, kind=kind, able=able)
    elif variant.get(DRAFT_CONFIDENCE) and not can.rewinds:
        key = "unsupported_request.draft_confidence"
        yield reason(key, backend=backend, axis=DRAFT_CONFIDENCE, able=able)
    if (drafts or TURNS in variant) and variant["batch"] != 1:
        key = "unsupported_request.batch_of_" + ("drafts" if drafts else "turns")
        yield reason(key, batch=variant["batch"])
    draft = str(variant.get(DRAFT, NO_DRAFT))
    own = draft.removeprefix(OF_ITSELF)
    if own != draft and own not in can.precisions:
        hint = did_you_mean(own, can.precisions)
        yield reason("unsupported_precision", backend=backend, precision=own, hint=hint)
    if drafts and temperature:
        yield reason("unsupported_request.temperature", temperature=temperature)


def _check_contents(values: Sequence[Scalar]) -> None:
    for value in values:
        if value not in CONTENTS:
            hint = did_you_mean(str(value), CONTENTS)
            raise UsageError(f"no content {value!r}{hint}", f"one of {', '.join(CONTENTS)}")


def _check_each(
    axis: str, values: Sequence[Scalar], wanted: str, fits: Callable[[Scalar], bool]
) -> None:
    for value in values:
        if not fits(value):
            raise UsageError(f"{axis} must be {wanted}, got {value!r}")


def _check_drafts(values: Sequence[Scalar]) -> None:
    for value in values:
        text = str(value)
        if text == NO_DRAFT or text.removeprefix(OF_ITSELF) not in ("", text):
            continue
        if text == OF_ITSELF or not Path(text).is_file():
            raise UsageError(f"draft={text}: there is no such file", _DRAFT_FIX)
        if format_of(text) not in _DECODER_FILES:
            raise UsageError(f"draft={text} is no file of a decoder", _DRAFT_FIX)


def _is_share(value: Scalar) -> bool:
    return type(value) in (int, float) and 0 <= value < 1  # type: ignore[operator]
