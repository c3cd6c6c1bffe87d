"""The seam between edgebench and what a model is for.

A task turns an application's raw input (a JPEG, a file's bytes, a waveform) into a model's inputs,
turns outputs into an answer, and scores answers against labels. It knows no backend and no clock.
One file in `edgebench/tasks/` is one task; a user's own comes by `--task my_task.py:Class`, or by `task:
file:my_task.py:Class` in a workload file of the user's own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import msgspec

from edgebench.backend import TensorInfo
from edgebench.errors import UnsupportedError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Feeds = dict[str, NDArray[Any]]
    Outputs = dict[str, NDArray[Any]]
    #: Runs queries in order and returns their outputs; batching is the caller's business.
    Infer = Callable[[Sequence[Feeds]], list[Outputs]]

    from edgebench.generation import GenerationSession


class OutOfTime(Exception):
    """The time for the quality pass is over: raised by what a task runs its items through. A task that can
    judge a part of its items may catch it."""


@dataclass(frozen=True)
class Metric:
    """A quality metric of a task."""

    unit: str  # "1" for a share or a correlation
    better: Literal["higher", "lower"]
    help: str


#: What helps a model that fails on inputs that were drawn for it.
RANGE_FIX = (
    "say what such an input may be: --range NAME=low,high (or NAME=1|2|3), or --inputs FILE.npz"
)


class InputRange(msgspec.Struct, frozen=True, kw_only=True):
    """Holds what numbers an input may be: from `low` to `high`, both included, or one of `choices`, or exactly
    `values`: one for each of its numbers, in order, or one for all of them."""

    low: int | float | None = None
    high: int | float | None = None
    choices: list[int | float] = []
    values: list[int] = []
    why: str = ""  # for people: "rows of Gather 'table'"

    def __str__(self) -> str:
        told = f" ({self.why})" if self.why else ""
        if self.choices or self.values:
            return " | ".join(f"{value:g}" for value in self.choices or self.values) + told
        return f"{self.low:g} to {self.high:g}{told}"


@dataclass(frozen=True)
class TaskContext:
    """Holds what a task receives: local paths of its data assets, its options from the workload, the model."""

    data: Mapping[str, Path] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    model: Path | None = None  # the fp32 ONNX file, for tasks that read its metadata
    model_asset: Path | None = None  # the file or folder the model was made from
    inputs: Sequence[TensorInfo] = ()  # of the fp32 model at batch 1
    input_ranges: Mapping[str, InputRange] = field(default_factory=dict)  # what its graph allows
    seed: int = 0
    #: Which draw of items: 0 is what results are judged by; a task with `draws` or `test_draws` has others that
    #: share no item with it.
    draw: int = 0
    reference: Path | None = None  # what `GenerationTask.reference` gave, as npz


class Task(ABC):
    """Labelled items, pre-processing, post-processing and a score."""

    metrics: ClassVar[Mapping[str, Metric]]
    #: Names of the options it reads of a workload; another one is refused. None: it does not tell.
    option_names: ClassVar[Collection[str] | None] = None
    #: What other draws of items than the evaluation's are made of ("files of other seeds"), where the task heeds
    #: `context.draw`; "": it has no others.
    draws: ClassVar[str] = ""
    #: The same of draws that show the evaluation's own sources again ("other crops of the same photos"): a search
    #: tests on them, and tunes on none.
    test_draws: ClassVar[str] = ""
    #: Whether the sources of `draws` are those of the evaluation too ("the same recordings in other noise").
    same_sources: ClassVar[bool] = False

    def __init__(self, context: TaskContext) -> None:
        self.context = context

    @abstractmethod
    def __len__(self) -> int:
        """Number of labelled evaluation items."""

    @abstractmethod
    def raw(self, index: int) -> Any:
        """The item as an application would hold it, in memory: never a path to be read later."""

    @abstractmethod
    def preprocess(self, raw: Any) -> Feeds:
        """The model's inputs for one item; every array has a leading axis of 1.

        Arrays are C-contiguous and of the dtype the model declares.
        """

    @abstractmethod
    def postprocess(self, outputs: Outputs, raw: Any) -> Any:
        """The application's answer from one item's outputs (leading axis of 1).

        `raw` is the item they came from: boxes are scaled to its size, gains applied to its spectrum.
        """

    @abstractmethod
    def score(self, predictions: Sequence[Any]) -> dict[str, float]:
        """Metrics of the answers to items 0..n-1, in order, by the names in `metrics`."""

    def evaluate(self, infer: Infer) -> dict[str, float]:
        """Runs every labelled item through `infer` and scores the answers.

        Tasks with state between calls (streams) override this.
        """
        return self.score(list(self.answers(infer)))

    def answers(self, infer: Infer, together: int = 16) -> Iterator[Any]:
        """The answers to all labelled items, in order, so many run through `infer` at a time."""
        for start in range(0, len(self), together):
            raws = [self.raw(index) for index in range(start, min(start + together, len(self)))]
            outputs = infer([self.preprocess(raw) for raw in raws])
            yield from map(self.postprocess, outputs, raws)

    def cluster(self, index: int) -> int:
        """Which source an item comes from: items of one source (crops of a photo, chunks of a second) are no
        independent evidence of each other."""
        return index

    def at_own_size(self, feeds: Feeds) -> Feeds:
        """The inputs of one item without what it was padded with: at the length or size that it has by nature.

        Raises UnsupportedError where the task does not know it.
        """
        raise UnsupportedError(
            f"{type(self).__name__} knows no natural lengths or sizes of its items",
            "write its method `at_own_size`, or give the shapes: --shape-sequence input=1,16;1,64",
        )

    def drawn(self) -> str:
        """Returns what is told where the model fails on made-up inputs: which were drawn, and from what."""
        return ""

    def calibration(self) -> Iterator[Feeds]:
        """Inputs for static quantisation, none of them among the evaluation items."""
        raise UnsupportedError(
            f"{type(self).__name__} has no calibration data, which static quantisation needs",
            "write its method `calibration`, or leave int8-static out",
        )


@dataclass(frozen=True)
class Conversation:
    """A prompt as an application holds it: messages of who says what."""

    messages: Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Question:
    """A problem with one right answer, as the model takes it."""

    kind: str
    prompt: list[int]
    right: str


@dataclass(frozen=True)
class Attempts:
    """How a task wants its questions answered to see what more tokens and more samples bring."""

    questions: Sequence[Question]
    samples: int  # of each question, at least
    budget: int  # tokens of each sample, at most
    ends: frozenset[int]  # tokens that end an answer


class GenerationTask(ABC):
    """Prompts for a decoder, and a judgement of what it makes of them. Knows no runtime and no clock."""

    metrics: ClassVar[Mapping[str, Metric]]
    option_names: ClassVar[Collection[str] | None] = None  # as those of `Task`

    def __init__(self, context: TaskContext) -> None:
        self.context = context

    @abstractmethod
    def __len__(self) -> int:
        """Number of judged items."""

    @property
    @abstractmethod
    def positions(self) -> int:
        """Tokens of the longest sequence that `judge` needs room for, prompt and answer together."""

    @property
    @abstractmethod
    def ends(self) -> frozenset[int]:
        """Tokens that end an answer; empty where the answer has a fixed length."""

    @property
    def ends_of_text(self) -> frozenset[int]:
        """Tokens by which the model ends an answer, also where timed answers have a fixed length."""
        return self.ends

    @property
    @abstractmethod
    def temperature(self) -> float:
        """Returns the temperature of seeded sampling; 0 is greedy."""

    @abstractmethod
    def conversation(self, index: int) -> Conversation:
        """The prompt of a request, in memory. Any index is a prompt; no two are the same."""

    def conversation_of(self, content: str, index: int) -> Conversation:
        """The prompt of a request for another kind of text than the task's own. Raises UsageError where the task
        has none."""
        raise UsageError(f"the task has no prompts of the content {content!r}", "leave content out")

    def turns(self, index: int, first: int, answer: int, count: int) -> list[list[int]]:
        """The prompts of a conversation, each of which begins with the one before it and `answer` tokens that were
        recorded; the first has `first` tokens. Raises UsageError where the task has none."""
        raise UsageError("the task has no conversations of several turns", "leave turns out")

    @abstractmethod
    def encode(self, conversation: Conversation, tokens: int) -> list[int]:
        """The prompt as the model takes it, of exactly so many tokens."""

    @abstractmethod
    def decode(self, tokens: Sequence[int]) -> str:
        """The answer as text."""

    @abstractmethod
    def reference(self, session: GenerationSession) -> dict[str, NDArray[Any]]:
        """Returns what `judge` compares with, made once by an fp32 reference."""

    @abstractmethod
    def judge(self, session: GenerationSession) -> dict[str, float]:
        """Metrics by the names in `metrics`; what needs a reference is left out where there is none.

        The session may raise OutOfTime: a task that can judge a part of its items catches it, leaves out
        what it has no item for, and says in `judged` how many it has.
        """

    #: Items of the last `judge`, where the time for it was over before all; None: all of them.
    judged: int | None = None

    def attempts(self, prompt_tokens: int) -> Attempts | None:
        """Of a row whose requests have so many tokens; None: test-time scaling is not measured there."""
        return None

    def answer(self, text: str) -> str:
        """Returns what a sampled text, maybe cut short, answers; "" where it has not answered yet."""
        return text.strip()
