"""A small table of well-known models: the part of each config.json that theory needs, offline.

Sizes are those of the model's own config.json on the Hugging Face hub, and `published` is the
number of parameters that its page gives there (from the safetensors files). A test counts each
model's parameters from its sizes and finds that number.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from journal.errors import SpecError
from journal.theory.architecture import Architecture, architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model under all the `names` that share its sizes, the usual one first. `published` is its
    number of parameters on the hub. `variants` maps a precision (fp8, awq, gptq) to the name of a
    build of the first in it."""

    names: tuple[str, ...]
    config: Mapping[str, Any]
    published: int
    variants: Mapping[str, str] = field(default_factory=dict)

    @property
    def architecture(self) -> Architecture:
        """The sizes in its config."""
        return architecture(self.config)


def find_model(name: str) -> Model:
    """The model of that `name`: the full name or its last part, in any case ("Mistral-7B-v0.1");
    the name of a build in another precision stands for the model that it was made from. Raises
    SpecError with the nearest known names."""
    wanted = name.lower().strip("/")
    for model in MODELS:
        for known in (*model.names, *model.variants.values()):
            if wanted in (known.lower(), _short(known)):
                return model
    near = near_models(wanted)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise SpecError(
        f"No model {name!r} is known here.{hint} Any folder with a config.json will do."
    )


def near_models(name: str) -> list[str]:
    """Up to three known names that hold all words of `name` ("mistral-7b"), else those spelt
    most alike."""
    wanted = name.lower().strip("/")
    names = {_short(known): known for model in MODELS for known in model.names}
    words = set(wanted.rpartition("/")[2].split("-"))
    near = [known for short, known in names.items() if words <= set(short.split("-"))]
    if not near:
        spelt = difflib.get_close_matches(wanted.rpartition("/")[2], names, n=3, cutoff=0.5)
        near = [names[short] for short in spelt]
    return near[:3]


def _short(name: str) -> str:
    return name.lower().rpartition("/")[2]


def _config(kind: str, context: int, *sizes: int, **more: Any) -> dict[str, Any]:
    """A config.json with `sizes`: layers, hidden, heads, KV heads, intermediate, vocabulary."""
    keys = (
        "num_hidden_layers",
        "hidden_size",
        "num_attention_heads",
        "num_key_value_heads",
        "intermediate_size",
        "vocab_size",
    )
    base = {"model_type": kind, "max_position_embeddings": context}
    return {**base, **dict(zip(keys, sizes, strict=True)), **more}


_TIED = {"tie_word_embeddings": True}
_GEMMA2_9B = {"head_dim": 256, "sliding_window": 4096}

MODELS = (
    Model(
        names=("mistralai/Mistral-7B-Instruct-v0.1", "mistralai/Mistral-7B-v0.1"),
        config=_config("mistral", 32768, 32, 4096, 32, 8, 14336, 32000, sliding_window=4096),
        published=7_241_732_096,
        variants={
            "awq": "TheBloke/Mistral-7B-Instruct-v0.1-AWQ",
            "gptq": "TheBloke/Mistral-7B-Instruct-v0.1-GPTQ",
        },
    ),
    Model(
        names=("mistralai/Mistral-7B-Instruct-v0.2",),
        config=_config("mistral", 32768, 32, 4096, 32, 8, 14336, 32000),
        published=7_241_732_096,
        variants={
            "awq": "TheBloke/Mistral-7B-Instruct-v0.2-AWQ",
            "gptq": "TheBloke/Mistral-7B-Instruct-v0.2-GPTQ",
        },
    ),
    Model(
        names=("mistralai/Mistral-7B-Instruct-v0.3", "mistralai/Mistral-7B-v0.3"),
        config=_config("mistral", 32768, 32, 4096, 32, 8, 14336, 32768),
        published=7_248_023_552,
        variants={
            "fp8": "RedHatAI/Mistral-7B-Instruct-v0.3-FP8",
            "awq": "solidrust/Mistral-7B-Instruct-v0.3-AWQ",
            "gptq": "RedHatAI/Mistral-7B-Instruct-v0.3-GPTQ-4bit",
        },
    ),
    Model(
        names=("mistralai/Mixtral-8x7B-Instruct-v0.1", "mistralai/Mixtral-8x7B-v0.1"),
        config=_config(
            *("mixtral", 32768, 32, 4096, 32, 8, 14336, 32000),
            num_local_experts=8,
            num_experts_per_tok=2,
        ),
        published=46_702_792_704,
        variants={
            "awq": "TheBloke/Mixtral-8x7B-Instruct-v0.1-AWQ",
            "gptq": "TheBloke/Mixtral-8x7B-Instruct-v0.1-GPTQ",
        },
    ),
    Model(
        names=("meta-llama/Llama-2-7b-chat-hf", "meta-llama/Llama-2-7b-hf"),
        config=_config("llama", 4096, 32, 4096, 32, 32, 11008, 32000),
        published=6_738_415_616,
        variants={
            "awq": "TheBloke/Llama-2-7B-Chat-AWQ",
            "gptq": "TheBloke/Llama-2-7B-Chat-GPTQ",
        },
    ),
    Model(
        names=("meta-llama/Llama-2-13b-chat-hf", "meta-llama/Llama-2-13b-hf"),
        config=_config("llama", 4096, 40, 5120, 40, 40, 13824, 32000),
        published=13_015_864_320,
        variants={
            "awq": "TheBloke/Llama-2-13B-chat-AWQ",
            "gptq": "TheBloke/Llama-2-13B-chat-GPTQ",
        },
    ),
    Model(
        names=("meta-llama/Meta-Llama-3-8B-Instruct", "meta-llama/Meta-Llama-3-8B"),
        config=_config("llama", 8192, 32, 4096, 32, 8, 14336, 128256),
        published=8_030_261_248,
        variants={
            "fp8": "RedHatAI/Meta-Llama-3-8B-Instruct-FP8",
            "awq": "casperhansen/llama-3-8b-instruct-awq",
            "gptq": "TechxGenus/Meta-Llama-3-8B-Instruct-GPTQ",
        },
    ),
    Model(
        names=(
            "meta-llama/Llama-3.1-8B-Instruct",
            "meta-llama/Meta-Llama-3.1-8B-Instruct",
            "meta-llama/Llama-3.1-8B",
        ),
        config=_config("llama", 131072, 32, 4096, 32, 8, 14336, 128256),
        published=8_030_261_248,
        variants={
            "fp8": "RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8",
            "awq": "hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4",
            "gptq": "hugging-quants/Meta-Llama-3.1-8B-Instruct-GPTQ-INT4",
        },
    ),
    Model(
        names=(
            "meta-llama/Llama-3.1-70B-Instruct",
            "meta-llama/Meta-Llama-3.1-70B-Instruct",
            "meta-llama/Llama-3.1-70B",
        ),
        config=_config("llama", 131072, 80, 8192, 64, 8, 28672, 128256),
        published=70_553_706_496,
        variants={
            "fp8": "RedHatAI/Meta-Llama-3.1-70B-Instruct-FP8",
            "awq": "hugging-quants/Meta-Llama-3.1-70B-Instruct-AWQ-INT4",
            "gptq": "hugging-quants/Meta-Llama-3.1-70B-Instruct-GPTQ-INT4",
        },
    ),
    Model(
        names=("meta-llama/Llama-3.2-1B-Instruct", "meta-llama/Llama-3.2-1B"),
        config=_config("llama", 131072, 16, 2048, 32, 8, 8192, 128256, **_TIED),
        published=1_235_814_400,
        variants={"fp8": "RedHatAI/Llama-3.2-1B-Instruct-FP8"},
    ),
    Model(
        names=("meta-llama/Llama-3.2-3B-Instruct", "meta-llama/Llama-3.2-3B"),
        config=_config("llama", 131072, 28, 3072, 24, 8, 8192, 128256, **_TIED),
        published=3_212_749_824,
        variants={"fp8": "RedHatAI/Llama-3.2-3B-Instruct-FP8"},
    ),
    Model(
        names=("Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-7B"),
        config=_config("qwen2", 32768, 28, 3584, 28, 4, 18944, 152064),
        published=7_615_616_512,
        variants={
            "awq": "Qwen/Qwen2.5-7B-Instruct-AWQ",
            "gptq": "Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4",
        },
    ),
    Model(
        names=("Qwen/Qwen2.5-1.5B-Instruct", "Qwen/Qwen2.5-1.5B"),
        config=_config("qwen2", 32768, 28, 1536, 12, 2, 8960, 151936, **_TIED),
        published=1_543_714_304,
        variants={
            "awq": "Qwen/Qwen2.5-1.5B-Instruct-AWQ",
            "gptq": "Qwen/Qwen2.5-1.5B-Instruct-GPTQ-Int4",
        },
    ),
    Model(
        names=("Qwen/Qwen3-8B",),
        config=_config("qwen3", 40960, 36, 4096, 32, 8, 12288, 151936, head_dim=128),
        published=8_190_735_360,
        variants={"fp8": "Qwen/Qwen3-8B-FP8", "awq": "Qwen/Qwen3-8B-AWQ"},
    ),
    Model(
        names=("Qwen/Qwen3-4B",),
        config=_config("qwen3", 40960, 36, 2560, 32, 8, 9728, 151936, head_dim=128, **_TIED),
        published=4_022_468_096,
        variants={"fp8": "Qwen/Qwen3-4B-FP8", "awq": "Qwen/Qwen3-4B-AWQ"},
    ),
    Model(
        names=("microsoft/Phi-3-mini-4k-instruct",),
        config=_config("phi3", 4096, 32, 3072, 32, 32, 8192, 32064, sliding_window=2047),
        published=3_821_079_552,
    ),
    Model(
        names=("microsoft/phi-4",),
        config=_config("phi3", 16384, 40, 5120, 40, 10, 17920, 100352),
        published=14_659_507_200,
    ),
    Model(
        names=("google/gemma-2-9b-it", "google/gemma-2-9b"),
        config=_config("gemma2", 8192, 42, 3584, 16, 8, 14336, 256000, **_GEMMA2_9B),
        published=9_241_705_984,
        variants={
            "fp8": "RedHatAI/gemma-2-9b-it-FP8",
            "awq": "hugging-quants/gemma-2-9b-it-AWQ-INT4",
        },
    ),
    Model(
        names=("google/gemma-3-1b-it", "google/gemma-3-1b-pt"),
        config=_config(
            *("gemma3_text", 32768, 26, 1152, 4, 1, 6912, 262144), head_dim=256, sliding_window=512
        ),
        published=999_885_952,
    ),
    Model(
        names=("HuggingFaceTB/SmolLM2-135M-Instruct", "HuggingFaceTB/SmolLM2-135M"),
        config=_config("llama", 8192, 30, 576, 9, 3, 1536, 49152, **_TIED),
        published=134_515_008,
    ),
    Model(
        names=("HuggingFaceTB/SmolLM2-360M-Instruct", "HuggingFaceTB/SmolLM2-360M"),
        config=_config("llama", 8192, 32, 960, 15, 5, 2560, 49152, **_TIED),
        published=361_821_120,
    ),
    Model(
        names=("HuggingFaceTB/SmolLM2-1.7B-Instruct", "HuggingFaceTB/SmolLM2-1.7B"),
        config=_config("llama", 8192, 24, 2048, 32, 32, 8192, 49152, **_TIED),
        published=1_711_376_384,
    ),
)
