"""Conversations: users who send turn after turn, each with all that was said before it."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from journal.errors import EndpointError
from journal.load.alarm import Alarm
from journal.load.answer import AnswerReader
from journal.load.backlog import Backlog
from journal.load.client import Client
from journal.load.supply import Supply
from journal.records.request import Request, Trace
from journal.serve.engines.vllm.request_fields import TOKEN_IDS


class Talk:
    """One conversation so far. `ask` makes the request of its next turn, `hear` takes the answer to
    it; a turn that failed leaves nothing behind, and the user goes on without it."""

    def __init__(self) -> None:
        self._said: list[Any] | str | None = None  # messages, token ids, or a text
        self._tokens = 0  # in it, by the server's count
        self._asked: list[Any] | str = ""
        self._gives_ids = True
        self.waiting = False

    def ask(self, request: Request) -> Request:
        """The request of a turn, with what was said before it. Raises EndpointError where the
        server did not give the ids of an answer that this turn has to repeat."""
        if not self._gives_ids:
            raise EndpointError(
                f"the server gives no ids of the tokens of its answers ({TOKEN_IDS}), and a "
                "conversation of random tokens repeats them: give --api chat"
            )
        self.waiting = True
        fields = json.loads(request.content)
        part = "messages" if "messages" in fields else "prompt"
        self._asked = fields[part]
        if self._said is None:
            return request
        self._asked = _joined(self._said, fields[part])
        fields[part] = self._asked
        body = json.dumps(fields, separators=(",", ":")).encode()
        whole = self._tokens + request.prompt_tokens
        return replace(request, body=body, prompt_tokens=whole)

    def hear(self, answer: AnswerReader, trace: Trace) -> None:
        """Take the answer to the turn that was asked last."""
        self.waiting = False
        if not trace.answered:
            return
        answered: list[Any] | str = answer.text
        if isinstance(self._asked, list):
            chat = isinstance(self._asked[0], dict)
            message = {"role": "assistant", "content": answer.text}
            answered = [message] if chat else answer.token_ids
            self._gives_ids = bool(answered)
        self._said = _joined(self._asked, answered)
        read, written = trace.prompt_tokens, trace.tokens
        self._tokens = trace.prompt_tokens_asked if read is None else read
        self._tokens += trace.output_tokens_asked if written is None else written


def _joined(said: list[Any] | str, more: list[Any] | str) -> list[Any] | str:
    """What was said and what follows it."""
    if isinstance(said, list) and isinstance(more, list):
        return [*said, *more]
    return f"{said} {more}"


def talks(requests: Sequence[Request]) -> list[list[Request]]:
    """The turns of each conversation, in order."""
    groups = groupby(requests, key=lambda request: request.conversation)
    return [list(turns) for _, turns in groups]


async def converse(
    client: Client, supply: Supply, users: int, backlog: Backlog, begin_s: float, alarm: Alarm
) -> None:
    """Have `users` users hold the conversations, one after the other. They begin one after another
    within the time that they think. Raises EndpointError where a turn cannot go on."""

    async def user(number: int) -> None:
        due_s: float | None = None
        while not backlog.is_lost(users) and (turns := supply.take()) is not None:
            talk = Talk()
            due_s = begin_s + number / users * turns[0].think_s if due_s is None else due_s
            for turn in turns:
                request = talk.ask(turn)
                await alarm.until(due_s)
                if backlog.is_lost(users) or supply.over:
                    return
                exchange = await client.exchange(request)
                exchange.on_read = talk.hear
                backlog.add(exchange)
                while talk.waiting:  # what was answered is part of what is asked next
                    backlog.work()
                    await asyncio.sleep(0)
                due_s = exchange.end_s + turn.think_s

    try:
        async with asyncio.TaskGroup() as tasks:
            for number in range(users):
                tasks.create_task(user(number))
    except* EndpointError as group:
        raise group.exceptions[0] from None
