"""Sentence embeddings: does the angle between two texts agree with people's sense of likeness?

Two sets: similarities of 50 short news documents (Lee, Pincombe & Welsh, 2005) and of word pairs
(WordSim353, Finkelstein et al., 2002).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from edgebench.errors import EdgebenchError
from edgebench.task import Metric, Task
from edgebench.tasks._statistics import pearson, spearman

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgebench.task import Feeds, Outputs

CALIBRATION_TEXTS = 32
NO_MORE_PAIRS = 1_000_000  # where no count says how many


class WordPair(NamedTuple):
    first: str
    second: str
    likeness: float  # mean judgement, 0 .. 10


class SentenceEmbedding(Task):
    """Items are the documents, then the distinct words of the pairs.

    Option `word_pairs`: how many pairs of the file are used, from its start (default: all). Further draws take
    as many pairs after these, and no documents, of which no others are judged.
    """

    option_names: ClassVar = ("word_pairs",)
    draws: ClassVar = "word pairs further on in the file, no documents"
    metrics: ClassVar = {
        "document_pearson": Metric(
            "1", "higher", "Pearson's correlation of cosines with judged document similarity"
        ),
        "word_spearman": Metric(
            "1", "higher", "Spearman's correlation of cosines with judged word relatedness"
        ),
    }

    @cached_property
    def documents(self) -> list[str]:
        return [] if self.context.draw else read_texts(self.context.data["documents"])

    @cached_property
    def similarities(self) -> NDArray[np.float64]:
        """Judged similarity of every two documents, 0 .. 1, (documents, documents)."""
        return np.loadtxt(self.context.data["similarities"])

    @cached_property
    def pairs(self) -> list[WordPair]:
        count = self.context.options.get("word_pairs")
        start = self.context.draw * (count or NO_MORE_PAIRS)
        return list(
            islice(read_pairs(self.context.data["words"]), start, start + (count or NO_MORE_PAIRS))
        )

    @cached_property
    def texts(self) -> list[str]:
        words = (word for pair in self.pairs for word in (pair.first, pair.second))
        return self.documents + list(dict.fromkeys(words))

    @cached_property
    def tokenizer(self) -> Any:
        sizes = self.context.inputs[0].sizes
        if sizes is None:
            raise ValueError("the model's number of tokens must be fixed: give `shapes`")
        return load_tokenizer(self.context.data["tokenizer"], sizes[1])

    def __len__(self) -> int:
        return len(self.texts)

    def raw(self, index: int) -> str:
        return self.texts[index]

    def preprocess(self, raw: str) -> Feeds:
        """Token numbers and mask, (1, tokens) int64, cut or padded."""
        encoding = self.tokenizer.encode(raw)
        return {
            "input_ids": np.array([encoding.ids], dtype=np.int64),
            "attention_mask": np.array([encoding.attention_mask], dtype=np.int64),
        }

    def at_own_size(self, feeds: Feeds) -> Feeds:
        """The text's own tokens."""
        length = int(feeds["attention_mask"].sum())
        return {name: np.ascontiguousarray(array[:, :length]) for name, array in feeds.items()}

    def postprocess(self, outputs: Outputs, raw: Any) -> NDArray[Any]:
        """The embedding, of unit length."""
        return np.asarray(outputs["embedding"][0])

    def score(self, predictions: Sequence[NDArray[Any]]) -> dict[str, float]:
        vectors = np.stack(list(predictions)).astype(np.float64)
        documents = vectors[: len(self.documents)]
        upper = np.triu_indices(len(documents), 1)
        number = {text: row for row, text in enumerate(self.texts)}
        cosines = [
            vectors[number[pair.first]] @ vectors[number[pair.second]] for pair in self.pairs
        ]
        words = {"word_spearman": spearman(cosines, [pair.likeness for pair in self.pairs])}
        if self.context.draw:
            return words
        alike = pearson((documents @ documents.T)[upper], self.similarities[upper])
        return {"document_pearson": alike, **words}

    def calibration(self) -> Iterator[Feeds]:
        """News documents of another collection."""
        for text in read_texts(self.context.data["calibration"])[:CALIBRATION_TEXTS]:
            yield self.preprocess(text)


def load_tokenizer(path: Path, length: int) -> Any:
    """The tokenizer of a `tokenizer.json`, cutting and padding texts to `length` tokens."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise EdgebenchError(
            "tokenizers, which splits text for this model, is not installed",
            fix='pip install "edgebench[full]"',
        ) from None
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length)
    return tokenizer


def read_texts(path: Path) -> list[str]:
    """Reads one text per line; empty lines do not count."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return [line.strip() for line in lines if line.strip()]


def read_pairs(path: Path) -> Iterator[WordPair]:
    """Lines `word<tab>word<tab>judgement`; `#` starts a comment line."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            first, second, likeness = line.split("\t")
            yield WordPair(first, second, float(likeness))


TASK = SentenceEmbedding
