"""A server of the simulator in the place of an engine, whose flags say what is wrong with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from journal.records.engine import Endpoint
from journal.records.experiment import Engine
from journal.records.progress import Listener
from journal.serve.endpoint import attach
from journal.simulator.http import Script, running

TOKEN_BYTES = 1000


def script_of(engine: Engine) -> Script:
    """At most --max-num-seqs requests at once, in a pool of kv_cache_memory_bytes; --useless and
    the like change nothing."""
    flags = engine.flags
    limit = int(flags[flags.index("--max-num-seqs") + 1]) if "--max-num-seqs" in flags else 64
    script = Script(model=engine.model, ttft_s=0.01, itl_s=0.004, max_running=limit)
    if engine.kv_cache_memory_bytes is None:
        return script
    tokens = engine.kv_cache_memory_bytes // TOKEN_BYTES
    return replace(script, kv_blocks=tokens // script.block_size)


@contextmanager
def serve(engine: Engine, log_path: Path, _: Listener) -> Iterator[Endpoint]:
    """What `journal.run` starts instead of vLLM."""
    with running(script_of(engine)) as url:
        endpoint = attach(url)
        facts = replace(endpoint.facts, log_path=f"{log_path}-{url}", argv=engine.flags)
        pool = engine.kv_cache_memory_bytes
        if pool is not None:
            facts = replace(facts, kv_pool_bytes=pool, kv_pool_tokens=pool // TOKEN_BYTES)
        yield replace(endpoint, facts=facts)
