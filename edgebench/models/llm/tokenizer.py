"""The tokenizer and the chat template that a GGUF file carries.

How the text is split before the merges is named by `tokenizer.ggml.pre`, not written out; the rules of
the names known here are those of llama.cpp's `llama-vocab.cpp`. Another name is refused: a wrong split
gives other tokens, and a perplexity that means nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from edgebench.errors import EdgebenchError, UnsupportedError
from edgebench.models.llm.gguf_file import NEEDS_EXTRA

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
#: Name -> expressions that split the text, one after the other.
_SPLITS: dict[str, tuple[str, ...]] = {
    "gpt-2": (_GPT2,),
    "smollm": (r"\p{N}", _GPT2),
    "llama-bpe": (_CONTRACTIONS + r"\p{N}{1,3}" + _REST,),
    "qwen2": (_CONTRACTIONS + r"\p{N}" + _REST,),
}
_CONTROL, _USER_DEFINED = 3, 4  # values of tokenizer.ggml.token_type


class Vocabulary:
    """Text to tokens and back, as the GGUF file says. Raises UnsupportedError for another kind."""

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        kind = metadata.get("tokenizer.ggml.model")
        split = metadata.get("tokenizer.ggml.pre", "gpt-2")
        if kind != "gpt2":
            raise UnsupportedError(f"tokenizers of the kind {kind!r} are not supported")
        if split not in _SPLITS:
            raise UnsupportedError(
                f"tokenizers that split text as {split!r} are not supported",
                f"known are {', '.join(_SPLITS)}",
            )
        self._metadata = metadata
        self._tokens: list[str] = metadata["tokenizer.ggml.tokens"]
        self._types: list[int] = metadata.get("tokenizer.ggml.token_type", [])
        self._inner = _byte_pairs(metadata, _SPLITS[split], self._special)
        self.bos = _number(metadata, "bos_token_id")
        self.adds_bos = bool(metadata.get("tokenizer.ggml.add_bos_token", False))

    def __len__(self) -> int:
        return len(self._tokens)

    @cached_property
    def _special(self) -> list[str]:
        """Control and user-defined tokens: found in a text as they are, before any splitting."""
        marked = (_CONTROL, _USER_DEFINED)
        return [
            token for token, kind in zip(self._tokens, self._types, strict=False) if kind in marked
        ]

    @cached_property
    def ends(self) -> frozenset[int]:
        """Tokens that end an answer: end of text, and end of a turn."""
        keys = ("eos_token_id", "eot_token_id", "eom_token_id")
        named = {_number(self._metadata, key) for key in keys}
        known = ("<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<end_of_turn>")
        named |= {self._number_of[token] for token in known if token in self._number_of}
        return frozenset(number for number in named if number is not None)

    @cached_property
    def _number_of(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self._tokens)}

    def encode(self, text: str) -> list[int]:
        """Tokens of a text as it is: nothing is put before it; special tokens in it are taken so."""
        return list(self._inner.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, without the special ones."""
        return str(self._inner.decode(list(tokens), skip_special_tokens=True))

    def save(self, path: Path) -> None:
        """Writes it as a `tokenizer.json`."""
        self._inner.save(str(path))

    def text_of(self, token: int) -> str:
        """A token as the vocabulary writes it."""
        return self._tokens[token]

    def chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Tokens of a conversation by the file's own template, up to where the answer begins.

        A file without a template gets the contents alone, with its begin-of-text token if it adds one.
        """
        template = self._metadata.get("tokenizer.chat_template")
        if template is None:
            text = "\n".join(message["content"] for message in messages)
            start = [self.bos] if self.adds_bos and self.bos is not None else []
            return start + self.encode(text)
        return self.encode(
            _rendered(
                template, messages, self._written("bos_token_id"), self._written("eos_token_id")
            )
        )

    def _written(self, key: str) -> str:
        number = _number(self._metadata, key)
        return "" if number is None else self._tokens[number]


def _number(metadata: Mapping[str, Any], key: str) -> int | None:
    value = metadata.get(f"tokenizer.ggml.{key}")
    return None if value is None else int(value)


def _byte_pairs(metadata: Mapping[str, Any], splits: Sequence[str], special: list[str]) -> Any:
    """A `tokenizers.Tokenizer` of byte-level byte pairs."""
    try:
        from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    except ImportError:
        raise EdgebenchError(
            "tokenizers, which splits text for language models, is not installed", NEEDS_EXTRA
        ) from None
    tokens = metadata["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ", 1)) for merge in metadata["tokenizer.ggml.merges"]]
    inner = Tokenizer(models.BPE({t: n for n, t in enumerate(tokens)}, merges, fuse_unk=False))
    cuts = [pre_tokenizers.Split(Regex(split), "isolated") for split in splits]
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.pre_tokenizer = pre_tokenizers.Sequence([*cuts, to_bytes])
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    return inner


def _rendered(template: str, messages: Sequence[Mapping[str, str]], bos: str, eos: str) -> str:
    """The chat template, in a sandbox: it comes with a file from anywhere."""
    try:
        from jinja2.exceptions import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError:
        raise EdgebenchError(
            "jinja2, which fills the chat templates of language models, is not installed",
            NEEDS_EXTRA,
        ) from None

    def refuse(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    try:
        return environment.from_string(template).render(
            messages=list(messages), bos_token=bos, eos_token=eos, add_generation_prompt=True
        )
    except TemplateError as error:
        raise EdgebenchError(f"the model's chat template cannot be filled: {error}") from None
