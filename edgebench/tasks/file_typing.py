"""File typing: names the type of a file from its first and last bytes (the task of magika).

Files of 28 types are generated from seeds. Whole files are too easy (everything scores 1.0 on
them), so three of four are cut: what is left of them are 16 to 128 bytes from the start, as of a
download that broke off.

Data: `labels`, the JSON file beside the model that names its classes and the sizes of its input.
Option `files`: files per type (default 12).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgebench.errors import EdgebenchError
from edgebench.task import Metric, Task, TaskContext
from edgebench.tasks._file_samples import LABELS, write_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgebench.task import Feeds, Outputs

_WHOLE_EVERY = 4  # every fourth file of a type stays whole
_CUTS_BYTES = (16, 32, 48, 64, 96, 128)
_CALIBRATION_FILES = 56
_CALIBRATION_SEED = 1_000_000  # far from the seeds of evaluation files
_DRAW_SEEDS = 2_000_000  # from one draw to the next


@dataclass(frozen=True)
class Typed:
    """The likeliest type and the probability of every type, in the order of the model's labels."""

    label: str
    probability: NDArray[Any]


class FileTyping(Task):
    option_names: ClassVar = ("files",)
    draws: ClassVar = "files of other seeds"
    metrics: ClassVar = {
        "accuracy": Metric("1", "higher", "share of cut files typed right"),
        "accuracy_whole": Metric("1", "higher", "share of whole files typed right"),
        "nll": Metric("nat", "lower", "mean of -log p(right type) over cut files"),
    }

    def __init__(self, context: TaskContext) -> None:
        super().__init__(context)
        self._files_per_type = int(context.options.get("files", 12))
        self._input = context.inputs[0].name if context.inputs else "bytes"

    def __len__(self) -> int:
        return self._files_per_type * len(LABELS)

    def raw(self, index: int) -> bytes:
        """The file's bytes. Types take turns, so that the first items show all of them."""
        number, label = divmod(index, len(LABELS))
        seed = index + _DRAW_SEEDS * self.context.draw
        data = write_file(LABELS[label], seed=seed)
        return data if _is_whole(number) else _cut_file(data, seed=seed)

    def preprocess(self, raw: bytes) -> Feeds:
        return {self._input: self._layout.features(raw)}

    def postprocess(self, outputs: Outputs, raw: Any) -> Typed:
        (probability,) = next(iter(outputs.values()))
        return Typed(self._layout.labels[int(probability.argmax())], probability)

    def score(self, predictions: Sequence[Typed]) -> dict[str, float]:
        right: dict[bool, list[bool]] = {True: [], False: []}
        surprise = []
        for index, answer in enumerate(predictions):
            number, label = divmod(index, len(LABELS))
            right[_is_whole(number)].append(answer.label == LABELS[label])
            if not _is_whole(number):
                p = float(answer.probability[self._layout.labels.index(LABELS[label])])
                surprise.append(-np.log(max(p, 1e-9)))
        return {
            "accuracy": float(np.mean(right[False])),
            "accuracy_whole": float(np.mean(right[True])),
            "nll": float(np.mean(surprise)),
        }

    def calibration(self) -> Iterator[Feeds]:
        for number in range(_CALIBRATION_FILES):
            seed = _CALIBRATION_SEED + number
            data = write_file(LABELS[number % len(LABELS)], seed)
            yield self.preprocess(data if number % 2 else _cut_file(data, seed))

    @cached_property
    def _layout(self) -> _Layout:
        path = self.context.data.get("labels")
        if path is None:
            raise EdgebenchError("file_typing needs the data asset 'labels'")
        try:
            config = json.loads(path.read_bytes())
            return _Layout(
                labels=config["target_labels_space"],
                first_bytes=config["beg_size"],
                last_bytes=config["end_size"],
                block_bytes=config["block_size"],
                padding=config["padding_token"],
            )
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise EdgebenchError(f"{path} is not a configuration of magika: {error!r}") from None


TASK = FileTyping


@dataclass(frozen=True)
class _Layout:
    """How the model wants a file's bytes, and what its classes are called."""

    labels: list[str]
    first_bytes: int
    last_bytes: int
    block_bytes: int
    padding: int

    def features(self, data: bytes) -> NDArray[np.int32]:
        """[1, first + last]: white space stripped at both ends, padded on the inner side."""
        first = data[: self.block_bytes].lstrip()[: self.first_bytes]
        last = data[-self.block_bytes :].rstrip()[-self.last_bytes :]
        features = np.full((1, self.first_bytes + self.last_bytes), self.padding, np.int32)
        features[0, : len(first)] = np.frombuffer(first, np.uint8)
        features[0, features.size - len(last) :] = np.frombuffer(last, np.uint8)
        return features


def _is_whole(number: int) -> bool:
    return number % _WHOLE_EVERY == 0


def _cut_file(data: bytes, seed: int) -> bytes:
    return data[: _CUTS_BYTES[np.random.RandomState([seed, 1]).randint(len(_CUTS_BYTES))]]
