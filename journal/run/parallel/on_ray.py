"""Engines on the hosts of a Ray cluster: each is a Ray task that measures its engine on the host
where it runs and sends the results to the driver, this process.

Ray chooses the hosts and runs the task of a lost host again elsewhere. Results that had arrived by
then are not measured again.
"""

import asyncio
import logging
import os
import signal
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from journal.errors import EngineError, MissingExtra, SpecError
from journal.private import make_folder
from journal.records.experiment import Engine
from journal.records.run import Record
from journal.run.parallel.collector import Collector, task_place
from journal.run.parallel.messages import Arrived, Made, Message, Task
from journal.run.parallel.worker import Worker, died_of

RETRIES = 3  # of a task whose host was lost: a task that breaks its hosts must end
BEAT_S = 0.5  # between two looks at whether there is news, or the driver asks to stop
FAREWELL_S = 60.0  # for tasks that have to stop, and may have engines to end
OWN_THREADS = "OMP_NUM_THREADS"  # which Ray sets for its tasks, and an engine chooses better


@contextmanager
def cluster() -> Iterator["Cluster"]:
    """Connect to the Ray cluster at RAY_ADDRESS, or start one on this host alone, which listens on
    loopback; either way for as long as the block lasts.

    Raises MissingExtra without Ray, and EngineError where the cluster does not answer.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")  # of many minutes in all
    address = os.environ.get("RAY_ADDRESS")
    if address is None:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # Ray's word for loopback
    try:
        import ray
    except ImportError:
        raise MissingExtra("--on ray", "ray") from None
    if ray.is_initialized():  # the program that uses this library did it
        yield Cluster(ray)
        return
    terminate = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address or "local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise EngineError(
            f"no Ray cluster answers at {address or 'this host'} ({reason}): check RAY_ADDRESS"
        ) from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminate)  # Ray put its own in place
    try:
        yield Cluster(ray)
    finally:
        ray.shutdown()


class Cluster:
    """The hosts of a Ray cluster, to which tasks are sent. `ray` is the module."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray

    def check(self, engines: Sequence[Engine]) -> None:
        """Refuse (SpecError) an engine that needs more GPUs than any host of the cluster has."""
        most = max(self._of_each("GPU"), default=0)
        for engine in engines:
            if most and engine.gpu_count > most:
                raise SpecError(
                    f"{engine.model} needs {engine.gpu_count} GPUs on one host, and no host "
                    f"of this Ray cluster has more than {most:g}: lower tensor_parallel"
                )

    def measure(self, collector: Collector) -> None:
        """Measure the tasks of `collector`. On KeyboardInterrupt each stops as it does alone, and
        its measured runs are collected first; at a second one its engine is killed. Raises
        EngineError where Ray fails."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(
            self._ray.get_runtime_context().get_node_id(), soft=False
        )
        mailbox = self._ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=here).remote()
        work = self._ray.remote(_work)
        running = {
            work.options(**self.needs(task.engine)).remote(
                replace(task, known={}), number, mailbox
            ): (number)
            for number, task in enumerate(collector.tasks)
        }
        try:
            _Driver(self._ray, mailbox, running, collector).follow()
        except self._ray.exceptions.RayError as error:
            raise EngineError(f"Ray failed ({_line_of(error)}): look at ray status") from error

    @staticmethod
    def place(number: int, news: Arrived) -> str:
        """The place of a task in the cluster in a few words: its host and its GPUs."""
        return f"{news.host}, {task_place(number, news)}"

    def needs(self, engine: Engine) -> dict[str, Any]:
        """The resources that the task of `engine` takes of a host: its GPUs, with a processor for
        each; in a cluster without GPUs a whole host, because an engine on a CPU takes all of it."""
        gpus = engine.gpu_count if any(self._of_each("GPU")) else 0
        cpus = gpus or min(filter(None, self._of_each("CPU")), default=1)
        return {
            "num_gpus": gpus,
            "num_cpus": cpus,
            "max_retries": RETRIES,
            "scheduling_strategy": "SPREAD",
        }

    def _of_each(self, resource: str) -> list[float]:
        """The amount of a resource that each host has."""
        hosts = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        return [float(host.get(resource, 0)) for host in hosts]


# ---- the driver --------------------------------------------------------------------------------


class _Driver:
    """The driver, which collects the messages of `running` tasks (references, and their numbers in
    `collector`)."""

    def __init__(
        self, ray: Any, mailbox: Any, running: dict[Any, int], collector: Collector
    ) -> None:
        self._ray, self._mailbox, self._running, self._collector = ray, mailbox, running, collector
        self._seen = 0
        self._begun: set[int] = set()

    def follow(self) -> None:
        try:
            while self._running:
                self._hear()
        except KeyboardInterrupt:
            self._ray.get(self._mailbox.interrupt.remote())
            while self._begun & set(self._running.values()):
                self._hear(stopped=True)
            raise
        finally:
            if self._running:
                self._break_off()

    def _hear(self, *, stopped: bool = False) -> None:
        """Act on the messages that have come, then on the tasks that are over."""
        over, _ = self._ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        for message_number, number, message in self._ray.get(
            self._mailbox.collect.remote(self._seen)
        ):
            try:
                if message is None:
                    self._begun.add(number)
                    known = None if stopped else self._collector.records
                    self._mailbox.answer.remote(message_number, known)
                else:
                    self._collector.take(number, message, self._answering(message_number))
            finally:
                self._seen = message_number
        for reference in over:
            number = self._running.pop(reference)
            why = self._end_of(reference, number)
            self._collector.leave(number, None if stopped else why)

    def _answering(self, message_number: int) -> Any:
        return lambda record: self._mailbox.answer.remote(message_number, record)

    def _end_of(self, reference: Any, number: int) -> str:
        """The reason why cells of a task that is over may be missing. Its engine's log is stored
        with the others."""
        try:
            code, log = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            why = "look at ray status, and have this version of journal on every host"
            return f"its Ray task failed ({_line_of(error)}): {why}"
        if log:
            path = self._collector.tasks[number].log_path
            make_folder(path.parent)
            path.touch(mode=0o600)
            path.write_bytes(log)
        return died_of(code)

    def _break_off(self) -> None:
        """End all tasks; those with engines get FAREWELL_S to stop them."""
        self._mailbox.close.remote()
        begun = [reference for reference, number in self._running.items() if number in self._begun]
        if begun:
            self._ray.wait(begun, num_returns=len(begun), timeout=FAREWELL_S)
        for reference in self._running:
            self._ray.cancel(reference, force=True)


def _line_of(error: Exception) -> str:
    """The error of Ray, or of the program that failed under it, in one line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1] if hasattr(error, "cause") else lines[0]


class Mailbox:
    """The mailbox in which messages wait for the driver, and senders for its answers: an actor on
    the driver's host."""

    def __init__(self) -> None:
        self._messages: list[tuple[int, int, Message | None]] = []
        self._count = self._interrupts = 0
        self._closed = False
        self._came = asyncio.Event()
        self._answers: dict[int, asyncio.Future[Any]] = {}

    async def send(self, number: int, message: Message | None) -> int:
        """Leave a message of a task; return how often the tasks were interrupted."""
        if message is not None:
            self._put(number, message)
        return self._interrupts

    async def ask(self, number: int, message: Message | None) -> Any:
        """Leave a message and wait for the answer. A message None asks for the records that have
        arrived."""
        if self._closed:
            return _unread(message)
        answer = asyncio.get_running_loop().create_future()
        self._answers[self._put(number, message)] = answer
        return await answer

    async def collect(self, after: int) -> list[tuple[int, int, Message | None]]:
        """The messages after number `after`, each with its number and the number of its task; waits
        up to BEAT_S for one."""
        self._messages = [message for message in self._messages if message[0] > after]
        if not self._messages:
            self._came.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._came.wait(), BEAT_S)
        return self._messages

    async def answer(self, message_number: int, answer: Any) -> None:
        waiting = self._answers.pop(message_number, None)
        if waiting is not None and not waiting.done():  # its host may be lost
            waiting.set_result(answer)

    async def interrupt(self) -> None:
        self._interrupts += 1

    async def close(self) -> None:
        """End the answers of the driver: interrupt the tasks, and answer every sender that
        waits."""
        self._interrupts += 1
        self._closed = True
        for message_number, _, message in self._messages:
            await self.answer(message_number, _unread(message))

    def _put(self, number: int, message: Message | None) -> int:
        self._count += 1
        self._messages.append((self._count, number, message))
        self._came.set()
        return self._count


def _unread(message: Message | None) -> Record | None:
    """The answer to a message that was not acted on."""
    return message.news.record if message is not None and isinstance(message.news, Made) else None


# ---- on the host of an engine ------------------------------------------------------------------


def _work(task: Task, number: int, mailbox: Any) -> tuple[int, bytes]:
    """Measure a task on this host, in a process that shares nothing with Ray's; return its exit
    code and the engine's log."""
    known = _value(mailbox.ask.remote(number, None))
    if known is None:
        return 0, b""
    os.environ.pop(OWN_THREADS, None)
    with tempfile.TemporaryDirectory(prefix="journal-") as folder:
        log_path = Path(folder) / task.log_path.name
        worker = Worker(replace(task, known=known, log_path=log_path, remote=True), {})
        interrupts = 0
        while True:
            message = worker.receive() if worker.pipe.poll(BEAT_S) else None
            if worker.closed:
                break
            if message is not None and isinstance(message.news, Made):
                made = replace(message, news=_as_at_home(message.news, log_path, task.log_path))
                worker.answer(_value(mailbox.ask.remote(number, made)))
                continue
            wanted = _value(mailbox.send.remote(number, message))
            for _ in range(interrupts, wanted):
                worker.interrupt()
            interrupts = wanted
        return worker.end(), log_path.read_bytes() if log_path.exists() else b""


def _value(reference: Any) -> Any:
    """Wait for a value. Within ray.get Ray would give this task's processors to another one."""
    return reference.future().result()


def _as_at_home(made: Made, there: Path, here: Path) -> Made:
    """The run with the path at which the driver stores its engine's log."""
    if made.record.facts.log_path is not None:
        facts = replace(made.record.facts, log_path=str(here))
        made = Made(
            replace(made.record, facts=facts), made.samples and replace(made.samples, facts=facts)
        )
    error = made.record.error and made.record.error.replace(str(there), str(here))
    return replace(made, record=replace(made.record, error=error))
