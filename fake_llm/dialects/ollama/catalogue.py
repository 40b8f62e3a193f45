"""What is said of a model whose name is all that is known: family, size, context, abilities."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import NamedTuple

from fake_llm.local_models import canonical, tagged
from fake_llm.model import Json

VERSION = "0.13.5"
"""Of the Ollama that is played."""
LISTED = ("llama3.2:latest", "qwen3:8b", "gpt-oss:20b", "gemma3:4b", "deepseek-r1:8b", "llava:7b",
          "nomic-embed-text:latest", "mxbai-embed-large:latest")  # fmt: skip
MODIFIED_AT = 1_767_225_600.0
"""When the listed models were last changed: 2026-01-01."""

TALKS = ("completion", "tools", "insert", "vision", "thinking")
"""What every model that writes can do here."""
EMBEDS = ("embedding",)
QUANTIZATION = "Q4_K_M"
BYTES_PER_PARAMETER = 0.6


class Kind(NamedTuple):
    """A family of models. ``width`` is the length of its vectors, ``context`` in tokens."""

    family: str
    billions: float
    context: int
    width: int
    abilities: Sequence[str] = TALKS


_KINDS = {
    "nomic-embed": Kind("nomic-bert", 0.137, 2_048, 768, EMBEDS),
    "mxbai-embed": Kind("bert", 0.334, 512, 1_024, EMBEDS),
    "all-minilm": Kind("bert", 0.023, 256, 384, EMBEDS),
    "bge-": Kind("bert", 0.567, 8_192, 1_024, EMBEDS),
    "snowflake-arctic-embed": Kind("bert", 0.335, 512, 1_024, EMBEDS),
    "qwen3-embedding": Kind("qwen3", 7.6, 40_960, 4_096, EMBEDS),
    "embeddinggemma": Kind("gemma3", 0.308, 2_048, 768, EMBEDS),
    "llama": Kind("llama", 3.2, 131_072, 3_072),
    "llava": Kind("llama", 7.2, 32_768, 4_096),
    "mistral": Kind("llama", 7.2, 32_768, 4_096),
    "qwen3": Kind("qwen3", 8.2, 40_960, 4_096),
    "qwen": Kind("qwen2", 7.6, 32_768, 3_584),
    "deepseek-r1": Kind("qwen3", 8.2, 131_072, 4_096),
    "gemma": Kind("gemma3", 4.3, 131_072, 2_560),
    "gpt-oss": Kind("gptoss", 20.9, 131_072, 2_880),
    "phi": Kind("phi3", 14.7, 16_384, 5_120),
}
_OTHER = Kind("llama", 8.0, 131_072, 4_096)
_OTHER_EMBEDDING = Kind("bert", 0.137, 8_192, 768, EMBEDS)
_SIZE = re.compile(r"(?:^|[^0-9.])(\d{1,4}(?:\.\d{1,3})?)b(?![a-z])")


def kind_of(name: str) -> Kind:
    """The family of the model, its size from the tag where that says one."""
    model, _, tag = canonical(name).rpartition("/")[2].partition(":")
    kind = next((kind for begin, kind in _KINDS.items() if model.startswith(begin)), None)
    if kind is None:
        kind = _OTHER_EMBEDDING if "embed" in model else _OTHER
    sized = _SIZE.search(tag) or _SIZE.search(model)
    return kind._replace(billions=float(sized[1])) if sized and float(sized[1]) else kind


def digest(name: str) -> str:
    """The model's digest: always the same for a name."""
    return hashlib.sha256(canonical(name).encode()).hexdigest()


def size(name: str) -> int:
    """The model's size in bytes."""
    return int(kind_of(name).billions * 1e9 * BYTES_PER_PARAMETER)


def details(name: str, parent: str = "") -> dict[str, Json]:
    """The member ``details`` of what is said of a model; one that was made from a parent is of its family."""
    kind = kind_of(parent or name)
    in_millions = kind.billions < 1
    return {
        "parent_model": parent,
        "format": "gguf",
        "family": kind.family,
        "families": [kind.family],
        "parameter_size": f"{kind.billions * 1000:.2f}M" if in_millions else f"{kind.billions:.1f}B",
        "quantization_level": QUANTIZATION,
    }


def summary(name: str, parent: str = "") -> dict[str, Json]:
    """What lists of models say of one."""
    return {
        "name": tagged(name),
        "model": tagged(name),
        "size": size(parent or name),
        "digest": digest(name),
        "details": details(name, parent),
    }


def model_info(name: str) -> dict[str, Json]:
    """The member ``model_info`` of ``/api/show``."""
    kind = kind_of(name)
    return {
        "general.architecture": kind.family,
        "general.file_type": 15,
        "general.parameter_count": int(kind.billions * 1e9),
        "general.quantization_version": 2,
        f"{kind.family}.attention.head_count": 32,
        f"{kind.family}.block_count": 32,
        f"{kind.family}.context_length": kind.context,
        f"{kind.family}.embedding_length": kind.width,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": [],
    }
