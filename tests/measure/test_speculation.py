"""Drafted tokens: the answer is that of plain decoding whatever is drafted, counts and gains are those of a known
acceptance."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebench.backend import ModelFile
from edgebench.errors import UnsupportedError
from edgebench.generation import DraftCounts, GenerationSession, OwnSpeculation, Room
from edgebench.measure.replicate import request_kinds
from edgebench.measure.replicate.kept_prefix import KeptPrefix
from edgebench.measure.replicate.request_kinds import (
    Turn,
    before,
    compare_with_plain,
    with_session_facts,
)
from edgebench.measure.replicate.speculation import (
    Drafter,
    ModelDraft,
    PromptLookup,
    RuntimeSpeculation,
    Speculative,
)
from edgebench.measure.worker_messages import DraftFile, GenerateJob
from edgebench.record import Request
from edgebench.testing.decoders import write_decoder
from edgebench.testing.fake_decoder import FakeDecoder, FakeSession

LONG = 4000


def free(_: int) -> None:
    """A decoder whose steps take no time."""


def fake(vocabulary: int = 8, positions: int = 64, seed: int = 0, width: int = 1) -> FakeSession:
    return FakeSession(vocabulary, Room(width, positions), {"seed": seed}, free)


def answer(session: GenerationSession, prompt: Sequence[int], most: int | None) -> list[int]:
    return [token for [token] in session.stream([prompt], most=most)]


class Guesser:
    """Guesses at random: right and wrong, short and long."""

    def __init__(self, seed: int, vocabulary: int) -> None:
        self._draw, self._vocabulary = random.Random(seed), vocabulary

    def draft(self, text: Sequence[int], most: int) -> list[int]:
        return [self._draw.randrange(self._vocabulary) for _ in range(self._draw.randint(0, most))]

    def close(self) -> None:
        pass


class KnownAcceptance:
    """Drafts what the decoder will say, each token but with a chance of `wrong`."""

    def __init__(self, truth: Sequence[int], prompt: int, wrong: float) -> None:
        self._truth, self._prompt, self._wrong = truth, prompt, wrong
        self._draw = random.Random(7)

    def draft(self, text: Sequence[int], most: int) -> list[int]:
        start = len(text) - self._prompt
        return [
            (token + 1) % 8 if self._draw.random() < self._wrong else token
            for token in self._truth[start : start + most]
        ]

    def close(self) -> None:
        pass


@settings(max_examples=60, deadline=None)
@given(
    prompt=st.lists(st.integers(0, 7), min_size=1, max_size=20),
    most=st.one_of(st.none(), st.integers(1, 50)),
    draft_tokens=st.integers(1, 9),
    seed=st.integers(0, 1000),
    kind=st.sampled_from(["lookup", "guesses", "another decoder", "itself", "sure"]),
)
def test_the_answer_is_that_of_plain_decoding(
    prompt: list[int], most: int | None, draft_tokens: int, seed: int, kind: str
) -> None:
    drafters: dict[str, Drafter] = {
        "lookup": PromptLookup(3),
        "guesses": Guesser(seed, 8),
        "another decoder": ModelDraft(fake(seed=seed + 1)),
        "itself": ModelDraft(fake(seed=seed)),
        "sure": ModelDraft(fake(seed=seed), confidence=0.9),
    }
    session = Speculative(fake(seed=seed), drafters[kind], draft_tokens)
    expected = answer(fake(seed=seed), prompt, most)
    for _ in range(2):  # nothing of a request reaches the next
        assert answer(session, prompt, most) == expected
        counted = session.last
        assert counted.steps + counted.accepted == len(expected)
        assert counted.drafted is not None
        assert counted.accepted <= counted.drafted
        if kind == "itself":
            assert counted.accepted == counted.drafted


@pytest.mark.parametrize("draft_tokens", [1, 4, 8])
@pytest.mark.parametrize("wrong", [0.0, 0.2, 0.5, 1.0])
def test_tokens_per_step_follow_from_the_acceptance(wrong: float, draft_tokens: int) -> None:
    """(1 - p^(k + 1)) / (1 - p) tokens a step, each of k drafted tokens being right with a chance of p."""
    prompt = [1, 2, 3]
    truth = answer(fake(positions=LONG), prompt, LONG)
    session = Speculative(
        fake(positions=LONG), KnownAcceptance(truth, len(prompt), wrong), draft_tokens
    )
    assert answer(session, prompt, LONG) == truth
    right = 1 - wrong
    expected = sum(right**n for n in range(draft_tokens + 1))
    counted = session.last
    found = (len(truth) - 1) / (counted.steps - 1)
    assert found == pytest.approx(expected, rel=0.06)
    accepted = (expected - 1) / draft_tokens
    assert counted.drafted is not None
    assert counted.accepted / counted.drafted == pytest.approx(accepted, abs=0.03)


def test_a_lookup_takes_the_longest_and_the_latest() -> None:
    lookup = PromptLookup(2)
    assert lookup.draft([1, 2, 9, 5, 2, 7, 1, 2], 3) == [9, 5, 2], "two tokens are alike here"
    assert lookup.draft([3, 2, 9, 5, 2, 7, 1, 2], 2) == [7, 1], "the later of one token"
    assert lookup.draft([1, 2, 3], 4) == []
    assert lookup.draft([4, 4], 4) == [4]
    assert lookup.draft([70_000, 55_300, 70_000], 1) == [55_300], "a surrogate is a token too"


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(1, 4))
def test_a_lookup_of_a_growing_text_finds_what_one_of_a_new_text_does(
    tokens: list[int], longest: int
) -> None:
    """It spells only what came since; a text that is another object is spelt anew."""
    grown: list[int] = []
    lookup = PromptLookup(longest)
    for token in tokens:
        grown.append(token)
        assert lookup.draft(grown, 4) == PromptLookup(longest).draft(list(grown), 4)
    assert lookup.draft([*tokens[1:], 3], 4) == PromptLookup(longest).draft([*tokens[1:], 3], 4)


def test_an_unsure_draft_stops() -> None:
    """A threshold drafts fewer tokens, and more of them are right."""
    counts = {}
    for confidence in (0.0, 0.95):
        drafting = ModelDraft(
            FakeSession(8, Room(1, 400), {"seed": 1, "spread": 2.0}, free), confidence
        )
        session = Speculative(fake(positions=400), drafting, 6)
        answer(session, [1, 2, 3], 200)
        assert session.last.drafted is not None
        counts[confidence] = session.last.drafted
    assert counts[0.95] < counts[0.0]


class OwnTokens(OwnSpeculation):
    """A runtime that speculates by its own means: it gives the decoder's tokens in steps of three, or others."""

    def __init__(self, session: FakeSession, wrong: bool = False) -> None:
        self._session, self._wrong = session, wrong
        self.counts = DraftCounts(0, 0)

    def stream(self, prompt: Sequence[int], most: int) -> Iterator[int]:
        steps = 1 + -(-(most - 1) // 3)
        self.counts = DraftCounts(steps, most - steps)
        for [token] in self._session.stream([prompt], most=most):
            yield (token + 1) % 8 if self._wrong else token

    def close(self) -> None:
        self.counts = DraftCounts(0, 0)


@pytest.mark.parametrize("wrong", [False, True])
def test_a_runtimes_own_speculation_is_held_to_the_plain_decoder(wrong: bool) -> None:
    """That decoder is opened when the two are compared, and no sooner: the window has the pipeline alone."""
    opened: list[GenerationSession] = []

    def plain() -> GenerationSession:
        opened.append(fake())
        return opened[-1]

    session = RuntimeSpeculation(OwnTokens(fake(), wrong), plain, Room(1, 64))
    assert len(answer(session, [1, 2, 3], 13)) == 13
    assert (session.last.steps, session.last.accepted, session.last.drafted) == (5, 8, None)
    assert session.kv_cache_bytes() is None
    assert not opened
    found = compare_with_plain(session, [[[1, 2, 3]], [[4, 5]]], 13, ())
    assert found is not None
    assert (found.differs_at is not None) is wrong
    assert len(opened) == 1
    session.close()


def test_what_cannot_verify_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="forgets some again"):
        Speculative(fake(width=2), PromptLookup(3), 4)
    with pytest.raises(UnsupportedError, match="forgets some again"):
        KeptPrefix(fake(width=2))
    sampling = Speculative(fake(), PromptLookup(3), 4).stream([[1]], lambda logits: [0])
    with pytest.raises(UnsupportedError, match="greedy"):
        next(sampling)


class Liar(Speculative):
    """Takes every draft for right."""

    def _verified(self, token: int, guess: Sequence[int]) -> list[int]:
        return super()._verified(token, guess) and [*guess, 0]


def test_an_answer_that_differs_is_found_out() -> None:
    honest = Speculative(fake(), PromptLookup(3), 4)
    liar = Liar(fake(), Guesser(3, 8), 4)
    pool = [[[1, 2, 3]], [[3, 2, 1]], [[5, 6, 5]]]
    true, false = (compare_with_plain(session, pool, 20, ()) for session in (honest, liar))
    assert true is not None
    assert true.differs_at is None
    assert len(true.plain_ns) == len(true.speculated_ns) == 3
    assert false is not None
    assert false.differs_at is not None
    assert false.differs_by is not None
    assert false.differs_by > 0, "the plain answer is the most likely one"


# --- turns that are kept


@settings(max_examples=40, deadline=None)
@given(
    texts=st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=6),
    seed=st.integers(0, 100),
)
def test_kept_turns_answer_as_those_read_anew(texts: list[list[int]], seed: int) -> None:
    """Whatever a prompt has in common with the text before it."""
    kept, anew = KeptPrefix(fake(seed=seed)), fake(seed=seed)
    for text in texts:
        assert answer(kept, text, 6) == answer(anew, text, 6)
        assert 0 <= kept.kept < len(text)


def test_a_turn_finds_what_was_read_before_it() -> None:
    session = KeptPrefix(fake())
    first = [1, 2, 3, 4, 5]
    later = [*first, 0, 0, 6, 7]
    request = Request(prompt_tokens=1, token_ns=[1], new_tokens=[1], stop=["length"])
    seen = []
    for prompts in (Turn([first], 1), Turn([later], 2), Turn([first], 1)):
        before(session, prompts)
        answer(session, prompts[0], 3)
        seen.append(with_session_facts(session, prompts, request))
    assert [one.turn for one in seen] == [1, 2, 1]
    assert [one.kept_tokens for one in seen][0::2] == [0, 0], "a conversation begins anew"
    assert 5 <= (seen[1].kept_tokens or 0) < len(later)
    assert seen[0].kv_used_bytes == 64 * (len(first) + 2)


def test_a_conversation_is_compared_turn_by_turn() -> None:
    session = KeptPrefix(fake())
    pool = [Turn([[1, 2, 3]], 1), Turn([[1, 2, 3, 4, 4, 5]], 2)]
    found = compare_with_plain(session, pool, 5, ())
    assert found is not None
    assert found.differs_at is None
    assert len(found.plain_ns) == 2
    assert compare_with_plain(fake(), pool, 5, ()) is None


def test_prompts_of_a_conversation_build_upon_each_other(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    from edgebench.task import TaskContext
    from edgebench.tasks.generate import Generate
    from edgebench.testing.decoders import write_decoder

    model = write_decoder(tmp_path / "own.gguf").path
    task = Generate(TaskContext(data={}, options={}, model_asset=model, seed=0, reference=None))
    prompts = task.turns(0, 48, 6, 4)
    assert len(prompts[0]) == 48
    for earlier, later in pairwise(prompts):
        assert later[: len(earlier)] == earlier
    grown = [len(later) - len(earlier) for earlier, later in pairwise(prompts)]
    assert grown == sorted(grown)
    assert task.turns(1, 48, 6, 4) != prompts
    text = task.decode(prompts[1])
    assert text.count("assistant") >= 2 or text.count("user") >= 2


def noting(read: list[Path], ask: Callable[[Path], object]) -> Callable[[Path], object]:
    """The same question, which notes of what file it is asked."""

    def asked(path: Path) -> object:
        read.append(path)
        return ask(path)

    return asked


def test_what_files_tell_is_read_before_the_load_which_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The header of a GGUF file takes as long to read as a small model to load."""
    pytest.importorskip("gguf")
    own, small = (write_decoder(tmp_path / name) for name in ("own.gguf", "small.gguf"))
    read: list[Path] = []
    for name in ("trained_positions", "vocabulary_of"):
        ask = getattr(request_kinds, name)
        monkeypatch.setattr(request_kinds, name, noting(read, ask))
    draft = DraftFile(
        path=str(small.path), format="gguf", sha256="", precision="as-is", tokens=str(small.path)
    )
    asked = GenerateJob(prompt_tokens=8, new_tokens=4, draft=draft, draft_tokens=2)
    room = Room(1, 16)
    model = ModelFile(own.path, "gguf", own.sha256, "as-is", 1)
    session = request_kinds.opened(FakeDecoder(), model, {}, room, asked).session
    session.close()
    assert read == []
    request_kinds.check_files(room, asked, own.path)
    assert sorted(path.name for path in read) == ["own.gguf"] * 2 + ["small.gguf"] * 2
