"""Questions to several servers at the same time, for the chat page."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from journal.chat.ask import (
    LATE,
    STOPPED,
    Question,
    asked_otherwise,
    begun,
    connection,
    encoding_of,
    failure_reason,
    sent,
    streamed,
    transport,
    without_key,
)
from journal.chat.bounds import TIMEOUT_S, Head, bounded_async
from journal.chat.hearing import Hearing
from journal.errors import EndpointError
from journal.load.wire import AFTER_DONE_S
from journal.records.engine import Access
from journal.records.notebook import Interaction
from journal.redaction import in_url, remember, shown_url
from journal.serve.endpoint import models_of
from journal.serve.probe import NO_ACCESS

if TYPE_CHECKING:
    from openai import AsyncOpenAI

SHOW_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class Server:
    """A server by its base URL, and what it lets a client in by."""

    base_url: str
    access: Access = NO_ACCESS

    def models(self) -> list[str]:
        """The names of the models that it serves. Raises EndpointError where it does not say."""
        names = list(models_of(self.base_url, self.access))
        if not names:
            raise EndpointError(
                f"{shown_url(self.base_url)} does not say what it serves: "
                "give the base URL of an OpenAI-compatible server"
            )
        return names


class Pending:
    """One question on its way, with the part of its answer that has come."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self._hearing = Hearing(begun(question))
        self._ended: dict[str, Any] = {}
        self._client = _client(question)
        self._completions: Any = self._client.chat.completions  # a part that is loaded when used
        self._stop = asyncio.Event()
        self._began_s = time.monotonic()

    @property
    def so_far(self) -> Interaction:
        """The interaction with the part of the answer that has come."""
        return replace(without_key(self._hearing.so_far, self.question), **self._ended)

    async def read(self) -> None:
        """Read the answer to its end, or until `stop`. A failure stands in `so_far.error`."""
        self._began_s = time.monotonic()
        async with self._client:
            reading = asyncio.create_task(self._read())
            stopping = asyncio.create_task(self._stop.wait())
            both, first = [reading, stopping], asyncio.FIRST_COMPLETED
            await asyncio.wait(both, timeout=TIMEOUT_S, return_when=first)
            self._ended = {"duration_s": self._elapsed_s()}
            stopping.cancel()
            if not reading.done():
                reading.cancel()
                late = LATE.format(TIMEOUT_S)
                self._ended["error"] = STOPPED if self._stop.is_set() else late
            elif isinstance(error := reading.exception(), Exception):
                self._ended["error"] = failure_reason(error, self.question)
            await asyncio.gather(reading, stopping, return_exceptions=True)

    def stop(self) -> None:
        """End the reading soon; may be called from any thread."""
        _loop().call_soon_threadsafe(self._stop.set)

    async def _read(self) -> None:
        try:
            await self._read_there()
        except Exception as error:
            moved = asked_otherwise(error, self.question)
            if moved is None:
                raise
            self.question, self._hearing = moved, Hearing(begun(moved))
            async with _client(moved) as client:
                self._completions = client.chat.completions
                await self._read()

    async def _read_there(self) -> None:
        create = self._completions.with_streaming_response.create
        async with create(**sent(self.question), **streamed(self.question)) as response:
            self._hearing.packed(encoding_of(response))
            left_open = False
            try:
                async with asyncio.timeout(None) as limit:
                    async for data in response.http_response.aiter_raw():
                        self._hearing.hear(data, self._elapsed_s())
                        if self._hearing.done and limit.when() is None:
                            limit.reschedule(asyncio.get_running_loop().time() + AFTER_DONE_S)
            except TimeoutError:
                if not self._hearing.done:
                    raise
                left_open = True
            self._hearing.end(self._elapsed_s(), left_open=left_open)

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began_s


async def together(questions: Sequence[Pending], stop: asyncio.Event) -> AsyncGenerator[None, None]:
    """Read all answers at the same time; yield every SHOW_EVERY_S seconds so that they can be
    shown. Ends when all have ended, when `stop` is set, and when the caller stops listening."""
    readings = [asyncio.run_coroutine_threadsafe(one.read(), _loop()) for one in questions]
    ended = asyncio.gather(*map(asyncio.wrap_future, readings))
    stopping = asyncio.create_task(stop.wait())
    waiting: list[asyncio.Future[Any]] = [ended, stopping]
    try:
        while not stop.is_set() and not ended.done():
            await asyncio.wait(waiting, timeout=SHOW_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
            yield
    finally:
        stopping.cancel()
        for one in questions:
            one.stop()
        await ended


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """A loop in a thread of its own, so that drawing the page does not delay the time stamps."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="chat answers", daemon=True).start()
    return loop


def _client(question: Question) -> "AsyncOpenAI":
    import openai

    remember(*question.access.secrets, *in_url(question.base_url))

    async def watch(request: Any) -> None:
        Head().watch(request)

    return openai.AsyncOpenAI(
        **connection(question),
        http_client=openai.DefaultAsyncHttpx2Client(
            **transport(question),
            event_hooks={"request": [watch], "response": [bounded_async]},
        ),
    )
