"""A GGUF file as a folder in Hugging Face's form, weights taken apart: what other builders start from.

Needs safetensors, beside what GGUF files need; neither torch nor a network.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebench.errors import EdgebenchError, UnsupportedError
from edgebench.models.llm.gguf_file import Decoder, GgufFile
from edgebench.models.llm.tokenizer import gguf_vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CLASSES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
_PARTS = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
_OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def write_folder(file: GgufFile, out: Path) -> None:
    """Writes config.json, model.safetensors and the tokenizer into `out`, which must exist.

    Raises UnsupportedError for an architecture whose form is not known here, and positions that it does not tell.
    """
    try:
        from safetensors.numpy import save_file
    except ImportError:
        raise EdgebenchError("safetensors is not installed", "pip install safetensors") from None
    decoder = file.decoder
    if decoder.architecture not in _CLASSES or file.rope_factors() is not None:
        raise UnsupportedError(
            f"{decoder.architecture} has no known form in Hugging Face's folders"
        )
    if decoder.rope_scale != 1 or decoder.rope_size != decoder.head_size:
        raise UnsupportedError(
            "scaled positions, and those of a part of each head, are not written into Hugging Face's "
            "folders"
        )
    weights = {_name(name): _values(file, name) for name in file.tensors}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    vocabulary = gguf_vocabulary(file.metadata)
    end = min(vocabulary.ends, default=0)
    start = int(file.metadata.get("tokenizer.ggml.bos_token_id", end))
    _write(out / "config.json", _config(decoder, start, end))
    numbers = {"bos_token_id": start, "eos_token_id": end, "pad_token_id": end}
    _write(out / "generation_config.json", numbers)
    vocabulary.save(out / "tokenizer.json")
    _write(
        out / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": vocabulary.text_of(start),
            "eos_token": vocabulary.text_of(end),
            "pad_token": vocabulary.text_of(end),
            "model_max_length": decoder.context_length,
        },
    )


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _config(decoder: Decoder, start: int, end: int) -> dict[str, Any]:
    return {
        "architectures": [_CLASSES[decoder.architecture]],
        "model_type": decoder.architecture,
        "hidden_size": decoder.width,
        "intermediate_size": decoder.hidden,
        "num_hidden_layers": decoder.layers,
        "num_attention_heads": decoder.heads,
        "num_key_value_heads": decoder.kv_heads,
        "head_dim": decoder.head_size,
        "max_position_embeddings": decoder.context_length,
        "rope_theta": decoder.rope_base,
        "rms_norm_eps": decoder.norm_epsilon,
        "vocab_size": decoder.vocabulary,
        "hidden_act": "silu",
        "tie_word_embeddings": decoder.tied,
        "attention_bias": decoder.qkv_bias,
        "mlp_bias": False,
        "bos_token_id": start,
        "eos_token_id": end,
        "torch_dtype": "float32",
    }


def _name(name: str) -> str:
    """ "blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight"."""
    parts = name.split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{_PARTS[parts[2]]}.{parts[3]}"
    return f"{_OUTER[parts[0]]}.{parts[1]}"


def _values(file: GgufFile, name: str) -> NDArray[Any]:
    """Float32; rows of queries and keys in Hugging Face's order, whose rotary pairs lie apart."""
    import numpy as np

    decoder, values = file.decoder, file.tensor(name).values()
    heads = {"attn_q": decoder.heads, "attn_k": decoder.kv_heads}.get(name.split(".")[-2])
    if heads is None or not decoder.interleaved_rope:
        return values
    split = values.reshape(heads, decoder.head_size // 2, 2, *values.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(values.shape))
