"""The tokenizer and the chat template that a GGUF file carries, or that lie beside an ONNX file.

How the text is split before the merges is named by `tokenizer.ggml.pre`, not written out; the rules of
the names known here are those of llama.cpp's `llama-vocab.cpp`. Another name is refused: a wrong split
gives other tokens, and a perplexity that means nothing.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from edgebench.errors import EdgebenchError, UnsupportedError
from edgebench.models.file_kind import format_of
from edgebench.models.llm.gguf_file import AGAIN, NEEDS_EXTRA, GgufFile

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
#: Names under which a word that is a token is taken whole, whatever the merges say.
_WHOLE_WORDS = ("llama-bpe",)
#: Kinds and splits whose texts begin with the begin-of-text token where the file does not say.
_BEGUN = ("llama", "llama-bpe")
#: Of a token that is put together from pairs: their number grows with the square of its length.
MAX_TOKEN_CHARS = 1024
_SPACE = "\u2581"  # how SentencePiece writes a space
_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4  # of tokenizer.ggml.token_type
#: Tokens that end a turn in templates of common families, where the metadata names only one of them.
_TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<end_of_turn>")


class Vocabulary:
    """Text to tokens and back, and a conversation to the tokens of a prompt.

    `inner` is a `tokenizers.Tokenizer`; `ends` are tokens that end an answer, `start` those that the
    model wants before a text.
    """

    def __init__(
        self,
        inner: Any,
        *,
        template: str | None,
        bos: int | None,
        eos: int | None,
        adds_bos: bool,
        ends: Collection[int],
    ) -> None:
        self._inner = inner
        self._template = template
        self._bos, self._eos = bos, eos
        self.start = [bos] if adds_bos and bos is not None else []
        known = (inner.token_to_id(token) for token in _TURN_ENDS)
        ends_of_text = {eos, *ends, *known}
        self.ends = frozenset(number for number in ends_of_text if number is not None)
        # A byte-level decoder takes their letters for bytes: "\u00ef" would become half a character.
        to_bytes = isinstance(inner.decoder, _tokenizers().decoders.ByteLevel)
        added = inner.get_added_tokens_decoder() if to_bytes else {}
        self._as_written = frozenset(number for number in added if not added[number].special)

    def __len__(self) -> int:
        return int(self._inner.get_vocab_size())

    def encode(self, text: str) -> list[int]:
        """Tokens of a text as it is: nothing is put before it; special tokens in it are taken so."""
        return list(self._inner.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, without those that control; user-defined ones are text."""
        runs = groupby(tokens, key=self._as_written.__contains__)
        return "".join(
            "".join(map(self.text_of, run))
            if as_written
            else str(self._inner.decode(list(run), skip_special_tokens=True))
            for as_written, run in runs
        )

    def save(self, path: Path) -> None:
        """Writes it as a `tokenizer.json`."""
        self._inner.save(str(path))

    def text_of(self, token: int | None) -> str:
        """A token as the vocabulary writes it; "" for none."""
        return "" if token is None else str(self._inner.id_to_token(token))

    def chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Tokens of a conversation by the model's own template, up to where the answer begins.

        A model without a template gets the contents alone, with its begin-of-text token if it adds one.
        """
        if self._template is None:
            text = "\n".join(message["content"] for message in messages)
            return self.start + self.encode(text)
        bos, eos = self.text_of(self._bos), self.text_of(self._eos)
        return self.encode(_rendered(self._template, messages, bos, eos))


_BESIDE = (
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "chat_template.jinja",
)


def files_beside(model: Path) -> list[Path]:
    """The files beside a model that `vocabulary_of` reads."""
    beside = [] if format_of(model) == "gguf" else [model.parent / name for name in _BESIDE]
    return [path for path in beside if path.is_file()]


def vocabulary_of(model: Path) -> Vocabulary:
    """The tokenizer that belongs to a model: in the GGUF file, or in files beside an ONNX file."""
    if format_of(model) == "gguf":
        return gguf_vocabulary(GgufFile(model).metadata)
    return folder_vocabulary(model.parent)


def gguf_vocabulary(metadata: Mapping[str, Any]) -> Vocabulary:
    """Makes the vocabulary of a GGUF file from its metadata. Raises UnsupportedError for another kind of tokenizer."""
    makers = {"gpt2": _byte_pairs, "llama": _sentence_pieces}
    kind = str(metadata.get("tokenizer.ggml.model"))
    if kind not in makers:
        raise UnsupportedError(f"tokenizers of the kind {kind!r} are not supported")
    begun = kind in _BEGUN or _split(metadata) in _BEGUN
    ends = [_token(metadata, f"{key}_token_id") for key in ("eot", "eom")]
    with _damage_named("the GGUF file's tokenizer", AGAIN):
        inner = makers[kind](metadata)
    template = metadata.get("tokenizer.chat_template")
    return Vocabulary(
        inner,
        template=template if isinstance(template, str) else None,
        bos=_token(metadata, "bos_token_id"),
        eos=_token(metadata, "eos_token_id"),
        adds_bos=bool(metadata.get("tokenizer.ggml.add_bos_token", begun)),
        ends=[end for end in ends if end is not None],
    )


def folder_vocabulary(folder: Path) -> Vocabulary:
    """`tokenizer.json` and `tokenizer_config.json` of a model's folder, as exporters leave them."""
    path, config, generation_config, template_file = (folder / name for name in _BESIDE)
    if not path.is_file():
        raise EdgebenchError(
            f"no tokenizer is known: {folder} has no tokenizer.json",
            "put the model's tokenizer.json (and tokenizer_config.json) beside the model file",
        )
    with _damage_named(str(path), "export the tokenizer again, or download it again"):
        inner = _tokenizers().Tokenizer.from_str(path.read_text(encoding="utf-8"))
        first = inner.encode("").ids[:1]  # by the tokenizer's post-processor
    settings, generation = _json(config), _json(generation_config)
    template = settings.get("chat_template")
    if template is None and template_file.is_file():
        template = _text(template_file)
    ends = generation.get("eos_token_id", [])
    bos, eos = (_token_of(inner, settings.get(f"{name}_token")) for name in ("bos", "eos"))
    begun = bos is not None and bos in first
    return Vocabulary(
        inner,
        template=template if isinstance(template, str) else None,
        bos=bos,
        eos=eos,
        adds_bos=bool(settings.get("add_bos_token", begun)),
        ends=[end for end in (ends if isinstance(ends, list) else [ends]) if type(end) is int],
    )


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise EdgebenchError(f"{path} is not JSON: {error}") from None
    return content if isinstance(content, dict) else {}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise EdgebenchError(f"{path} is not UTF-8 text: {error}") from None


@contextlib.contextmanager
def _damage_named(what: str, fix: str) -> Iterator[None]:
    """Turns whatever the library raises over a damaged tokenizer into one error; its native part panics
    with an exception that is none of Python's `Exception`."""
    try:
        yield
    except EdgebenchError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise EdgebenchError(f"{what} is damaged: {error}", fix) from None


def _token_of(inner: Any, written: Any) -> int | None:
    """A token given as text, or as an object that holds it."""
    text = written.get("content") if isinstance(written, dict) else written
    number = inner.token_to_id(text) if isinstance(text, str) else None
    return None if number is None else int(number)


def _token(metadata: Mapping[str, Any], key: str) -> int | None:
    """The number of a token that the metadata names; None where it names none."""
    value = metadata.get(f"tokenizer.ggml.{key}")
    if value is None:
        return None
    if type(value) is not int or not 0 <= value < len(_listed(metadata, "tokens", str)):
        raise EdgebenchError(
            f"tokenizer.ggml.{key} of the GGUF file is {value!r}, which is none of its tokens",
            AGAIN,
        )
    return value


def _listed(metadata: Mapping[str, Any], key: str, *kinds: type) -> list[Any]:
    """A list of the metadata whose entries are all of these types."""
    values = metadata.get(f"tokenizer.ggml.{key}")
    if not isinstance(values, list) or not {type(entry) for entry in values} <= {*kinds}:
        raise EdgebenchError(f"the GGUF file does not state tokenizer.ggml.{key}", AGAIN)
    return values


def _split(metadata: Mapping[str, Any]) -> str:
    """The name of the rule that splits text; a file without one means "default" to llama.cpp."""
    return str(metadata.get("tokenizer.ggml.pre", "default"))


def _byte_pairs(metadata: Mapping[str, Any]) -> Any:
    """A `tokenizers.Tokenizer` of byte-level byte pairs."""
    library = _tokenizers()
    split = _split(metadata)
    if split not in _SPLITS:
        raise UnsupportedError(
            f"tokenizers that split text as {split!r} are not supported",
            f"known are {', '.join(_SPLITS)}",
        )
    numbers = {token: number for number, token in enumerate(_listed(metadata, "tokens", str))}
    merges = [tuple(merge.split(" ", 1)) for merge in _listed(metadata, "merges", str)]
    model = library.models.BPE(numbers, merges, ignore_merges=split in _WHOLE_WORDS)
    inner = library.Tokenizer(model)
    parts = library.pre_tokenizers
    cuts = [parts.Split(library.Regex(cut), "isolated") for cut in _SPLITS[split]]
    to_bytes = parts.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.pre_tokenizer = parts.Sequence([*cuts, to_bytes])
    inner.decoder = library.decoders.ByteLevel()
    return _with_special_tokens(inner, metadata)


def _sentence_pieces(metadata: Mapping[str, Any]) -> Any:
    """A `tokenizers.Tokenizer` of SentencePiece's byte pairs: the pair with the best score is merged
    first, spaces are letters, and a letter that is no token becomes its bytes."""
    library = _tokenizers()
    tokens = _listed(metadata, "tokens", str)
    numbers = {token: number for number, token in enumerate(tokens)}
    unknown = _token(metadata, "unknown_token_id")
    model = library.models.BPE(
        numbers,
        _merges(metadata, numbers),
        unk_token=tokens[0 if unknown is None else unknown],
        fuse_unk=True,
        byte_fallback=True,
    )
    inner = library.Tokenizer(model)
    prefixed = bool(metadata.get("tokenizer.ggml.add_space_prefix", True))
    change, back = library.normalizers, library.decoders
    first = [change.Prepend(_SPACE)] if prefixed else []
    inner.normalizer = change.Sequence([*first, change.Replace(" ", _SPACE)])
    last = [back.Strip(" ", 1, 0)] if prefixed else []
    steps = [back.Replace(_SPACE, " "), back.ByteFallback(), back.Fuse(), *last]
    inner.decoder = back.Sequence(steps)
    return _with_special_tokens(inner, metadata)


def _merges(metadata: Mapping[str, Any], numbers: Mapping[str, int]) -> list[tuple[str, str]]:
    """All pairs of tokens that make a token, the best score first."""
    merges = []
    columns = (
        _listed(metadata, "tokens", str),
        _listed(metadata, "scores", float),
        _listed(metadata, "token_type", int),
    )
    for token, score, kind in zip(*columns, strict=True):
        if len(token) > MAX_TOKEN_CHARS:
            raise UnsupportedError(f"tokens of {len(token)} characters are not supported")
        if kind == _NORMAL and len(token) > 1:
            cuts = ((token[:place], token[place:]) for place in range(1, len(token)))
            merges += [(score, cut) for cut in cuts if cut[0] in numbers and cut[1] in numbers]
    merges.sort(key=lambda entry: -entry[0])
    return [pair for _, pair in merges]


def _with_special_tokens(inner: Any, metadata: Mapping[str, Any]) -> Any:
    """Control and user-defined tokens are found in a text as they are, before any splitting; a token
    that ends a turn controls, whatever its kind. So does llama.cpp."""
    tokens, kinds = _listed(metadata, "tokens", str), metadata.get("tokenizer.ggml.token_type", [])
    token_type = _tokenizers().AddedToken
    marked = [
        token_type(token, special=kind == _CONTROL or token in _TURN_ENDS, normalized=False)
        for token, kind in zip(tokens, kinds, strict=False)
        if kind in (_CONTROL, _USER_DEFINED)
    ]
    inner.add_tokens(marked)
    return inner


def _tokenizers() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise EdgebenchError(
            "tokenizers, which splits text for language models, is not installed", NEEDS_EXTRA
        ) from None
    return tokenizers


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
    except Exception as error:  # noqa: BLE001 - expressions of a template raise what Python does
        raise EdgebenchError(
            f"the model's chat template cannot be filled: {type(error).__name__}: {error}",
            "correct the template in the model's file, or beside it",
        ) from None
