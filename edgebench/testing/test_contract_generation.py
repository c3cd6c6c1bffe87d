"""The contract of a backend that generates text, for those that say so (`Backend.generation`).

Runs with the rest of the kit: `pytest --pyargs edgebench.testing --backend NAME`. The decoders are small
GGUF files with random weights, the right answers come from numpy. docs/contract.md lists the demands.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgebench import registry
from edgebench.backend import Backend, Capabilities, Effective, ModelFile
from edgebench.errors import UnsupportedError
from edgebench.generation import GenerationSession, Room
from edgebench.testing.option_values import good_values
from edgebench.testing.test_contract import (
    assert_declared_well,
    backend_named,
    ready,
    relative_error,
    reported,
)

if TYPE_CHECKING:
    from edgebench.backend import Scalar

PROMPT = (5, 44, 101, 7, 260, 19, 77, 132, 9, 12, 200, 31)
OTHER = (9, 9, 31, 250, 61, 18, 3, 155, 90, 111, 42, 8)
ROOM = Room(width=1, positions=48)
#: Largest ||logits - reference|| / ||reference||, by precision asked for. The runtime may quantise what
#: it multiplies with; a wrong answer is off by 1.
_TOLERANCE = {"fp32": 3e-3, "fp16": 3e-2, "bf16": 1e-1}
_COARSE = 0.4
#: A prompt of two tokens and a long one: time must grow by this factor with one of the long ones. The
#: longest keeps a device busy that needs longer to start its work than for 384 tokens.
_GROWTH = 2.0
_LONG_PROMPTS = (384, 1536, 1536)
#: A token more needs 8 MFLOP: nothing on the edge does them in this time.
_MIN_TOKEN_NS = 25

Open = Callable[..., GenerationSession]


@pytest.fixture(scope="module")
def backend(request: pytest.FixtureRequest) -> Backend:
    loaded = registry.load(backend_named(request))
    if loaded.generation is None:
        pytest.skip(f"{loaded.name} generates no text")
    return loaded


@pytest.fixture(scope="module")
def declared(backend: Backend) -> Capabilities:
    assert backend.generation is not None
    return backend.generation


@pytest.fixture(scope="module")
def runtime(backend: Backend) -> Iterator[Backend]:
    """The backend with its runtime imported."""
    state = ready(backend)
    if state.runs_only:
        pytest.skip(f"{backend.name} converts no models here: {state.note}")
    pytest.importorskip("gguf", reason="the kit's decoders are GGUF files: edgebench[llm]")
    backend.import_runtime()
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the decoders and what is converted of them are kept from test to test."""
    return tmp_path_factory.mktemp("decoders")


@pytest.fixture(scope="module")
def model(runtime: Backend, folder: Path) -> ModelFile:
    from edgebench.testing.decoders import write_decoder

    written = write_decoder(folder / "tiny.gguf")
    return replace(written, precision=_first_precision(runtime))


@pytest.fixture
def open_(runtime: Backend, model: ModelFile, folder: Path) -> Iterator[Open]:
    """Opens a decoder the way edgebench does: convert, then open."""
    sessions: list[GenerationSession] = []

    def opener(
        options: Mapping[str, Scalar] | None = None, room: Room = ROOM, of: ModelFile = model
    ) -> GenerationSession:
        try:
            session = _open(runtime, of, options or {}, room, folder / "converted")
        except UnsupportedError as error:
            if room.width == 1:
                raise
            pytest.skip(f"one sequence only: {error.message}")
        sessions.append(session)
        return session

    yield opener
    for session in sessions:
        session.close()


# --- what the class says ------------------------------------------------------------------------


def test_generation_is_declared_as_data(backend: Backend, declared: Capabilities) -> None:
    """What a backend can do with decoders is on the class, with options declared as for others."""
    assert type(backend).generation is declared
    assert declared.formats
    assert declared.precisions
    assert_declared_well(declared.options, ("precision", "batch", "prompt_tokens", "new_tokens"))


# --- what a session answers ---------------------------------------------------------------------


def test_a_decoder_says_its_size(open_: Open) -> None:
    """A session has the vocabulary of the model and the room it was opened with."""
    session = open_(room=Room(width=2, positions=40))
    assert session.vocabulary == session.logits(session.prefill([PROMPT, OTHER])).shape[-1]
    assert (session.width, session.positions) == (2, 40)


def test_logits_are_those_of_the_model(open_: Open, model: ModelFile) -> None:
    """Logits after a prompt, and after each of several steps, equal a reference in numpy."""
    session, expected = open_(), _reference(model)
    logits = [session.logits(session.prefill([PROMPT]))]
    logits += [session.logits(session.step([token])) for token in OTHER]
    want = expected.feed([*PROMPT, *OTHER])[len(PROMPT) - 1 :]
    _assert_right(model, np.concatenate(logits), want)


def test_logits_are_near_in_every_precision(
    open_: Open, model: ModelFile, declared: Capabilities
) -> None:
    """In each declared precision that is not refused, logits are near those of the reference."""
    want = _reference(model).feed([*PROMPT, *OTHER[:3]])[len(PROMPT) - 1 :]
    for precision in declared.precisions:
        asked = replace(model, precision=precision)
        try:
            session = open_(of=asked)
        except UnsupportedError:
            continue
        logits = [session.logits(session.prefill([PROMPT]))]
        logits += [session.logits(session.step([token])) for token in OTHER[:3]]
        _assert_right(asked, np.concatenate(logits), want)


def test_logits_have_their_form(open_: Open) -> None:
    """Logits are float32, one row for each sequence, and stay as they are after later steps."""
    session = open_(room=Room(width=2, positions=48))
    raw = session.prefill([PROMPT, OTHER])
    kept = session.logits(raw)
    copy = kept.copy()
    assert kept.dtype == np.float32
    assert kept.shape == (2, session.vocabulary)
    session.step([1, 2])
    session.prefill([OTHER, PROMPT])
    np.testing.assert_array_equal(kept, copy)


def test_greedy_takes_the_most_likely(open_: Open) -> None:
    """Greedy picks the token with the largest logit, for each sequence."""
    session = open_(room=Room(width=2, positions=48))
    raw = session.prefill([PROMPT, OTHER])
    assert session.greedy(raw) == [int(token) for token in session.logits(raw).argmax(-1)]


def test_steps_equal_a_longer_prompt(open_: Open) -> None:
    """A prompt at once, and its beginning with its end step by step, give the same logits."""
    session = open_()
    whole = session.logits(session.prefill([PROMPT + OTHER]))
    raw = session.prefill([PROMPT])
    for token in OTHER:
        raw = session.step([token])
    assert relative_error(session.logits(raw), whole) < _SAME_WAYS


def test_sequences_do_not_disturb_each_other(open_: Open) -> None:
    """Side by side, each sequence gets the logits it gets alone."""
    alone, both = open_(), open_(room=Room(width=2, positions=48))
    side = [both.logits(both.prefill([PROMPT, OTHER])), both.logits(both.step([7, 8]))]
    for row, (prompt, token) in enumerate(((PROMPT, 7), (OTHER, 8))):
        want = [alone.logits(alone.prefill([prompt])), alone.logits(alone.step([token]))]
        for logits, expected in zip(side, want, strict=True):
            assert relative_error(logits[row], expected[0]) < _SAME_WAYS


def test_every_position_is_scored(open_: Open, model: ModelFile) -> None:
    """`score` gives the logits after each token of a text."""
    session = open_()
    scores = session.score(PROMPT)
    assert scores.shape == (len(PROMPT), session.vocabulary)
    _assert_right(model, scores, _reference(model).feed(PROMPT))


def test_tokens_at_once_equal_steps(open_: Open, declared: Capabilities) -> None:
    """A decoder that says it rewinds: several tokens at once give the logits of steps, also after some were forgotten."""
    session = open_()
    if not session.rewinds:
        assert not declared.rewinds, "declared, and of no session of one sequence"
        pytest.skip("its decoders forget no tokens")
    session.prefill([PROMPT])
    want = [session.logits(session.step([token]))[0].copy() for token in OTHER]
    session.prefill([PROMPT])
    found = np.array(session.extend(OTHER[:5]))
    assert relative_error(found, np.stack(want[:5])) < _SAME_WAYS
    session.rewind(3)
    assert relative_error(session.extend(OTHER[2:]), np.stack(want[2:])) < _SAME_WAYS
    session.rewind(4)
    assert relative_error(session.read_on(OTHER[-4:-2])[0], want[-3]) < _SAME_WAYS
    assert relative_error(session.logits(session.step(OTHER[-2:-1]))[0], want[-2]) < _SAME_WAYS


def test_impossible_rewinds_are_refused(open_: Open) -> None:
    """No prompt before, no token, more than the room, more forgotten than there is: ValueError."""
    session = open_(room=Room(width=1, positions=len(PROMPT) + 2))
    if not session.rewinds:
        pytest.skip("its decoders forget no tokens")
    for tokens in ([], [1]):
        with pytest.raises(ValueError, match="token"):
            session.extend(tokens)
    session.prefill([PROMPT])
    with pytest.raises(ValueError, match="positions"):
        session.extend([1, 2, 3])
    for count in (-1, len(PROMPT)):
        with pytest.raises(ValueError, match="forgotten"):
            session.rewind(count)


# --- nothing of one request reaches the next -----------------------------------------------------


def test_the_same_prompt_gets_the_same_logits(open_: Open) -> None:
    """A prompt gets the logits it got before, whatever was asked between."""
    session = open_()
    first = session.logits(session.prefill([PROMPT]))
    for token in (4, 5, 6):
        session.step([token])
    session.prefill([OTHER[:5]])
    session.score(OTHER)
    again = session.logits(session.prefill([PROMPT]))
    assert relative_error(again, first) < 1e-5


def test_reset_forgets(open_: Open) -> None:
    """After `reset` a step has no prompt, and a prompt gets what a fresh session gives."""
    session, fresh = open_(), open_()
    session.prefill([OTHER])
    session.step([3])
    session.reset()
    with pytest.raises(ValueError, match="prompt"):
        session.step([3])
    logits = session.logits(session.prefill([PROMPT]))
    assert relative_error(logits, fresh.logits(fresh.prefill([PROMPT]))) < 1e-5


def test_a_stream_is_prefill_and_steps(open_: Open) -> None:
    """`stream` yields the tokens that prefill and steps give, twice alike, also after a stop."""
    session = open_()
    raw, expected = session.prefill([PROMPT]), []
    for _ in range(8):
        expected.append(session.greedy(raw))
        raw = session.step(expected[-1])
    assert list(islice(session.stream([PROMPT]), 3)) == expected[:3]
    assert list(islice(session.stream([PROMPT]), 8)) == expected


def test_a_stream_chooses_as_it_is_told(open_: Open) -> None:
    """`stream` hands the logits to `choose` and goes on with its tokens."""
    session, seen = open_(), []

    def choose(logits: Any) -> list[int]:
        seen.append(logits.shape)
        return [11]

    assert list(islice(session.stream([PROMPT], choose), 3)) == [[11], [11], [11]]
    assert seen == [(1, session.vocabulary)] * 3


def test_a_stream_ends_with_the_room(open_: Open) -> None:
    """A stream that is not stopped fills the cache, yields one more token, and ends."""
    session = open_(room=Room(width=1, positions=len(PROMPT) + 3))
    assert len(list(session.stream([PROMPT]))) == 4
    assert len(list(session.stream([PROMPT], most=9))) == 4


def test_a_stream_ends_after_as_many_tokens_as_asked_for(open_: Open) -> None:
    """`most` tokens, greedy or chosen, and the request after it is as ever."""
    session = open_()
    expected = list(islice(session.stream([PROMPT]), 5))
    for most in (1, 5):
        assert list(session.stream([PROMPT], most=most)) == expected[:most]
    assert list(session.stream([PROMPT], lambda _: [11], 2)) == [[11], [11]]


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prompts", [[], [[]], [[1], [2]], [[1] * 49]], ids=["none", "empty", "too many", "too long"]
)
def test_impossible_prompts_are_refused(open_: Open, prompts: list[list[int]]) -> None:
    """No prompt, an empty one, more than the width, or one longer than the room: ValueError."""
    with pytest.raises(ValueError, match=r"prompt"):
        open_().prefill(prompts)


def test_prompts_of_different_lengths_are_refused(open_: Open) -> None:
    """Prompts side by side have one length: ValueError else."""
    with pytest.raises(ValueError, match="length"):
        open_(room=Room(width=2, positions=48)).prefill([[1, 2], [1]])


def test_a_step_beyond_the_room_is_refused(open_: Open) -> None:
    """A step without room in the cache raises ValueError; nothing wraps around."""
    session = open_(room=Room(width=1, positions=len(PROMPT) + 1))
    session.prefill([PROMPT])
    session.step([1])
    with pytest.raises(ValueError, match="positions"):
        session.step([1])


def test_unknown_generation_options_are_refused(open_: Open) -> None:
    """An option that is not declared raises UnsupportedError."""
    with pytest.raises(UnsupportedError):
        open_({"no_such_option": 1})


def test_unknown_decoders_are_refused(open_: Open, model: ModelFile) -> None:
    """A precision or a format that is not declared raises UnsupportedError."""
    for wrong in (replace(model, precision="no-such"), replace(model, format="no-such")):
        with pytest.raises(UnsupportedError):
            open_(of=wrong)


# --- what a session says of itself, and what time means -------------------------------------------


def test_the_cache_has_a_size(open_: Open) -> None:
    """The cache's size is bytes or unknown, and more room is not less of it."""
    sizes = []
    for room in (ROOM, Room(width=2, positions=96)):
        session = open_(room=room)
        session.prefill([PROMPT] * room.width)
        sizes.append(session.kv_cache_bytes())
    small, large = sizes
    if small is None or large is None:
        assert small is large
    else:
        assert 0 < small <= large


def test_generation_facts_are_complete(open_: Open, declared: Capabilities) -> None:
    """Effective facts name device, runtime, the cache's type and every declared option."""
    session = open_()
    session.prefill([PROMPT])
    facts = session.effective()
    assert isinstance(facts, Effective)
    assert facts.device
    assert facts.runtime
    told = {"threads", "telemetry", *facts.options}
    names = [*(option.name for option in declared.options), "kv_cache"]
    untold = [name for name in names if name not in told]
    assert not untold, f"effective().options does not tell {untold}; None where it is not known"


def test_generation_options_take_effect_or_are_refused(
    open_: Open, declared: Capabilities, model: ModelFile
) -> None:
    """Each declared value of an option is reported back and gives right logits, or is refused."""
    expected = _reference(model).feed(PROMPT)[-1:]
    for option in declared.options:
        for value in good_values(option):
            try:
                session = open_({option.name: value})
                facts = session.effective()
            except UnsupportedError:
                continue
            told = reported(facts, option.name)
            assert told in (None, value), f"{option.name}={value!r}: effective is {told!r}"
            logits = session.logits(session.prefill([PROMPT]))
            assert relative_error(logits, expected) < _COARSE, f"{option.name}={value!r}"


def test_time_grows_with_the_prompt(runtime: Backend, folder: Path) -> None:
    """A long prompt takes longer than a short one: the work is done when `greedy` returns."""
    from edgebench.testing.decoders import write_decoder

    path = folder / "wide.gguf"
    written = write_decoder(
        path, width=256, heads=8, kv_heads=4, hidden=1024, layers=4, context_length=2048
    )
    model = replace(written, precision=_first_precision(runtime))
    room = Room(width=1, positions=max(_LONG_PROMPTS) + 1)
    session = _open(runtime, model, {}, room, folder / "converted")
    complaints = []
    for tokens in _LONG_PROMPTS:
        short_ns, long_ns = _prefill_ns(session, 2), _prefill_ns(session, tokens)
        if long_ns > max(_GROWTH * short_ns, short_ns + _MIN_TOKEN_NS * tokens):
            break
        complaints.append(f"2 tokens take {short_ns} ns, {tokens} tokens {long_ns} ns")
    session.close()
    assert len(complaints) < len(_LONG_PROMPTS), "\n".join(complaints)


def test_generation_closes_and_opens_again(open_: Open) -> None:
    """A session can be closed twice, and another one opened after it."""
    answers = []
    for _ in range(2):
        session = open_()
        answers.append(session.logits(session.prefill([PROMPT])))
        session.close()
        session.close()
    assert relative_error(*answers) < 1e-5


# --- helpers ------------------------------------------------------------------------------------

#: Between two ways to the same logits in one session: kernels differ with the number of rows, and a
#: runtime that quantises what it multiplies does so for each row on its own.
_SAME_WAYS = 2e-2


def _first_precision(backend: Backend) -> str:
    assert backend.generation is not None
    return "fp32" if "fp32" in backend.generation.precisions else backend.generation.precisions[0]


def _open(
    backend: Backend, model: ModelFile, options: Mapping[str, Scalar], room: Room, cache: Path
) -> GenerationSession:
    if backend.converts(model, options):
        model = backend.convert(model, options, cache)
    return backend.open_generation(model, options, room)


def _reference(model: ModelFile) -> Any:
    from edgebench.models.llm.gguf_file import GgufFile
    from edgebench.models.llm.reference_decoder import ReferenceDecoder

    return ReferenceDecoder(GgufFile(model.path))


def _assert_right(model: ModelFile, logits: Any, expected: Any) -> None:
    error = relative_error(logits, expected)
    limit = _TOLERANCE.get(model.precision, _COARSE)
    assert error <= limit, f"logits are off by {error:.2g} of their norm"


def _prefill_ns(session: GenerationSession, length: int) -> float:
    """Median time of a prefill, each with a prompt of its own."""
    times = []
    for seed in range(5):
        prompt = [(7 * seed + 3 * number) % 250 for number in range(length)]
        start = time.perf_counter_ns()
        session.greedy(session.prefill([prompt]))
        times.append(time.perf_counter_ns() - start)
    return median(times)
