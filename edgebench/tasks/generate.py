"""Text generation: prompts of exact length by the model's own template, and how good the answers are.

Judged are the perplexity of a text, the agreement with an fp32 reference (the share of positions where
both find the same token most likely, and the Kullback-Leibler divergence from the reference's
distribution), and small tasks with one right answer.

Options: `perplexity_documents` and `perplexity_tokens` (how much of the data `documents` is scored, from
its start), `temperature` (0: greedy), `stop_at_end_of_text` (else answers have a fixed length). Test-time
scaling is measured where `scaling_samples` (of each problem) is given, with `scaling_tokens` (largest
budget) and `scaling_problems` (of each kind), in rows of `scaling_prompt_tokens` alone:
problems are the same whatever the length of requests. `list_problems` (of each of four kinds) adds closed-form tasks on
lists, and `needle_tokens` facts hidden in texts of a quarter, a half and all of so many tokens.
"""

from __future__ import annotations

import math
import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import groupby, takewhile
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from edgebench.errors import EdgebenchError, UsageError
from edgebench.models.llm.reference_decoder import log_softmax
from edgebench.models.llm.tokenizer import Vocabulary, vocabulary_of
from edgebench.task import (
    Attempts,
    Conversation,
    GenerationTask,
    Metric,
    OutOfTime,
    Question,
    TaskContext,
)

from . import _agent_replay
from ._generation_items import (
    LENGTHS,
    PASSAGES,
    REQUEST,
    Item,
    answer_in,
    items,
    list_items,
    needles,
    problems,
    request_for,
)
from .sentence_embedding import read_texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgebench.generation import GenerationSession

#: Prompts whose continuation by the reference is compared, their length, and that of the continuation.
_COMPARED, _COMPARED_PROMPT, _COMPARED_TOKENS = 8, 96, 16
#: Options that are numbers -> the least value, and the one where nothing is said.
_OPTIONS = {
    "perplexity_documents": (0, 6),
    "perplexity_tokens": (2, 256),  # the first one is given
    "temperature": (0, 0),
    "scaling_samples": (0, 0),
    "scaling_tokens": (1, 64),
    "scaling_problems": (1, 8),
    "scaling_prompt_tokens": (1, 0),  # 0: of every row
    "list_problems": (0, 0),
    "needle_tokens": (0, 0),
}
_BEYOND = 4  # tokens that an answer may be longer than the right one
_BEYOND_NUMBER = 16
_ROWS = 32
_MAX_EXPONENT = 700.0  # whose exp a float still holds


class _Asked(NamedTuple):
    """A prompt with one right answer, and the metric that it counts for."""

    metric: str
    prompt: list[int]
    answer: str

    def is_right(self, text: str) -> bool:
        """The same words; of a hidden number, the first number of the text."""
        if self.metric in LENGTHS:
            return re.findall(r"[0-9]+", text)[:1] == [self.answer]
        return _plain(text) == _plain(self.answer)


class Generate(GenerationTask):
    option_names: ClassVar = (*_OPTIONS, "stop_at_end_of_text")
    metrics: ClassVar = {
        "perplexity": Metric("1", "lower", "exp of the mean negative log-likelihood of a text"),
        "kl_divergence": Metric(
            "nat", "lower", "mean Kullback-Leibler divergence from the fp32 reference"
        ),
        "greedy_agreement": Metric(
            "1", "higher", "share of tokens of the fp32 reference's greedy answers chosen as well"
        ),
        "exact_match": Metric("1", "higher", "share of small tasks answered exactly"),
        "list_copy": Metric("1", "higher", "share of lists copied exactly"),
        "list_reverse": Metric("1", "higher", "share of lists reversed exactly"),
        "list_sort": Metric("1", "higher", "share of lists sorted exactly"),
        "list_replace": Metric("1", "higher", "share of lists with a word replaced exactly"),
        "needle_quarter": Metric("1", "higher", "facts found in texts of a quarter of the length"),
        "needle_half": Metric("1", "higher", "facts found in texts of half the length"),
        "needle_whole": Metric("1", "higher", "facts found in texts of the whole length"),
    }

    def __init__(self, context: TaskContext) -> None:
        super().__init__(context)
        for name, (least, _) in _OPTIONS.items():
            value = context.options.get(name, least)
            if isinstance(value, bool) or not isinstance(value, int | float) or value < least:
                raise UsageError(f"the option {name} is a number from {least} on, not {value!r}")
        stops = context.options.get("stop_at_end_of_text", False)
        if not isinstance(stops, bool):  # the text "false" would be taken for true
            raise UsageError(f"the option stop_at_end_of_text is true or false, not {stops!r}")

    def _count(self, name: str) -> int:
        return int(self.context.options.get(name, _OPTIONS[name][1]))

    def __len__(self) -> int:
        return len(self._documents) + _COMPARED + len(self._asked)

    @property
    def positions(self) -> int:
        longest = max(len(asked.prompt) + self._limit(asked) for asked in self._asked)
        return max(
            self._scored_tokens, _COMPARED_PROMPT + _COMPARED_TOKENS, longest, self._scaled_tokens
        )

    @property
    def ends(self) -> frozenset[int]:
        if not self.context.options.get("stop_at_end_of_text", False):
            return frozenset()
        return self.vocabulary.ends

    @property
    def ends_of_text(self) -> frozenset[int]:
        return self.vocabulary.ends

    @property
    def temperature(self) -> float:
        return float(self.context.options.get("temperature", 0.0))

    @cached_property
    def vocabulary(self) -> Vocabulary:
        if self.context.model_asset is None:
            raise EdgebenchError("the task needs the model's file, which holds its tokens")
        return vocabulary_of(self.context.model_asset)

    # --- prompts

    def conversation(self, index: int) -> Conversation:
        """A request to sum a passage up; which one, follows from the index alone."""
        passages = self._passages
        passage = " ".join(passages[(index + step) % len(passages)] for step in range(3))
        # The number sets prompts apart that come round to the same passages.
        return Conversation([{"role": "user", "content": f"{REQUEST} {index + 1}:\n\n{passage}"}])

    def conversation_of(self, content: str, index: int) -> Conversation:
        """A request whose answer says its prompt again, edits code, or is free talk."""
        return Conversation([{"role": "user", "content": request_for(content, index)}])

    def turns(self, index: int, first: int, answer: int, count: int) -> list[list[int]]:
        """A replay of an agent and its tools. Turn n adds the recorded answer and a tool output that is longer by a
        quarter of the first prompt than the one before."""
        text = [{"role": "user", "content": _agent_replay.task(index)}]
        prompts = [self.encode(Conversation(text), first)]
        between = self._between_turns
        for turn in range(2, count + 1):
            said = self._exactly(_agent_replay.answer(index, turn, answer), answer)
            given = max(1, first * turn // 4)
            output = self._exactly(_agent_replay.tool_output(index, turn, given), given)
            prompts.append([*prompts[-1], *said, *between, *output, *self._tail])
        return prompts

    def _exactly(self, text: str, tokens: int) -> list[int]:
        """So many tokens of a text, said again where it is too short."""
        found = self.vocabulary.encode(text)
        return (found * -(-tokens // len(found)))[:tokens]

    @cached_property
    def _between_turns(self) -> list[int]:
        """What the template puts between an answer and the next message."""
        turn, answer = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
        one, three = (self.vocabulary.chat(said) for said in ([turn], [turn, answer, turn]))
        letter, tail = self.vocabulary.encode("b"), self._tail
        message = self.vocabulary.encode("a")
        if three[: len(one) + len(letter)] != one + letter or three[-len(tail) :] != tail:
            raise UsageError(
                "the model's chat template gives turns that do not begin with those before them",
                "leave turns out",
            )
        return three[len(one) + len(letter) : len(three) - len(tail) - len(message)]

    def encode(self, conversation: Conversation, tokens: int) -> list[int]:
        """The template's beginning and end are kept whole; the passage is cut, or said again."""
        whole = self.vocabulary.chat(conversation.messages)
        tail = self._tail
        head = whole[: len(whole) - len(tail)]
        room = tokens - len(tail)
        start = len(self._shared_head)
        if room <= start:
            raise UsageError(
                f"a prompt of {tokens} tokens has no room for the chat template, which takes "
                f"{start + len(tail)}",
                f"--set prompt_tokens={start + len(tail) + 8} or more",
            )
        while len(head) < room:
            head += head[start:]
        return head[:room] + tail

    @cached_property
    def _shared_head(self) -> list[int]:
        """Returns what the template puts before a message."""
        one, two = self._two_letters
        return one[: _alike(one, two)]

    @cached_property
    def _tail(self) -> list[int]:
        """Returns what the template puts behind a message."""
        one, two = self._two_letters
        return one[len(one) - _alike(one[::-1], two[::-1]) :]

    @cached_property
    def _two_letters(self) -> tuple[list[int], list[int]]:
        """Two conversations that differ in one letter."""
        one, two = (
            self.vocabulary.chat([{"role": "user", "content": letter}]) for letter in ("a", "b")
        )
        return one, two

    def decode(self, tokens: Sequence[int]) -> str:
        return self.vocabulary.decode(tokens)

    # --- data

    @cached_property
    def _passages(self) -> list[str]:
        return self._documents_all or list(PASSAGES)

    @cached_property
    def _documents_all(self) -> list[str]:
        path = self.context.data.get("documents")
        return [] if path is None else read_texts(path)

    @property
    def _scored_tokens(self) -> int:
        return self._count("perplexity_tokens") if self._documents else 1

    @cached_property
    def _documents(self) -> list[list[int]]:
        """Tokens of the scored documents, each from its start, after what the model wants before a text."""
        count, limit = self._count("perplexity_documents"), self._count("perplexity_tokens")
        start, texts = self.vocabulary.start, self._documents_all[:count]
        documents = [(start + self.vocabulary.encode(text))[:limit] for text in texts]
        return [tokens for tokens in documents if len(tokens) > 1]  # a single one predicts nothing

    @cached_property
    def _asked(self) -> list[_Asked]:
        """Everything that has one right answer, under the metric it counts for."""
        asked = [self._of_item("exact_match", item) for item in items()]
        for metric, some in list_items(self._count("list_problems")).items():
            asked += [self._of_item(metric, item) for item in some]
        if longest := self._count("needle_tokens"):
            around = len(self._shared_head) + len(self._tail)
            for needle in needles(self.vocabulary.encode, PASSAGES, longest, around):
                prompt = [*self._shared_head, *needle.message, *self._tail]
                asked.append(_Asked(needle.metric, prompt, needle.answer))
        return asked

    def _of_item(self, metric: str, item: Item) -> _Asked:
        return _Asked(metric, self.vocabulary.chat(item.messages), item.answer)

    def _limit(self, asked: _Asked) -> int:
        """Tokens of an answer, at most: a vocabulary of bytes needs more than one of words, and a number may stand in
        a sentence."""
        beyond = _BEYOND_NUMBER if asked.metric in LENGTHS else _BEYOND
        return len(self.vocabulary.encode(asked.answer)) + beyond

    def _compared(self) -> list[list[int]]:
        """Prompts of the comparison: beyond those that requests are timed with."""
        return [
            self.encode(self.conversation(10_000 + number), _COMPARED_PROMPT)
            for number in range(_COMPARED)
        ]

    # --- test-time scaling

    def attempts(self, prompt_tokens: int) -> Attempts | None:
        samples, of_row = self._count("scaling_samples"), self._count("scaling_prompt_tokens")
        if samples == 0 or of_row not in (0, prompt_tokens):
            return None
        if samples > 1 and self.temperature == 0:
            raise UsageError(
                "samples at temperature 0 are all equal",
                "give the workload's options a temperature above 0, or scaling_samples: 1",
            )
        budget = self._count("scaling_tokens")
        return Attempts(self._questions, samples, budget, self.vocabulary.ends)

    def answer(self, text: str) -> str:
        return answer_in(text)

    @cached_property
    def _questions(self) -> list[Question]:
        return [
            Question(item.kind, self.vocabulary.chat(item.messages), item.answer)
            for item in problems(self._count("scaling_problems"))
        ]

    @property
    def _scaled_tokens(self) -> int:
        """Of the longest problem with its answer; the row's own length is not asked: room is cheap."""
        if self._count("scaling_samples") == 0:
            return 0
        longest = max(len(question.prompt) for question in self._questions)
        return longest + self._count("scaling_tokens")

    # --- judgement

    def reference(self, session: GenerationSession) -> dict[str, NDArray[Any]]:
        """Greedy answers of the reference, and its logits before each of their tokens."""
        answers, rows = [], []
        for prompt in self._compared():
            raw = session.prefill([prompt])
            answer = []
            for _ in range(_COMPARED_TOKENS):
                rows.append(session.logits(raw)[0])
                answer += session.greedy(raw)
                raw = session.step(answer[-1:])
            answers.append(answer)
        shape = (_COMPARED, _COMPARED_TOKENS, -1)
        return {"answers": np.array(answers), "logits": np.stack(rows).reshape(shape)}

    def judge(self, session: GenerationSession) -> dict[str, float]:
        """The parts take turns, an item of each, so that each has some where the time ends before all."""
        values: dict[str, float] = {}
        parts = [self._matches(session, values)]
        if self._documents:
            parts.append(self._perplexity(session, values))
        if self.context.reference is not None:
            with np.load(self.context.reference) as stored:
                agreement = stored["answers"], stored["logits"]
            parts.append(self._agreement(session, *agreement, values))
        waiting, done, self.judged = deque(parts), 0, None
        try:
            while waiting:
                part = waiting.popleft()
                if (count := next(part, None)) is not None:
                    done += count
                    waiting.append(part)
        except OutOfTime:
            pass
        # Fewer also where there was no time for the reference.
        self.judged = done if done < len(self) else None
        return values

    def _perplexity(self, session: GenerationSession, values: dict[str, float]) -> Iterator[int]:
        total, count = 0.0, 0
        for tokens in self._documents:
            logits = session.score(tokens)
            # A few rows at a time: of a large vocabulary, all of them in float64 take gigabytes.
            for start in range(0, len(tokens) - 1, _ROWS):
                targets = tokens[start + 1 : start + 1 + _ROWS]
                likely = log_softmax(logits[start : start + len(targets)])
                total -= float(likely[np.arange(len(targets)), targets].sum())
            count += len(tokens) - 1
            mean = total / count
            # Infinite: of a decoder that is broken.
            values["perplexity"] = math.exp(mean) if mean < _MAX_EXPONENT else math.inf
            yield 1

    def _agreement(
        self,
        session: GenerationSession,
        answers: NDArray[Any],
        logits: NDArray[Any],
        values: dict[str, float],
    ) -> Iterator[int]:
        """Along the reference's answers, so that one other token does not spoil what follows it.

        Step by step: it is the way through the cache that is judged. KL(reference || session).
        """
        same, divergence = [], []
        prompts = self._compared()
        for lanes in _side_by_side([len(prompt) for prompt in prompts], session.width):
            raw = session.prefill([prompts[number] for number in _filled(lanes, session.width)])
            for place in range(_COMPARED_TOKENS):
                found = session.logits(raw)
                for lane, number in enumerate(lanes):
                    same.append(int(found[lane].argmax()) == int(answers[number, place]))
                    divergence.append(_divergence(logits[number, place], found[lane]))
                given = _filled(lanes, session.width)
                raw = session.step([int(answers[number, place]) for number in given])
            values["greedy_agreement"] = float(np.mean(same))
            values["kl_divergence"] = float(np.mean(divergence))
            yield len(lanes)

    def _matches(self, session: GenerationSession, values: dict[str, float]) -> Iterator[int]:
        """Each metric's share of right answers."""
        right: Counter[str] = Counter()
        tried: Counter[str] = Counter()
        for lanes in _side_by_side([len(asked.prompt) for asked in self._asked], session.width):
            some = [self._asked[number] for number in lanes]
            limits = [self._limit(asked) for asked in some]
            prompts = [self._asked[number].prompt for number in _filled(lanes, session.width)]
            steps = list(session.stream(prompts, most=max(limits)))
            for lane, (asked, limit) in enumerate(zip(some, limits, strict=True)):
                answer = self._up_to_an_end([tokens[lane] for tokens in steps[:limit]])
                right[asked.metric] += asked.is_right(self.decode(answer))
                tried[asked.metric] += 1
                values[asked.metric] = right[asked.metric] / tried[asked.metric]
            yield len(lanes)

    def _up_to_an_end(self, tokens: Sequence[int]) -> list[int]:
        return list(takewhile(lambda token: token not in self.vocabulary.ends, tokens))


def _divergence(reference: NDArray[Any], logits: NDArray[Any]) -> float:
    """Kullback-Leibler, in nat, of two rows of logits; what the reference rules out counts nothing."""
    expected, got = log_softmax(reference), log_softmax(logits)
    possible = expected != -np.inf
    return float((np.exp(expected[possible]) * (expected[possible] - got[possible])).sum())


def _side_by_side(lengths: Sequence[int], width: int) -> list[list[int]]:
    """Numbers of prompts of one length, `width` at most together."""
    order = sorted(range(len(lengths)), key=lambda number: lengths[number])
    groups = [list(group) for _, group in groupby(order, key=lambda number: lengths[number])]
    return [
        group[start : start + width] for group in groups for start in range(0, len(group), width)
    ]


def _filled(lanes: Sequence[int], width: int) -> list[int]:
    """Fills up to the number of sequences of the session by repeating the last one."""
    return [*lanes, *[lanes[-1]] * (width - len(lanes))]


def _alike(one: Sequence[int], two: Sequence[int]) -> int:
    """How many tokens are the same from the start."""
    pairs = enumerate(zip(one, two, strict=False))
    return next((number for number, (a, b) in pairs if a != b), 0)


def _plain(text: str) -> str:
    """Returns what counts of an answer: its first line, without spaces at the ends and a full stop."""
    return text.strip().split("\n")[0].strip().rstrip(".").strip()


TASK = Generate
