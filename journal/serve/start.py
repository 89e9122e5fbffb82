"""One engine that the journal runs itself: checked before its start, started under a guard, waited
for, read, and stopped so that nothing of it remains."""

import ipaddress
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from journal.errors import EndpointError, EngineError, MeasureError, SpecError
from journal.records.engine import Access, Endpoint, EngineFacts, GpuName
from journal.records.experiment import Engine
from journal.records.progress import Event, Listener, ignore
from journal.redaction import among, hidden, remember, secrets_of_engine
from journal.serve import gpu_memory, interpreter, models, sharing
from journal.serve import process_tree as process
from journal.serve.endpoint import HOST, VOCABULARY, attach, listeners
from journal.serve.engines.kind import EngineKind
from journal.serve.engines.log_lines import tail
from journal.serve.engines.vllm.flags import flag_name
from journal.serve.engines.vllm.packages import numbers
from journal.serve.engines.vllm.vllm import VLLM
from journal.serve.probe import fetch
from journal.units import data_size, seconds

POLL_S = 0.25
HEALTH_S = 5.0
HURRY_S = 3.0  # for an engine to end after a Ctrl-C, whose sender waits
KILLED = 128 + signal.SIGKILL


# ---- before the start --------------------------------------------------------------------------


def check_engine(engine: Engine, kind: EngineKind = VLLM) -> None:
    """Check everything that can be wrong before the engine starts, within a second.

    Raises SpecError, in one sentence, for: an interpreter that does not run or lacks `kind` or has
    too old a version of it, a model that is not there, a context longer than the model's, a model
    that cannot be spread as asked, more GPUs than there are, and flags that the journal sets itself
    or that hold secrets; MissingExtra for an embedded model that cannot be made.
    """
    if not sys.platform.startswith("linux"):
        raise SpecError(
            f"{kind.name} is started on Linux only: name a server with --endpoint instead"
        )
    _check_flags(engine, kind)
    installation = interpreter.ask_interpreter(engine, kind)
    _check_version(installation)
    models.check_model(engine, installation)
    _check_context(engine, kind)
    sharing.check_shares(engine, installation)


def context_length(engine: Engine, kind: EngineKind = VLLM) -> int | None:
    """The longest prompt and output together, in tokens, that `engine` will serve; None where that
    is not known before it starts."""
    if engine.max_model_len is not None:
        return engine.max_model_len
    on_cpu = interpreter.ask_interpreter(engine, kind).on_cpu
    return kind.context_tokens(engine, models.longest_context(engine), on_cpu=on_cpu)


def gpus_wanted(engine: Engine, kind: EngineKind = VLLM) -> int:
    """The number of GPUs that `engine` will use; 0 on a CPU."""
    return 0 if interpreter.ask_interpreter(engine, kind).on_cpu else engine.gpu_count


def gpus_of(engine: Engine, kind: EngineKind = VLLM) -> tuple[GpuName, ...]:
    """The GPUs of this host that `engine` will use, as far as the driver shows them. Raises
    SpecError where CUDA_VISIBLE_DEVICES names a GPU that is not here."""
    wanted = gpus_wanted(engine, kind)
    try:
        return gpu_memory.visible_to(_environment(engine, kind)).gpus[:wanted] if wanted else ()
    except MeasureError:  # the meters report it
        return ()


def _check_flags(engine: Engine, kind: EngineKind) -> None:
    for flag in map(flag_name, engine.flags):
        if flag in kind.reserved_flags:
            raise SpecError(f"the engine flag {flag} is chosen by journal itself: leave it out")
        if flag in kind.field_flags:
            field = kind.field_flags[flag]
            raise SpecError(f"the engine flag {flag} has a field of its own: set engine.{field}")
        if flag in kind.secret_flags:
            raise SpecError(
                f"the engine flag {flag} would show a secret in the process list: leave it out, "
                "and set HF_TOKEN in the environment where the hub asks for it"
            )
    if secrets_of_engine({}, engine.flags):
        raise SpecError(
            "an engine flag holds a key or a token by its name, which would show it in the process "
            "list: leave it out, and give it by a variable of engine.env"
        )


def _check_version(installation: interpreter.Interpreter) -> None:
    kind = installation.kind
    if installation.version is None:
        raise SpecError(
            f"{installation.python} has no {kind.name}: {kind.install}, set engine.python to an "
            "environment that has it, or name a server with --endpoint"
        )
    if numbers(installation.version) < kind.oldest:
        raise SpecError(
            f"{kind.name} {installation.version} in {installation.python} is older than "
            f"{'.'.join(map(str, kind.oldest))}: update it"
        )


def _check_context(engine: Engine, kind: EngineKind) -> None:
    longest, variable = models.longest_context(engine), kind.long_context_variable
    allowed = variable and interpreter.engine_variables(engine, kind).get(variable) == "1"
    if engine.max_model_len is None or longest is None or allowed:
        return
    if engine.max_model_len > longest:
        raise SpecError(
            f"max_model_len {engine.max_model_len} is longer than the context of {longest} of "
            f"{engine.model}: lower it"
        )


# ---- from start to stop ------------------------------------------------------------------------


@contextmanager
def start(
    engine: Engine,
    log_path: Path,
    listener: Listener = ignore,
    *,
    kind: EngineKind = VLLM,
    host: str = HOST,
    port: int | None = None,
    name: str | None = None,
    api_key: str | None = None,
) -> Iterator[Endpoint]:
    """Serve `engine` for as long as the block lasts; its output goes to `log_path`. It listens at
    the IP address `host` (loopback) on `port` (any free one), answers to the model name `name` (a
    random one), and, where `api_key` is given, takes only requests with that key.

    Raises what `check` and `models.prepare` raise; EngineError, with the cause from the log and its
    last lines, when the engine dies, does not answer within `engine.start_timeout_s`, or has died
    by the end of the block; EngineOutOfMemory when it lacked memory. However the block is left, and
    however this process ends, no process of the engine remains.
    """
    remember(api_key, *(secrets_of_engine(engine.env, engine.flags) or ()))
    check_engine(engine, kind)
    model = models.prepare(engine, listener)
    installation = interpreter.ask_interpreter(engine, kind)
    env = _environment(engine, kind) | ({kind.key_variable: api_key} if api_key else {})
    used = gpus_of(engine, kind)
    baseline_bytes = gpu_memory.held_bytes(used) if used else None
    name, port = name or f"journal-{secrets.token_hex(4)}", _free_port(host, port)
    argv = kind.command(
        engine,
        python=installation.python,
        model=model,
        name=name,
        host=host,
        port=port,
        version=installation.version or "",
        on_cpu=installation.on_cpu,
        longest=models.longest_context(engine),
    )
    began_s = time.monotonic()
    tree = process.start_guarded(argv, env=env, log_path=log_path)
    try:
        door = _Door(host, port, name, api_key)
        starting = _Starting(engine, kind, tree, log_path, env, door, began_s, listener)
        starting.wait()
        facts = replace(starting.facts(), argv=tuple(argv), version=installation.version)
        yield starting.endpoint(facts, used, baseline_bytes)
        if not tree.lives():
            tree.stop()
            event = f"{_ended(tree, kind)} while it served"
            raise kind.failure(event, _text(log_path, env), log_path)
    except KeyboardInterrupt:
        tree.stop(within_s=HURRY_S)
        raise
    finally:
        tree.stop()
        hide_secrets(log_path, env)
        if baseline_bytes is not None:
            gpu_memory.wait_for_release(used, baseline_bytes, listener)


def check_alive(endpoint: Endpoint, kind: EngineKind = VLLM) -> None:
    """Raise EngineError, with the cause, when the engine behind `endpoint` came from `start` and
    has died."""
    if endpoint.facts.log_path is None or endpoint.pid is None:
        return
    if not process.is_running(endpoint.pid):
        log_path = Path(endpoint.facts.log_path)
        event = f"{kind.name} died while it served"
        raise kind.failure(event, _text(log_path, os.environ), log_path)


@dataclass(frozen=True)
class _Door:
    """The address and the model name at which an engine is reached."""

    host: str
    port: int
    name: str
    api_key: str | None

    @property
    def url(self) -> str:
        """The address at which this host reaches the engine."""
        host = {"0.0.0.0": HOST, "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def listeners(self) -> set[int | None]:
        """The processes that may take requests to this address. A process that listens at any
        address comes after one that listens at this address."""
        any_address = ipaddress.ip_address(self.host).is_unspecified
        return listeners(self.port, None if any_address else self.host)


@dataclass(frozen=True)
class _Starting:
    """An engine between its start and its first answer."""

    engine: Engine
    kind: EngineKind
    tree: process.Guarded
    log_path: Path
    env: Mapping[str, str]
    door: _Door
    began_s: float
    listener: Listener

    def wait(self) -> None:
        """Return when this engine, and no other server, answers. Raises EngineError when it ends or
        does not answer in time."""
        kind, limit_s = self.kind, self.engine.start_timeout_s
        phase = f"starting {kind.name}"
        while not (self._answers() and self._is_ours()):
            took_s = time.monotonic() - self.began_s
            phases = [kind.phase(line) for line in _text(self.log_path, self.env).splitlines()]
            phase = next((begun for begun in reversed(phases) if begun), phase)
            shown = self._fetching() if phase == kind.fetching else phase
            step, steps = kind.passed(phase), len(kind.phases) + 1
            self.listener(Event("engine", f"{self.engine.model}: {shown}", step, steps))
            if self.tree.exit_code() is not None:
                event = f"{_ended(self.tree, kind)} after {seconds(took_s)} while it was {phase}"
                raise kind.failure(event, _text(self.log_path, self.env), self.log_path)
            if took_s > limit_s:
                raise EngineError(
                    f"{kind.name} did not answer within start_timeout_s = {limit_s:g} s and was "
                    f"last {phase}: raise engine.start_timeout_s, or look for the reason in "
                    f"{self.log_path}",
                    log_tail=tail(_text(self.log_path, self.env)),
                )
            time.sleep(POLL_S)

    def _fetching(self) -> str:
        """The progress of the download, where there is one: the log does not show it."""
        here = models.fetched_bytes(self.engine.model)
        if here is None:
            return self.kind.loading or "loading the weights"
        return f"downloading, {data_size(here)} are here"

    def endpoint(
        self, facts: EngineFacts, gpus: tuple[GpuName, ...], baseline_bytes: int | None
    ) -> Endpoint:
        """The engine as an endpoint, probed like any other server. `baseline_bytes` is the memory
        that its `gpus` held before. Raises EngineError where the first requests fail."""
        config = models.read_config(self.engine.model, self.engine.revision) or {}
        size = config.get("vocab_size", VOCABULARY[1])
        vocabulary = min(VOCABULARY[0], size // 2), min(VOCABULARY[1], size)
        try:
            door = self.door
            probed = attach(
                door.url,
                door.name,
                door.api_key,
                vocabulary=vocabulary,
                metric_names=self.kind.metric_names,
            )
        except EndpointError as error:
            event = f"{self.kind.name} started, and then failed its first requests ({error})"
            raise self.kind.failure(event, _text(self.log_path, self.env), self.log_path) from None
        version = probed.facts.version or facts.version
        facts = replace(facts, version=version, vram_baseline_bytes=baseline_bytes)
        return replace(probed, pid=self.tree.pid, gpus=gpus, facts=facts)

    def facts(self) -> EngineFacts:
        """The facts that the engine logged during its start."""
        return replace(
            self.kind.facts(_text(self.log_path, self.env).splitlines()),
            log_path=str(self.log_path),
            start_s=time.monotonic() - self.began_s,
            prefix_caching=self.engine.prefix_caching,
        )

    def _answers(self) -> bool:
        try:
            return fetch(f"{self.door.url}/health", timeout_s=HEALTH_S).status == 200
        except EndpointError:
            return False

    def _is_ours(self) -> bool:
        """Whether this engine answers; False where what answered is gone. An answer on the port
        proves nothing: two servers can share one, and both report that they are up. This engine is
        known by its name, and because no other process listens. Raises EngineError where another
        server answers."""
        ours, listening = {one.pid for one in self.tree.processes()}, self.door.listeners()
        models_url, access = f"{self.door.url}/v1/models", Access(self.door.api_key)
        try:
            served = fetch(models_url, access=access, timeout_s=HEALTH_S).json().get("data", [])
        except EndpointError:
            return False
        names = [entry.get("id") for entry in served]
        if listening - ours or not listening & ours or self.door.name not in names:
            pids = ", ".join(str(pid or "of another user") for pid in listening - ours) or "unknown"
            raise EngineError(
                f"port {self.door.port} is answered by another server (process {pids}) and not by "
                "the engine that was started on it: stop that server, or run again on another port",
                log_tail=tail(_text(self.log_path, self.env)),
            )
        return True


def _environment(engine: Engine, kind: EngineKind) -> dict[str, str]:
    """The engine's variables, without those that would override its settings."""
    overriding = kind.overriding_variables(engine)
    given = interpreter.engine_variables(engine, kind)
    env = {name: value for name, value in given.items() if name not in overriding}
    return env | ({"HF_HUB_OFFLINE": "1"} if engine.model == models.EMBEDDED else {})


def _free_port(host: str, port: int | None) -> int:
    """The port `port`, or any free one. Raises SpecError where `host` is not an IP address,
    EngineError when the port is taken."""
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        raise SpecError(
            f"{host!r} is not an IP address: listen at {HOST}, or at 0.0.0.0 for the network"
        ) from None
    with socket.socket(family) as probe:
        try:
            probe.bind((host, port or 0))
        except OSError as error:
            owners = ", ".join(str(pid) for pid in listeners(port or 0) if pid) or "unknown"
            raise EngineError(
                f"port {port} cannot be used ({error.strerror}, process {owners}): stop that "
                "process, or choose another port"
            ) from None
        return int(probe.getsockname()[1])


def _ended(tree: process.Guarded, kind: EngineKind) -> str:
    code = tree.exit_code()
    if code == KILLED:
        return (
            f"{kind.name} was killed (SIGKILL, as the kernel does when the host's memory runs out)"
        )
    if code is not None and code < 0:
        return f"{kind.name}'s guard was killed by signal {-code}, and {kind.name} with it"
    return f"{kind.name} died"


def _text(log_path: Path, env: Mapping[str, str]) -> str:
    """The log of an engine with the variables `env`, without the keys and tokens in them."""
    return hidden(log_path.read_text(errors="replace"), among(env))


def hide_secrets(log_path: Path, env: Mapping[str, str]) -> None:
    """Star out the keys and tokens of a process that has ended, in its log."""
    written = log_path.read_text(errors="replace")
    without = hidden(written, among(env))
    if without != written:
        log_path.write_text(without)
