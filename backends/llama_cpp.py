"""llama.cpp through its own C interface: decoders of GGUF files, as they are."""

from __future__ import annotations

import ctypes
import importlib.metadata
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgebench.backend import Capabilities, Effective, ModelFile, Option, Scalar
from edgebench.errors import UnsupportedError
from edgebench.generation import Room, check_extension, check_prompts, check_rewind, check_step

from ._decoder_base import CountingSession, GgufBackend

if TYPE_CHECKING:
    from edgebench.generation import Logits, Prompts

_CACHES = {"fp32": "GGML_TYPE_F32", "fp16": "GGML_TYPE_F16", "q8_0": "GGML_TYPE_Q8_0"}
#: Bytes of one value of a cache: q8_0 has blocks of 32 numbers with a half-precision scale.
_CACHE_BYTES = {"fp32": 4.0, "fp16": 2.0, "q8_0": 34 / 32}
_FLASH: dict[Scalar | None, int] = {None: -1, "off": 0, "on": 1}  # None: llama.cpp decides
_FLOATS = {"f32": "fp32", "f16": "fp16"}  # as every backend names them
_DEBUG, _ERROR = 1, 4  # GGML_LOG_LEVEL_DEBUG, GGML_LOG_LEVEL_ERROR
_MAX_VIEWS = 16  # of logits: drafts have few lengths, and their memory few places
_FAILURES = {1: "no room in the cache", 2: "aborted", -1: "invalid batch"}

_OPTIONS = (
    Option("threads", "int", None, "threads that compute (n_threads, n_threads_batch)", minimum=1),
    Option("kv_cache", "str", "fp16", "type of cached keys and values", tuple(_CACHES)),
    Option("flash_attention", "str", None, "fused attention (flash_attn_type)", ("on", "off")),
    Option(
        "repack",
        "bool",
        True,
        "weights laid out anew for this CPU (use_extra_bufts) where it knows their type",
    ),
)


class LlamaCppBackend(GgufBackend):
    name = "llama_cpp"
    title = "llama.cpp"
    summary = "llama.cpp (decoders of GGUF files)"
    distribution = "llama-cpp-python"
    install = "pip install 'edgebench[llama-cpp]' (builds llama.cpp: minutes, needs a C++ compiler)"
    capabilities = Capabilities(formats=("gguf",), precisions=("as-is",), options=())
    generation = Capabilities(
        formats=("gguf",), precisions=("as-is",), options=_OPTIONS, rewinds=True
    )

    def import_runtime(self) -> str:
        import llama_cpp

        return str(llama_cpp.__version__)

    def _opened(
        self, model: ModelFile, options: Mapping[str, Scalar], room: Room
    ) -> LlamaCppSession:
        return LlamaCppSession(model, options, room)


class LlamaCppSession(CountingSession):
    def __init__(self, model: ModelFile, options: Mapping[str, Scalar], room: Room) -> None:
        from llama_cpp import llama_cpp

        super().__init__(room)
        self._lib = llama_cpp
        self._model = self._context = None
        self._log = _Log(llama_cpp)
        self.rewinds = self.width == 1
        self._kv_cache = str(options.get("kv_cache", "fp16"))
        llama_cpp.llama_backend_init()
        self._model = self._loaded(model, bool(options.get("repack", True)))
        if options.get("repack") and not self._log.repacked():
            self.close()
            raise UnsupportedError(f"llama.cpp lays out no weights of {model.path.name} anew here")
        self._context = self._new_context(options)
        self._memory = llama_cpp.llama_get_memory(self._context)
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(
            llama_cpp.llama_model_get_vocab(self._model)
        )
        self._many = _Batch(llama_cpp, self.width * self.positions)
        self._one = _Batch(llama_cpp, self.width)
        self._one.sequences[:] = range(self.width)
        self._one.wanted[:] = 1
        self._one.raw.n_tokens = self.width
        # Of a step: a number is written through a view of memory in a fraction of an array's time.
        self._next_tokens = self._one.tokens.data
        self._next_positions = self._one.positions.data
        self._next = self._one.raw
        # An address as a number: a pointer of ctypes is an object, whose contents are another one.
        self._address = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(
            ctypes.cast(llama_cpp.llama_get_logits, ctypes.c_void_p).value or 0
        )
        self._views: dict[tuple[int, int], Logits] = {}
        self._wanted = 0  # rows of logits of the last call

    def _loaded(self, model: ModelFile, repack: bool) -> Any:
        settings = self._lib.llama_model_default_params()
        # With no layer on a GPU, one that the build knows would still be given the large products of a
        # prefill, and weights would not be laid out anew. So it is told of no devices: an empty list.
        none = (ctypes.c_void_p * 1)()
        settings.devices = ctypes.addressof(none)
        settings.n_gpu_layers = 0
        settings.use_extra_bufts = repack
        loaded = self._lib.llama_model_load_from_file(str(model.path).encode(), settings)
        if not loaded:
            raise UnsupportedError(f"llama.cpp cannot load {model.path.name}: {self._log.why()}")
        return loaded

    def _new_context(self, options: Mapping[str, Scalar]) -> Any:
        lib = self._lib
        settings = lib.llama_context_default_params()
        settings.n_ctx = settings.n_batch = self.width * self.positions
        settings.n_seq_max = self.width
        if options.get("threads") is not None:
            settings.n_threads = settings.n_threads_batch = int(options["threads"])
        settings.type_k = settings.type_v = getattr(lib, _CACHES[self._kv_cache])
        settings.flash_attn_type = _FLASH[options.get("flash_attention")]
        settings.no_perf = True
        context = lib.llama_init_from_model(self._model, settings)
        if not context:
            raise UnsupportedError(f"llama.cpp opens no context: {self._log.why()}")
        self._room = int(lib.llama_n_ctx(context))
        return context

    def _fed(self, rows: Prompts) -> None:
        self._decode(rows, every=False)

    def step(self, tokens: Sequence[int]) -> None:
        # What follows touches little: behind the weights of a step no code of ours is in a cache.
        used = self._used
        if not 0 < used < self.positions or len(tokens) != self.width:
            check_step(tokens, self.width, used, self.positions)
        given, places = self._next_tokens, self._next_positions
        for number, token in enumerate(tokens):
            given[number], places[number] = token, used
        self._wanted = self.width
        if code := self._lib.llama_decode(self._context, self._next):
            raise _failed(code)
        self._used = used + 1

    def extend(self, tokens: Sequence[int]) -> Logits:
        self._read_several(tokens, every=True)
        return self._rows()

    def read_on(self, tokens: Sequence[int]) -> Logits:
        self._read_several(tokens, every=False)
        return self.logits(None)

    def _read_several(self, tokens: Sequence[int], *, every: bool) -> None:
        check_extension(len(tokens), self.width, self._used, self.positions)
        self._decode([tokens], every=every)
        self._used += len(tokens)

    def rewind(self, count: int) -> None:
        """Raises UnsupportedError for a model whose memory holds no single tokens, such as a recurrent one."""
        check_rewind(count, self._used)
        left = self._used - count
        if count and not self._lib.llama_memory_seq_rm(self._memory, 0, left, -1):
            raise UnsupportedError(
                "llama.cpp forgets no single tokens of this model",
                "leave lookup, draft and reuse out",
            )
        self._used = left

    def _decode(self, rows: Prompts, *, every: bool) -> None:
        """Feeds each sequence its tokens; logits are kept of the last ones, or of `every` one."""
        import numpy as np

        batch, length, start = self._many, len(rows[0]), self._used
        count = len(rows) * length
        batch.raw.n_tokens = count
        for array, values in (
            (batch.tokens, rows),
            (batch.positions, np.arange(start, start + length)),
            (batch.sequences, np.arange(len(rows))[:, np.newaxis]),
            (batch.wanted, every),
        ):
            array[:count].reshape(len(rows), length)[:] = values
        batch.wanted[length - 1 : count : length] = 1
        self._wanted = count if every else len(rows)
        if code := self._lib.llama_decode(self._context, batch.raw):
            raise _failed(code)

    def _rows(self) -> Logits:
        """The runtime's own memory, valid until the next call: rows that were asked for lie one after the other, in the
        order of the batch."""
        place = (self._address(self._context), self._wanted)
        view = self._views.get(place)
        return self._viewed(*place) if view is None else view

    def _viewed(self, address: int, count: int) -> Logits:
        import numpy as np

        if len(self._views) >= _MAX_VIEWS:
            self._views.clear()
        memory = (ctypes.c_float * (count * self.vocabulary)).from_address(address)
        view: Logits = np.frombuffer(memoryview(memory), np.float32)
        view = self._views[address, count] = view.reshape(count, self.vocabulary)
        return view

    def logits(self, raw: None) -> Logits:
        return self._rows().copy()

    def greedy(self, raw: None) -> list[int]:
        view = self._views.get((self._address(self._context), self._wanted))
        tokens: list[int] = (self._rows() if view is None else view).argmax(-1).tolist()
        return tokens

    def score(self, tokens: Sequence[int]) -> Logits:
        check_prompts([tokens], 1, self.positions)
        self.reset()
        self._decode([tokens], every=True)
        scores = self._rows().copy()
        self.reset()
        return scores

    def reset(self) -> None:
        self._lib.llama_memory_clear(self._memory, True)
        super().reset()

    def kv_cache_bytes(self) -> int:
        """Returns the size of keys and values of every layer, for the positions that the context has room for."""
        lib = self._lib
        heads = lib.llama_model_n_head_kv(self._model)
        values = lib.llama_model_n_layer(self._model) * heads * self._key_and_value() * self._room
        return int(values * _CACHE_BYTES[self._kv_cache])

    def kv_used_bytes(self) -> int:
        return self.kv_cache_bytes() * self.width * self._used // self._room

    def _key_and_value(self) -> int:
        """Numbers in a head's key and value: as the file says, else its share of the width."""
        lib = self._lib
        share = lib.llama_model_n_embd(self._model) // lib.llama_model_n_head(self._model)
        name = self._told("general.architecture")
        sizes = (self._told(f"{name}.attention.{part}_length") for part in ("key", "value"))
        return sum(share if size is None else int(size) for size in sizes)

    def _told(self, key: str) -> str | None:
        """A value of the file's metadata; None where it has none of that key."""
        text = ctypes.create_string_buffer(256)
        length = self._lib.llama_model_meta_val_str(self._model, key.encode(), text, 256)
        return None if length < 0 else text.value.decode(errors="replace")

    def effective(self) -> Effective:
        lib = self._lib
        text = ctypes.create_string_buffer(256)
        lib.llama_model_desc(self._model, text, 256)
        described = text.value.decode(errors="replace")  # "llama 135M Q4_1"
        return Effective(
            device="cpu",
            telemetry="none",
            precision=_file_type(described),
            threads=int(lib.llama_n_threads(self._context)),
            weight_bytes={described: int(lib.llama_model_size(self._model))},
            runtime=f"llama.cpp (llama-cpp-python {importlib.metadata.version('llama-cpp-python')})",
            notes=(_system(lib),),
            options={
                "kv_cache": self._kv_cache,
                "flash_attention": self._log.flash_attention(),
                "repack": self._log.repacked(),
                "positions": self._room,
            },
        )

    def close(self) -> None:
        if self._context is not None:
            self._views.clear()
            self._lib.llama_free(self._context)
        if self._model is not None:
            self._lib.llama_model_free(self._model)
        self._model = self._context = None


def _failed(code: int) -> RuntimeError:
    return RuntimeError(f"llama_decode: {_FAILURES.get(code, f'error {code}')}")


class _Batch:
    """Tokens that llama.cpp is given, in arrays of ours that are filled anew: through pointers of ctypes each number is
    an object or two, and a step of a small model is short."""

    def __init__(self, lib: Any, most: int) -> None:
        import numpy as np

        self.tokens = np.zeros(most, np.int32)
        self.positions = np.zeros(most, np.int32)
        self.sequences = np.zeros(most, np.int32)
        self.wanted = np.zeros(most, np.int8)
        self._counts = np.ones(most, np.int32)  # each token is of one sequence
        start = self.sequences.ctypes.data
        self._places = start + self.sequences.itemsize * np.arange(most, dtype=np.uintp)
        number = ctypes.POINTER(ctypes.c_int32)
        self.raw = lib.llama_batch(
            token=self.tokens.ctypes.data_as(number),
            pos=self.positions.ctypes.data_as(number),
            n_seq_id=self._counts.ctypes.data_as(number),
            seq_id=self._places.ctypes.data_as(ctypes.POINTER(number)),
            logits=self.wanted.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )


class _Log:
    """Holds what llama.cpp says of itself: kept, not printed; some facts stand nowhere else."""

    def __init__(self, lib: Any) -> None:
        self._lines: list[str] = []
        self._errors: list[str] = []
        self._callback = lib.llama_log_callback(self._heard)
        lib.llama_log_set(self._callback, ctypes.c_void_p(0))
        _KEPT.append(self._callback)  # the library calls it as long as the process lives

    def _heard(self, level: int, text: bytes, _: Any) -> None:
        if level != _DEBUG:
            self._lines.append(text.decode(errors="replace"))
        if level == _ERROR:
            self._errors.append(text.decode(errors="replace").strip())

    def why(self) -> str:
        """The first error: those behind it only say where it was noticed."""
        return self._errors[0] if self._errors else "no reason given"

    def repacked(self) -> bool:
        """Whether weights lie in another buffer (CPU_REPACK, AMX...) than those that are as in the file."""
        buffers = re.findall(r"load_tensors: *(\S+) model buffer size", "".join(self._lines))
        return bool(set(buffers) - {"CPU", "CPU_Mapped"})

    def flash_attention(self) -> str | None:
        """ "on" or "off" as decided, None where it was not told."""
        text = "".join(self._lines)
        told = re.findall(r"[Ff]lash(?: Attention|_attn) *=? *(enabled|disabled)", text)
        return {"enabled": "on", "disabled": "off"}[told[-1]] if told else None


_KEPT: list[Any] = []


def _file_type(described: str) -> str | None:
    """Of a model's description: "q4_k" of "llama 7B Q4_K - Medium", "fp32" of "llama 1B all F32"."""
    match = re.search(r"\b(?:[IT]?Q|B?F|MXFP|NVFP)\d\w*", described)
    if match is None:
        return None
    kind = match[0].lower()
    return _FLOATS.get(kind, kind)


def _system(lib: Any) -> str:
    """Instruction sets that the build uses."""
    return str(lib.llama_print_system_info().decode(errors="replace")).strip()


BACKEND = LlamaCppBackend
