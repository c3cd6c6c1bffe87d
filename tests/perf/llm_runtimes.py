"""Decode of SmolLM2 through edgebench against each runtime's own way, in turns, in one run.

    python -m tests.perf.llm_runtimes [PAIRS]

- llama.cpp: `llama_decode` by hand, as llama-bench calls it, without choosing tokens
- ONNX Runtime against ONNX Runtime GenAI's generator, both fp32: their weights are the same numbers
- MLX against `mlx_lm`'s own generation with the same packed weights

Numbers are speed of edgebench over that of the other: 1 is equal. The verdict is `open` where some pairs
reach the target and others do not: a busy machine tells nothing. Skips what is not installed, and says so.
Fetches the model (98 MB) once.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from edgebench import assets, registry
from edgebench.backend import ModelFile, Scalar
from edgebench.generation import GenerationSession, Room
from edgebench.measure.requests import timed_request
from edgebench.spec.loader import load_workloads

PROMPT = [(7 * number) % 40_000 + 100 for number in range(64)]
NEW_TOKENS = 25
ROOM = Room(1, len(PROMPT) + NEW_TOKENS)
THREADS: dict[str, Scalar] = {"threads": 1}

Way = Callable[[], float]


def model_file(backend_name: str, precision: str) -> tuple[Any, ModelFile]:
    """The backend and the file it opens."""
    asset = load_workloads()["smollm2-chat"].model
    backend = registry.load(backend_name)
    backend.import_runtime()
    model = ModelFile(
        assets.fetch([asset])[asset.sha256], "gguf", asset.sha256, precision=precision
    )
    if backend.converts(model, THREADS):
        cache = assets.cache_dir() / "models" / asset.sha256[:16] / "converted"
        model = backend.convert(model, THREADS, cache)
    return backend, model


def opened(backend_name: str, precision: str) -> GenerationSession:
    backend, model = model_file(backend_name, precision)
    session: GenerationSession = backend.open_generation(model, THREADS, ROOM)
    return session


def ours(session: GenerationSession) -> float:
    """Nanoseconds per token after the first, as edgebench measures a request."""
    request, _ = timed_request(session, [PROMPT], NEW_TOKENS)
    return (request.token_ns[-1] - request.token_ns[0]) / (NEW_TOKENS - 1)


def llama_cpp() -> tuple[Way, Way]:
    from llama_cpp import llama_cpp as lib

    session: Any = opened("llama_cpp", "as-is")

    def raw() -> float:
        session.prefill([PROMPT])
        batch = lib.llama_batch_init(1, 0, 1)
        batch.n_tokens, batch.n_seq_id[0], batch.seq_id[0][0], batch.logits[0] = 1, 1, 0, True
        start = time.perf_counter_ns()
        for step in range(NEW_TOKENS - 1):
            batch.token[0], batch.pos[0] = PROMPT[step], len(PROMPT) + step
            assert lib.llama_decode(session._context, batch) == 0
        lib.llama_synchronize(session._context)
        spent = time.perf_counter_ns() - start
        lib.llama_batch_free(batch)
        return spent / (NEW_TOKENS - 1)

    return lambda: ours(session), raw


def ort_genai() -> tuple[Way, Way]:
    import onnxruntime_genai as genai

    session = opened("ort", "fp32")
    generator = opened("ort_genai", "fp32")
    model: Any = generator._model  # type: ignore[attr-defined]
    parameters = genai.GeneratorParams(model)
    parameters.set_search_options(max_length=ROOM.positions + 1, do_sample=False)

    def raw() -> float:
        running = genai.Generator(model, parameters)
        running.append_tokens(np.array([PROMPT], np.int32))
        running.generate_next_token()
        start = time.perf_counter_ns()
        for _ in range(NEW_TOKENS - 1):
            running.generate_next_token()
        return (time.perf_counter_ns() - start) / (NEW_TOKENS - 1)

    return lambda: ours(session), raw


def mlx() -> tuple[Way, Way]:
    session = opened("mlx", "as-is")
    _, model = model_file("mlx", "as-is")
    theirs = _mlx_lm_model(model.path)

    def raw() -> float:
        import mlx.core as mx
        from mlx_lm.generate import generate_step

        times = []
        steps = generate_step(mx.array(PROMPT), theirs, max_tokens=NEW_TOKENS)
        for _ in islice(steps, NEW_TOKENS):
            times.append(time.perf_counter_ns())
        return (times[-1] - times[0]) / (len(times) - 1)

    return lambda: ours(session), raw


def _mlx_lm_model(path: Path) -> Any:
    """mlx_lm's Llama with the packed weights of the file; its heads turn as GGUF stores them."""
    import mlx.core as mx
    from mlx import nn
    from mlx_lm.models.llama import Model, ModelArgs

    from edgebench.models.llm.gguf_file import GgufFile

    facts = GgufFile(path).decoder
    weights: Any = mx.load(str(path), format="gguf")
    made: Any = Model(
        ModelArgs(
            model_type="llama",
            hidden_size=facts.width,
            num_hidden_layers=facts.layers,
            intermediate_size=facts.hidden,
            num_attention_heads=facts.heads,
            num_key_value_heads=facts.kv_heads,
            rms_norm_eps=facts.norm_epsilon,
            rope_theta=facts.rope_base,
            vocab_size=facts.vocabulary,
            tie_word_embeddings=True,
            rope_traditional=True,
        )
    )
    nn.quantize(
        made,
        class_predicate=lambda _, part: (
            {"group_size": 32, "bits": 8 if isinstance(part, nn.Embedding) else 4}
            if hasattr(part, "to_quantized")
            else False
        ),
    )
    made.load_weights([(_renamed(name), value) for name, value in weights.items()])
    return made


_NAMES = {
    "blk.": "model.layers.",
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_output": "self_attn.o_proj",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def _renamed(name: str) -> str:
    for old, new in _NAMES.items():
        name = name.replace(old, new)
    return name


#: What is compared -> the packages it needs, how, and the target.
COMPARED: dict[str, tuple[Sequence[str], Callable[[], tuple[Way, Way]], float]] = {
    "llama.cpp / llama_decode by hand": (("llama_cpp",), llama_cpp, 0.97),
    "ONNX Runtime fp32 / ONNX Runtime GenAI fp32": (("onnxruntime_genai",), ort_genai, 0.95),
    "MLX / mlx_lm": (("mlx", "mlx_lm"), mlx, 0.97),
}


def compare(first: Way, second: Way, pairs: int) -> list[float]:
    """Speed of the first over the second in pairs, the order turning; one pair is not counted."""
    ratios = []
    for number in range(pairs + 1):
        if number % 2:
            theirs, mine = second(), first()
        else:
            mine, theirs = first(), second()
        ratios.append(theirs / mine)
    return sorted(ratios[1:])


def main(pairs: int = 9) -> None:
    for name, (packages, build, target) in COMPARED.items():
        missing = [package for package in packages if importlib.util.find_spec(package) is None]
        if missing:
            print(f"{name}: skipped, not installed: {', '.join(missing)}")
            continue
        ratios = compare(*build(), pairs)
        found = median(ratios)
        verdict = "ok" if ratios[0] >= target else "too slow" if ratios[-1] < target else "open"
        print(
            f"{name}: decode speed {found:.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f} over {pairs} "
            f"pairs; at least {target}: {verdict})",
            flush=True,
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
