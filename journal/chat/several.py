"""Questions to several servers at once, without waiting in turn: for the chat page."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from journal.chat.ask import STOPPED, TIMEOUT_S, Question, connection, reason
from journal.errors import EndpointError
from journal.records.notebook import Interaction
from journal.serve.endpoint import models_of
from journal.store.store import new_id

if TYPE_CHECKING:
    from openai import AsyncOpenAI

SHOW_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class Server:
    """A server by its base URL, which ends with /v1."""

    base_url: str
    api_key: str | None = field(default=None, repr=False)

    def models(self) -> list[str]:
        """The names of what it serves. Raises EndpointError."""
        names = list(models_of(self.base_url, self.api_key))
        if not names:
            raise EndpointError(
                f"{self.base_url} does not say what it serves: "
                "give the base URL of an OpenAI-compatible server"
            )
        return names


class Asked:
    """One question on its way. `so_far` is it with as much of the answer as has come."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.so_far = Interaction(
            id=new_id(),
            source=question.source,
            asked_at=datetime.now(UTC),
            base_url=question.base_url,
            model=question.model,
            api=question.api,
            messages=question.messages,
            settings=question.settings,
        )
        self._client = _client(question)
        self._completions: Any = self._client.chat.completions  # a part that is loaded when used
        self._stop = asyncio.Event()
        self._began_s = time.monotonic()

    async def read(self) -> None:
        """Reads the answer to its end, or until it is to stop. What went wrong stands in
        `so_far.error`."""
        self._began_s = time.monotonic()
        async with self._client:
            reading = asyncio.create_task(self._read())
            stopping = asyncio.create_task(self._stop.wait())
            await asyncio.wait([reading, stopping], return_when=asyncio.FIRST_COMPLETED)
            self._note(duration_s=self._elapsed_s())
            stopping.cancel()
            if not reading.done():
                reading.cancel()
                self._note(error=STOPPED)
            elif isinstance(error := reading.exception(), Exception):
                self._note(error=reason(error, self.question))
            elif self.so_far.finish_reason is None:
                self._note(error="the answer was cut off: see the server's log")
            await asyncio.gather(reading, stopping, return_exceptions=True)

    def stop(self) -> None:
        """Ends the reading soon; from any thread."""
        _loop().call_soon_threadsafe(self._stop.set)

    async def _read(self) -> None:
        stream = await self._completions.create(
            **self.question.body, stream=True, stream_options={"include_usage": True}
        )
        async for chunk in stream:
            at_s = self._elapsed_s()
            for choice in chunk.choices:
                self._add(choice.delta, at_s)
                if choice.finish_reason is not None:
                    self._note(finish_reason=choice.finish_reason)
            if chunk.usage is not None:
                self._note(
                    prompt_tokens=chunk.usage.prompt_tokens,
                    output_tokens=chunk.usage.completion_tokens,
                )

    def _add(self, delta: Any, at_s: float) -> None:
        """The text of one piece; the first with any ends the TTFT, be it answer or thought."""
        text = delta.content or getattr(delta, "reasoning", None) or ""
        if text:
            first_s = at_s if self.so_far.ttft_s is None else self.so_far.ttft_s
            self._note(answer=self.so_far.answer + text, ttft_s=first_s, duration_s=at_s)

    def _note(self, **values: Any) -> None:
        self.so_far = replace(self.so_far, **values)

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began_s


async def together(asked: Sequence[Asked], stop: asyncio.Event) -> AsyncGenerator[None, None]:
    """Reads all answers at the same time; yields every `SHOW_EVERY_S` so that they can be shown.
    Ends when all have ended, when `stop` is set, and when the caller stops to listen."""
    readings = [asyncio.run_coroutine_threadsafe(one.read(), _loop()) for one in asked]
    ended = asyncio.gather(*map(asyncio.wrap_future, readings))
    stopping = asyncio.create_task(stop.wait())
    waiting: list[asyncio.Future[Any]] = [ended, stopping]
    try:
        while not stop.is_set() and not ended.done():
            await asyncio.wait(waiting, timeout=SHOW_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
            yield
    finally:
        stopping.cancel()
        for one in asked:
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

    return openai.AsyncOpenAI(
        base_url=question.base_url,
        api_key=question.api_key or "none",
        max_retries=0,  # a retry in silence would be told as a slow answer
        timeout=TIMEOUT_S,
        http_client=openai.DefaultAsyncHttpx2Client(**connection(question)),
    )
