"""The task `generate`: prompts of exact length on the model's template, and its judgement."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebench.errors import UsageError
from edgebench.generation import Room
from edgebench.models.llm.gguf_file import GgufFile
from edgebench.models.llm.reference_decoder import ReferenceSession, log_softmax
from edgebench.task import TaskContext
from edgebench.tasks.generate import Generate, _divergence
from edgebench.testing.decoders import write_decoder
from edgebench.testing.fake_decoder import FakeSession

pytest.importorskip("gguf")

DOCUMENTS = ("the thing in the inner ring", "another one, and then the end of it all")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("task")
    write_decoder(made / "tiny.gguf")
    (made / "documents.txt").write_text("\n".join(DOCUMENTS))
    return made


@pytest.fixture(scope="module")
def context(folder: Path) -> TaskContext:
    return TaskContext(
        model_asset=folder / "tiny.gguf", data={"documents": folder / "documents.txt"}
    )


@pytest.fixture(scope="module")
def task(context: TaskContext) -> Generate:
    return Generate(context)


def reference_of(task: Generate) -> ReferenceSession:
    assert task.context.model_asset is not None
    return ReferenceSession(GgufFile(task.context.model_asset), task.positions)


@pytest.mark.parametrize("tokens", [40, 64, 129, 700])
def test_prompts_have_exactly_the_length_asked_for(task: Generate, tokens: int) -> None:
    prompts = [task.encode(task.conversation(index), tokens) for index in range(5)]
    assert {len(prompt) for prompt in prompts} == {tokens}


def test_prompts_keep_the_template_whole_and_are_real_text(task: Generate) -> None:
    text = task.decode(task.encode(task.conversation(0), 120))
    assert text.startswith("user\nSum up in one sentence")
    assert text.endswith("\nassistant\n")
    assert "the thing" in text


def test_no_two_requests_have_the_same_prompt(task: Generate) -> None:
    """Whoever answers from what it has seen must not be helped by the pool."""
    prompts = {tuple(task.encode(task.conversation(index), 96)) for index in range(200)}
    assert len(prompts) == 200


def test_a_prompt_shorter_than_the_template_is_refused(task: Generate) -> None:
    with pytest.raises(UsageError, match="chat template") as raised:
        task.encode(task.conversation(0), 12)
    assert "prompt_tokens=" in raised.value.fix


def test_answers_have_a_fixed_length_unless_the_workload_says_otherwise(
    context: TaskContext, task: Generate
) -> None:
    assert task.ends == frozenset()
    assert task.temperature == 0.0
    free = Generate(replace(context, options={"stop_at_end_of_text": True, "temperature": 0.7}))
    assert free.ends == free.vocabulary.ends != frozenset()
    assert free.temperature == 0.7


@pytest.fixture(scope="module")
def judged(context: TaskContext, task: Generate, folder: Path) -> Generate:
    """The task with what its reference said."""
    path = folder / "reference.npz"
    said: dict[str, Any] = task.reference(reference_of(task))
    np.savez(path, **said)
    return Generate(replace(context, reference=path))


def test_the_reference_agrees_with_itself(judged: Generate) -> None:
    values = judged.judge(reference_of(judged))
    assert values["kl_divergence"] == pytest.approx(0.0, abs=1e-9)
    assert values["greedy_agreement"] == 1.0
    asked_for = {name for name in judged.metrics if not name.startswith(("list_", "needle_"))}
    assert set(values) == asked_for


def test_sequences_side_by_side_are_judged_each_on_its_own(judged: Generate) -> None:
    """A session that gives every sequence the logits of the first is found out."""

    class Wide(ReferenceSession):
        def __init__(self, mixed: bool) -> None:
            assert judged.context.model_asset is not None
            file = GgufFile(judged.context.model_asset)
            super().__init__(file, judged.positions)
            self.width, self._mixed = 3, mixed
            self._lanes = [ReferenceSession(file, judged.positions) for _ in range(3)]

        def prefill(self, prompts: Any) -> Any:
            return self._of(
                [lane.prefill([p]) for lane, p in zip(self._lanes, prompts, strict=True)]
            )

        def step(self, tokens: Any) -> Any:
            return self._of([lane.step([t]) for lane, t in zip(self._lanes, tokens, strict=True)])

        def _of(self, rows: Any) -> Any:
            return np.concatenate([rows[0]] * 3 if self._mixed else rows)

    right, mixed = (judged.judge(Wide(mixed)) for mixed in (False, True))
    assert right["kl_divergence"] == pytest.approx(0.0, abs=1e-9)
    assert right["greedy_agreement"] == 1.0
    assert mixed["greedy_agreement"] < 1.0
    assert mixed["kl_divergence"] > 1e-3


def test_another_decoder_diverges(judged: Generate, folder: Path) -> None:
    other = write_decoder(folder / "other.gguf", seed=1).path
    values = judged.judge(ReferenceSession(GgufFile(other), judged.positions))
    assert values["kl_divergence"] > 0.1
    assert values["greedy_agreement"] < 0.9


@pytest.mark.parametrize("start", [[], [1]])
def test_perplexity_is_that_of_the_text(context: TaskContext, start: list[int]) -> None:
    """After the begin-of-text token, where the model wants one: without it some models guess at random."""
    task = Generate(context)
    task.vocabulary.start = start
    session, total, count = reference_of(task), 0.0, 0
    for text in DOCUMENTS:
        tokens = start + task.vocabulary.encode(text)
        likely = log_softmax(session.score(tokens))
        for place, token in enumerate(tokens[1:]):
            total -= float(likely[place, token])
            count += 1
    expected = math.exp(total / count)
    assert task.judge(session)["perplexity"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {"perplexity_tokens": 1},
        {"temperature": -1},
        {"scaling_samples": "8"},
        {"scaling_tokens": True},
    ],
)
def test_an_option_without_sense_is_refused_before_anything_runs(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"the option {next(iter(options))} is a number from"):
        Generate(TaskContext(options=options))


def test_a_text_is_not_taken_for_true() -> None:
    with pytest.raises(UsageError, match="is true or false, not 'false'"):
        Generate(TaskContext(options={"stop_at_end_of_text": "false"}))


def test_a_broken_decoder_has_a_perplexity_without_end(task: Generate) -> None:
    """Its row is struck; what was timed before is not lost."""

    class Sure(FakeSession):
        def score(self, tokens: Any) -> Any:
            rows = np.zeros((len(tokens), self.vocabulary), np.float32)
            rows[:, 0] = 60_000
            return rows

    values = task.judge(Sure(len(task.vocabulary), Room(1, task.positions)))
    assert values["perplexity"] == math.inf


def test_divergence_is_that_of_two_distributions() -> None:
    never = -np.inf
    reference = np.array([*np.log([0.5, 0.25, 0.25]), never])
    found = np.array([*np.log([0.25, 0.25, 0.5]), never])
    assert _divergence(reference, found) == pytest.approx(0.25 * math.log(2))
    assert _divergence(reference, np.array([0, never, never, never])) == math.inf
    assert math.isnan(_divergence(np.full(4, np.nan), found))


def test_a_text_of_one_token_has_no_perplexity(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "documents.txt").write_text("a\n")
    data = {"documents": tmp_path / "documents.txt"}
    short = Generate(TaskContext(model_asset=folder / "tiny.gguf", data=data))
    assert set(short.judge(reference_of(short))) == {"exact_match"}


def test_without_a_text_there_is_no_perplexity(folder: Path) -> None:
    bare = Generate(TaskContext(model_asset=folder / "tiny.gguf"))
    values = bare.judge(reference_of(bare))
    assert set(values) == {"exact_match"}
    assert len(bare.encode(bare.conversation(3), 200)) == 200


def test_right_answers_are_counted_and_others_are_not(task: Generate) -> None:
    """A decoder that knows the answers to two thirds of the tasks."""
    answers = {
        tuple(prompt): [*task.vocabulary.encode(wanted), min(task.vocabulary.ends)]
        for number, (_, prompt, wanted) in enumerate(task._asked)
        if number % 3
    }

    class Knowing(FakeSession):
        def prefill(self, prompts: Any) -> Any:
            self._left = iter(answers.get(tuple(prompts[0]), []))
            return super().prefill(prompts)

        def greedy(self, raw: Any) -> list[int]:
            return [next(self._left, 5)]

    session = Knowing(len(task.vocabulary), Room(1, task.positions))
    assert task.judge(session)["exact_match"] == pytest.approx(2 / 3)


def test_the_answers_of_small_tasks_are_right() -> None:
    from edgebench.tasks._generation_items import items

    made = items()
    assert len({item.messages[-1]["content"] for item in made}) > len(made) / 2
    for item in made:
        question = item.messages[-1]["content"]
        if "+" in question:
            first, second = question.removeprefix("What is ").removesuffix("?").split(" + ")
            assert item.answer == str(int(first) + int(second))
        else:
            assert item.answer in question


# --- tasks on lists, and facts in long texts


@pytest.fixture(scope="module")
def recalling(context: TaskContext) -> Generate:
    return Generate(replace(context, options={"list_problems": 3, "needle_tokens": 640}))


def test_tasks_on_lists_are_right_by_construction() -> None:
    from edgebench.tasks._generation_items import list_items

    asked = list_items(5)
    assert list(asked) == ["list_copy", "list_reverse", "list_sort", "list_replace"]
    for metric, some in asked.items():
        assert len({item.answer for item in some}) == 5
        for item in some:
            question = item.messages[-1]["content"]
            words, answer = question.rpartition(": ")[2].split(", "), item.answer.split(", ")
            old, _, new = (
                question.removeprefix("Replace ").partition(" in this")[0].partition(" by ")
            )
            expected = {
                "list_copy": words,
                "list_reverse": words[::-1],
                "list_sort": sorted(words),
                "list_replace": [new if word == old else word for word in words],
            }
            assert answer == expected[metric]


def test_needles_have_their_lengths_and_stand_at_three_depths(recalling: Generate) -> None:
    hidden = [asked for asked in recalling._asked if asked.metric.startswith("needle")]
    lengths = [len(asked.prompt) for asked in hidden]
    assert lengths == [*[160] * 3, *[320] * 3, *[640] * 3]
    for asked in hidden[6:]:
        assert recalling.decode(asked.prompt).count(asked.answer) == 1
    at = [recalling.decode(a.prompt).index(a.answer) for a in hidden[6:]]
    assert at == sorted(at)


def test_each_metric_counts_its_own_answers(recalling: Generate) -> None:
    """A decoder that finds every number and reverses no list."""

    class Knowing(FakeSession):
        def stream(self, prompts: Any, choose: Any = None, most: int | None = None) -> Any:
            [asked] = [a for a in recalling._asked if a.prompt == list(prompts[0])]
            said = asked.answer if asked.metric != "list_reverse" else "no idea"
            if asked.metric.startswith("needle"):
                said = f"It is {said}"
            for token in recalling.vocabulary.encode(said):
                yield [token]

    vocabulary = len(recalling.vocabulary)
    session = Knowing(vocabulary, Room(1, recalling.positions))
    values = recalling.judge(session)
    assert values["list_reverse"] == 0.0
    for metric in ("list_copy", "list_sort", "list_replace", "exact_match"):
        assert values[metric] == 1.0
    assert [values[f"needle_{length}"] for length in ("quarter", "half", "whole")] == [1.0] * 3


def test_without_their_options_there_are_no_such_tasks(task: Generate) -> None:
    assert {asked.metric for asked in task._asked} == {"exact_match"}
