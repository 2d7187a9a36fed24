"""A model for llama.cpp with random weights: 1 MB, ready in 0.1 s, thousands of tokens/s, no sense."""

from pathlib import Path

import gguf
import numpy as np

_BLOCKS, _WIDTH, _FEED_FORWARD, _HEADS, _KV_HEADS, _CONTEXT = 2, 64, 128, 4, 2, 2048
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write(path: Path, seed: int = 0) -> Path:
    """Write the model and return its path; the same seed gives the same weights."""
    vocabulary, merges = _vocabulary()
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(_CONTEXT)
    writer.add_block_count(_BLOCKS)
    writer.add_embedding_length(_WIDTH)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_KV_HEADS)
    writer.add_rope_dimension_count(_WIDTH // _HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([*vocabulary, *specials])
    writer.add_token_types([gguf.TokenType.NORMAL] * len(vocabulary) + [gguf.TokenType.CONTROL] * len(specials))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(len(vocabulary))
    writer.add_eos_token_id(len(vocabulary) + 2)
    writer.add_chat_template(_TEMPLATE)
    for name, shape in _shapes(len(vocabulary) + len(specials)).items():
        writer.add_tensor(name, _weights(name, shape, seed))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _vocabulary() -> tuple[list[str], list[str]]:
    """Return GPT-2's 256 signs for bytes with all pairs of a letter behind a blank, and the merges that make those."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in visible]
    signs = [chr(byte) for byte in visible] + [chr(256 + place) for place in range(len(hidden))]
    blank = chr(256 + hidden.index(ord(" ")))
    letters = [chr(byte) for byte in range(ord("a"), ord("z") + 1)]
    return signs + [blank + letter for letter in letters], [f"{blank} {letter}" for letter in letters]


def _shapes(vocabulary: int) -> dict[str, tuple[int, ...]]:
    kv = _WIDTH // _HEADS * _KV_HEADS
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (vocabulary, _WIDTH),
        "output_norm.weight": (_WIDTH,),
        "output.weight": (vocabulary, _WIDTH),
    }
    for block in range(_BLOCKS):
        own = {
            "attn_norm": (_WIDTH,),
            "attn_q": (_WIDTH, _WIDTH),
            "attn_k": (kv, _WIDTH),
            "attn_v": (kv, _WIDTH),
            "attn_output": (_WIDTH, _WIDTH),
            "ffn_norm": (_WIDTH,),
            "ffn_gate": (_FEED_FORWARD, _WIDTH),
            "ffn_up": (_FEED_FORWARD, _WIDTH),
            "ffn_down": (_WIDTH, _FEED_FORWARD),
        }
        shapes |= {f"blk.{block}.{name}.weight": shape for name, shape in own.items()}
    return shapes


def _weights(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    if len(shape) == 1:
        return np.ones(shape, dtype=np.float32)
    numbers = np.random.default_rng([seed, *name.encode()])
    return (numbers.standard_normal(shape) * 0.05).astype(np.float32)
