"""`journal serve`."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

import journal
from journal import units
from journal.cli.options import Home, Json, Python
from journal.cli.render import echo

if TYPE_CHECKING:
    from journal.records.engine import Endpoint

EXAMPLE = "Explain why the sky is blue in one paragraph."


def serve(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A name on the Hugging Face hub, or a directory.")
    ],
    flags: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[-- VLLM'S FLAGS]", show_default=False, help="Go to vLLM as they are."
        ),
    ] = None,
    quantisation: Annotated[
        str | None, typer.Option("--quantisation", "--quantization", help="Such as awq, gptq, fp8.")
    ] = None,
    dtype: Annotated[str, typer.Option("--dtype", help="Such as bfloat16, float16.")] = "auto",
    tensor_parallel: Annotated[
        int, typer.Option("--tensor-parallel", metavar="N", min=1, help="GPUs to spread it over.")
    ] = 1,
    pipeline_parallel: Annotated[
        int,
        typer.Option(
            "--pipeline-parallel", metavar="N", min=1, help="Stages of so many GPUs each."
        ),
    ] = 1,
    max_model_len: Annotated[
        int | None, typer.Option("--max-model-len", metavar="N", min=1, help="Longest context.")
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="0 takes any free one.")
    ] = 8000,
    host: Annotated[
        str, typer.Option("--host", help="The IP address to listen at; 0.0.0.0 for the network.")
    ] = "127.0.0.1",
    require_key: Annotated[
        bool,
        typer.Option("--require-key", help="Take only requests that bear JOURNAL_API_KEY's value."),
    ] = False,
    python: Python = None,
    home: Home = "lab",  # type: ignore[assignment]
    json: Json = False,
) -> None:
    """Serve a model with vLLM, as the experiments do, until Ctrl-C.

    Examples:

    - `journal serve SmolLM2-135M-Instruct`
    - `journal serve mistralai/Mistral-7B-Instruct-v0.2 --max-model-len 8192`
    - `journal serve TheBloke/Mistral-7B-Instruct-v0.2-AWQ --quantisation awq -- --seed 1`
    """
    from contextlib import ExitStack

    from journal.cli.progress import showing
    from journal.cli.signals import like_ctrl_c
    from journal.serve.standing import keep_up

    engine = journal.Engine(
        model=model,
        quantisation=quantisation,
        dtype=dtype,
        tensor_parallel=tensor_parallel,
        pipeline_parallel=pipeline_parallel,
        max_model_len=max_model_len,
        python=python,
        flags=tuple(flags or ()),
    )
    key, up = _key_to_require() if require_key else None, False
    with like_ctrl_c() as signals:
        try:
            with ExitStack() as stack:
                with showing(quiet=json) as listener:
                    kept = journal.serve(
                        engine, home, host=host, port=port, api_key=key, listener=listener
                    )
                    endpoint = stack.enter_context(kept)
                up = True
                _announce(endpoint, host, json)
                keep_up(endpoint)
        except KeyboardInterrupt:
            if not json:
                echo("stopped", file=sys.stderr)
            raise typer.Exit(0 if up else signals.exit_code) from None


def _key_to_require() -> str:
    from journal.errors import UsageError

    key = os.environ.get("JOURNAL_API_KEY")
    if not key:
        raise UsageError("--require-key needs a key to require: set JOURNAL_API_KEY")
    return key


def _announce(endpoint: "Endpoint", host: str, json: bool) -> None:
    """Say where the server is and how to ask it."""
    from journal.chat.ask import Question, curl
    from journal.cli.render import print_json
    from journal.serve.endpoint import is_loopback

    facts, key = endpoint.facts, "JOURNAL_API_KEY" if endpoint.api_key else None
    if json:
        about = {"base_url": endpoint.base_url, "model": endpoint.model, "log": facts.log_path}
        names = "version start_s weights_bytes kv_pool_bytes kv_pool_tokens".split()
        print_json(about | {name: getattr(facts, name) for name in names})
        sys.stdout.flush()
        return
    question = Question(
        base_url=endpoint.base_url,
        model=endpoint.model,
        messages=({"role": "user", "content": EXAMPLE},),
        settings={"max_tokens": 256},
    )
    echo(f"base URL  {endpoint.base_url}\nmodel     {endpoint.model}\n{_facts(endpoint)}")
    print(f"log       {facts.log_path}\n\n{curl(question, key)}\n")
    echo("or, in another terminal: journal ask, journal watch. Ctrl-C ends it.", flush=True)
    if key is None and not is_loopback(host):
        echo(
            f"anyone who reaches {host} can use it: serve with --require-key to ask for a key",
            file=sys.stderr,
        )


def _facts(endpoint: "Endpoint") -> str:
    facts = endpoint.facts
    parts = [f"vLLM {facts.version or 'of unknown version'}"]
    if facts.start_s is not None:
        parts.append(f"up after {units.seconds(facts.start_s)}")
    if facts.weights_bytes is not None:
        parts.append(f"weights {units.data_size(facts.weights_bytes)}")
    if facts.kv_pool_tokens is not None:
        size = units.data_size(facts.kv_pool_bytes)
        parts.append(f"KV pool {size} for {facts.kv_pool_tokens:,} tokens")
    return f"engine    {', '.join(parts)}"
