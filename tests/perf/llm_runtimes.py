"""Decoding through edgebench against each runtime's own way, with the same weights, in turns.

    python -m tests.perf.llm_runtimes [llama_cpp] [mlx] [ort_genai=FOLDER]

llama.cpp: the same calls of `llama_decode` by hand. MLX: `generate_step` of mlx_lm on its own Llama
with our packed weights. onnxruntime-genai: as `llm_genai.py` says, in fresh processes. A ratio is the
other's time per token over ours: 1 and more is as fast. What is not installed is skipped, and said. Fetches
the model (98 MB) once.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from edgebench import assets, registry
from edgebench.backend import ModelFile
from edgebench.definitions.workload_loader import load_workloads
from edgebench.generation import GenerationSession, Room
from edgebench.measure.replicate.generation_loops import timed_request

TARGET = 0.97
GENAI_TARGET = 0.95
SHARE = 0.01  # of a step, outside the runtime's call
PROMPT = [(7 * number) % 40_000 + 100 for number in range(64)]

#: Time per token after the first, in ns, and the tokens.
Timed = tuple[float, list[int]]


def model_file(precision: str) -> ModelFile:
    model = load_workloads()["smollm2-chat"].model
    path = assets.fetch([model])[model.sha256]
    return ModelFile(path, "gguf", model.sha256, precision=precision)


def opened(name: str, tokens: int, precision: str = "as-is", threads: int = 1) -> GenerationSession:
    backend = registry.load(name)
    backend.import_runtime()
    options, model = {"threads": threads}, model_file(precision)
    if backend.converts(model, options):
        cache = assets.cache_dir() / "models" / model.sha256[:16] / "converted"
        model = backend.convert(model, options, cache)
    return backend.open_generation(model, options, Room(1, len(PROMPT) + tokens))


def ours(session: GenerationSession, tokens: int) -> Timed:
    request, steps = timed_request(session, [PROMPT], tokens)
    each_ns = (request.token_ns[-1] - request.token_ns[0]) / (tokens - 1)
    return each_ns, [token for (token,) in steps]


def compared(
    title: str,
    mine: Callable[[], Timed],
    other: Callable[[], Timed],
    pairs: int,
) -> None:
    """Median of the ratios other / ours, the order turning; the answers must be the same."""
    ratios = []
    same = mine()[1] == other()[1]  # the first of each is a warm-up
    for number in range(pairs):
        first, second = (other, mine) if number % 2 else (mine, other)
        times = {first: first()[0], second: second()[0]}
        ratios.append(times[other] / times[mine])
        last = times[mine]
    verdict = "ok" if median(ratios) >= TARGET else "too slow"
    answers = "same answers" if same else "OTHER ANSWERS"
    print(
        f"{title}: {median(ratios):.3f} (at least {TARGET}: {verdict}; {min(ratios):.3f} to "
        f"{max(ratios):.3f}, {pairs} pairs, {last / 1e6:.1f} ms a token, {answers})"
    )


# llama.cpp


class TimedLibrary:
    """llama.cpp with a clock around its call; everything else is passed on."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.calls_ns: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def llama_decode(self, context: Any, batch: Any) -> int:
        start = time.perf_counter_ns()
        code = self._inner.llama_decode(context, batch)
        self.calls_ns.append(time.perf_counter_ns() - start)
        return int(code)


def llama_cpp(tokens: int = 33, pairs: int = 12) -> None:
    session: Any = opened("llama_cpp", tokens)
    lib, context = session._lib, session._context
    one = lib.llama_batch_init(1, 0, 1)

    def by_hand() -> Timed:
        row = session.logits(session.prefill([PROMPT]))[0]
        made = [int(row.argmax())]
        start = time.perf_counter_ns()
        for number in range(tokens - 1):
            one.n_tokens, one.token[0], one.pos[0] = 1, made[-1], len(PROMPT) + number
            one.n_seq_id[0], one.seq_id[0][0], one.logits[0] = 1, 0, True
            lib.llama_decode(context, one)
            pointer = lib.llama_get_logits_ith(context, 0)
            made.append(int(np.ctypeslib.as_array(pointer, shape=(session.vocabulary,)).argmax()))
        return (time.perf_counter_ns() - start) / (tokens - 1), made

    def outside() -> float:
        session._lib = timed = TimedLibrary(lib)
        request, _ = timed_request(session, [PROMPT], tokens)
        session._lib = lib
        steps = np.diff(request.token_ns)
        return float(np.median(steps - np.array(timed.calls_ns[1:])) / np.median(steps))

    compared("llama.cpp, raw calls / edgebench", lambda: ours(session, tokens), by_hand, pairs)
    share = median(outside() for _ in range(5))
    verdict = "ok" if share <= SHARE else "too much"
    print(
        f"llama.cpp, share of a step outside llama_decode: {share:.2%} (at most {SHARE:.0%}: {verdict})"
    )
    lib.llama_batch_free(one)
    session.close()


# MLX

_PARTS = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}


def mlx_name(tensor: str) -> str:
    """A GGUF tensor's place in mlx_lm's Llama, without ".weight"."""
    name = tensor.removesuffix(".weight")
    whole = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
    if name in whole:
        return whole[name]
    _, layer, part = name.split(".")
    return f"model.layers.{layer}.{_PARTS[part]}"


def mlx_lm_model(decoder: Any) -> Any:
    """mlx_lm's Llama with the arrays that our decoder computes with."""
    import mlx.core as mx
    from mlx import nn
    from mlx_lm.models import llama

    facts = decoder.facts
    model = llama.Model(
        llama.ModelArgs(
            model_type="llama",
            hidden_size=facts.width,
            num_hidden_layers=facts.layers,
            intermediate_size=facts.hidden,
            num_attention_heads=facts.heads,
            num_key_value_heads=facts.kv_heads,
            rms_norm_eps=facts.norm_epsilon,
            vocab_size=facts.vocabulary,
            rope_theta=facts.rope_base,
            rope_traditional=facts.interleaved_rope,
            tie_word_embeddings=facts.tied,
        )
    )
    packed = {mlx_name(n): m for n, m in decoder._matrices.items() if m.scales is not None}
    weights = [(f"{mlx_name(n)}.weight", vector) for n, vector in decoder._vectors.items()]
    for name, matrix in packed.items():
        parts = zip(("weight", "scales", "biases"), matrix.arrays(), strict=True)
        weights += [(f"{name}.{part}", array) for part, array in parts]

    def how(path: str, _: Any) -> Any:
        matrix = packed.get(path)
        return False if matrix is None else {"group_size": matrix.group, "bits": matrix.bits}

    nn.quantize(model, class_predicate=how)
    model.load_weights(weights, strict=True)
    mx.eval(model.parameters())
    return model


def mlx(tokens: int = 9, pairs: int = 5) -> None:
    import mlx.core as mx
    from mlx_lm.generate import generate_step

    session: Any = opened("mlx", tokens)
    model = mlx_lm_model(session._decoder)

    def theirs() -> Timed:
        made, start = [], 0
        for token, _ in generate_step(mx.array(PROMPT), model, max_tokens=tokens):
            start = start or time.perf_counter_ns()
            made.append(int(token))
        return (time.perf_counter_ns() - start) / (tokens - 1), made

    compared("MLX, mlx_lm / edgebench", lambda: ours(session, tokens), theirs, pairs)
    print(f"  edgebench: {session.effective().notes[-1]}")
    session.close()


# onnxruntime-genai

_ONE_THREAD = {"intra_op_num_threads": 1}


def raw_generator(folder: str, tokens: int) -> Callable[[], Timed]:
    """Requests by onnxruntime-genai's own generator, on a folder of its builder's."""
    import onnxruntime_genai as og

    config = og.Config(folder)
    config.overlay(json.dumps({"model": {"decoder": {"session_options": _ONE_THREAD}}}))
    model = og.Model(config)

    def theirs() -> Timed:
        params = og.GeneratorParams(model)
        params.set_search_options(
            max_length=len(PROMPT) + tokens, min_length=len(PROMPT) + tokens, do_sample=False
        )
        generator = og.Generator(model, params)
        generator.append_tokens(np.array([PROMPT], np.int32))
        generator.generate_next_token()
        start = time.perf_counter_ns()
        for _ in range(tokens - 1):
            generator.generate_next_token()
        each_ns = (time.perf_counter_ns() - start) / (tokens - 1)
        return each_ns, [int(token) for token in generator.get_sequence(0)[len(PROMPT) :]]

    return theirs


def ort_genai(folder: str) -> None:
    from tests.perf import llm_genai

    llm_genai.main(folder)


def main(asked: list[str]) -> None:
    folder = next((word.partition("=")[2] for word in asked if word.startswith("ort_genai=")), "")
    runs: dict[str, tuple[tuple[str, ...], Callable[[], None]]] = {
        "llama_cpp": (("llama_cpp",), llama_cpp),
        "mlx": (("mlx", "mlx_lm"), mlx),
        "ort_genai": (("onnxruntime_genai",), lambda: ort_genai(folder)),
    }
    names = {word.partition("=")[0] for word in asked}
    for name, (modules, run) in runs.items():
        if names and name not in names:
            continue
        missing = [module for module in modules if importlib.util.find_spec(module) is None]
        if missing:
            print(f"{name}: not compared, {' and '.join(missing)} not installed")
        elif name == "ort_genai" and not Path(folder, "genai_config.json").is_file():
            print("ort_genai: not compared, no folder was given that onnxruntime-genai runs")
        else:
            run()


if __name__ == "__main__":
    main(sys.argv[1:])
