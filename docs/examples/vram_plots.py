"""The plots of docs/vram.md: one computed from theory, the others out of the log of real runs.

    journal run quickstart --concurrency 4 --prompt-tokens 128,512,1024 --output-tokens 32 \
        --requests 12 --needed-vram --home lab
    python docs/examples/vram_plots.py lab
"""

import sys
from pathlib import Path

from journal.report.document import Curve, Dot, Panel
from journal.report.figures import draw, standalone
from journal.report.log import write_log
from journal.report.phrases import words
from journal.store.store import open_store
from journal.theory.memory import kv_bytes
from journal.theory.model_table import find_model

IMAGES = Path(__file__).parents[1] / "images"
MODELS = ("Llama-2-7b-hf", "gemma-2-9b", "Llama-3.1-8B", "Qwen2.5-7B")
TOKENS = (1024, 2048, 4096, 8192, 16384, 32768)
OF_THE_LOG = ("needed", "reserved", "memory")  # figures of the experiment quickstart


def theory() -> str:
    """The KV cache of one sequence, for models of about the same size, each up to its context."""
    curves = []
    for hue, name in enumerate(MODELS):
        model = find_model(name).architecture
        lengths = [tokens for tokens in TOKENS if tokens <= (model.context or tokens)]
        dots = tuple(Dot(float(tokens), float(kv_bytes(model, tokens))) for tokens in lengths)
        curves.append(Curve(name, dots, hue))
    title = "KV cache of one sequence, by theory"
    panel = Panel("vram-theory", title, "bytes", "tokens", tuple(curves))
    return standalone(draw(panel, words("en")))


def main(home: Path) -> None:
    IMAGES.mkdir(exist_ok=True)
    (IMAGES / "vram-theory.svg").write_text(theory())
    with open_store(home) as store:
        figures = write_log(store, home).figures
    for kind in OF_THE_LOG:
        (drawn,) = (path for path in figures if path.stem.endswith(f"quickstart-{kind}"))
        (IMAGES / f"vram-{kind}.svg").write_text(drawn.read_text())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "lab"))
