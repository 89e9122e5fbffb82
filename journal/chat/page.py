"""A chat page on OpenAI-compatible servers, alone or two side by side; every answer is kept."""

import asyncio
import os
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from journal.chat.ask import Question
from journal.chat.markup import CSS, answer_html, question_html
from journal.chat.several import Pending, Server, together
from journal.errors import EndpointError, MissingExtra, SpecError, StoreError, UsageError
from journal.language import label, translated
from journal.records.notebook import Interaction
from journal.serve.endpoint import is_loopback
from journal.serve.own_page import is_from_elsewhere
from journal.serve.probe import printable
from journal.store.interactions import add_interaction
from journal.store.store import Store, new_id

if TYPE_CHECKING:
    import gradio as gr
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

USER = "journal"
# The page takes everything from its own server: a browser fetches nothing else, whatever a model
# may say, and no other site can show the page in a frame.
POLICY = b"default-src 'self' 'unsafe-inline' data: blob:; frame-ancestors 'none'"


# Whether the settings would cover the chat: the server is told by a cookie.
HEAD = """<script>
document.cookie = `narrow=${matchMedia("(max-width: 768px)").matches}; SameSite=Strict`;
</script>"""


def serve_chat(
    servers: Sequence[Server],
    store: Store,
    host: str = "127.0.0.1",
    port: int = 7860,
    *,
    password: str | None = None,
    announce: Callable[[str], None],
) -> None:
    """Serve the page on `host`:`port` until KeyboardInterrupt; `announce` receives its address.

    With two servers it opens side by side. `password`, for the user `journal`, is required where
    others than this machine can reach `host` (SpecError). Raises EndpointError for a server that
    does not answer, MissingExtra without Gradio, UsageError for a port that is not free.
    """
    if find_spec("gradio") is None:
        raise MissingExtra("the chat page", "chat")
    if not is_loopback(host) and not password:
        raise SpecError(
            f"--host {host} lets others in: give a password with --password-file or "
            "JOURNAL_CHAT_PASSWORD"
        )
    for server in servers:
        server.models()
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import openai  # noqa: F401 - takes seconds, which the first question need not wait for

    page = Desk(servers, store).page()
    try:
        page.launch(**_launch_options(host, port, password))
    except OSError:
        raise UsageError(f"cannot listen on {host} port {port}: choose another port") from None
    try:
        announce(f"http://{_bracketed(host)}:{port}/")
        threading.Event().wait()
    finally:
        page.close(verbose=False)


def _launch_options(host: str, port: int, password: str | None) -> dict[str, Any]:
    import gradio as gr
    from starlette.middleware import Middleware

    def admitted(user: str, given: str) -> bool:
        return user == USER and secrets.compare_digest(given.encode(), str(password).encode())

    return {
        "server_name": _bracketed(host),
        "server_port": port,
        "auth": admitted if password else None,
        "prevent_thread_lock": True,
        "quiet": True,
        "share": False,
        "ssr_mode": False,
        "pwa": False,
        "mcp_server": False,
        "enable_monitoring": False,
        "run_history": False,
        "footer_links": [],
        "max_file_size": "1kb",  # the page takes no files
        "theme": gr.themes.Default(
            primary_hue="indigo",
            font=["system-ui", "sans-serif"],
            font_mono=["ui-monospace", "monospace"],
        ),
        "css": CSS,
        "head": HEAD,
        "app_kwargs": {
            "middleware": [Middleware(_Guard, host=host)],
            "docs_url": None,
            "redoc_url": None,
        },
    }


def _bracketed(host: str) -> str:
    """`host` as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


class _Guard:
    """The middleware that adds the page's policy to every response, and refuses what comes for
    another name or from another site's page, but for a link to the page itself."""

    def __init__(self, app: "ASGIApp", host: str) -> None:
        self.app = app
        self.host = host

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        async def guarded(message: "Message") -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", POLICY)
                message["headers"] = [*message.get("headers", ()), policy]
            await send(message)

        if scope["type"] == "http" and self._is_refused(scope):
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body"})
        else:
            await self.app(scope, receive, guarded)

    def _is_refused(self, scope: "Scope") -> bool:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        site = headers.get(b"sec-fetch-site")
        if scope["method"] == "GET" and headers.get(b"sec-fetch-mode") == "navigate":
            site = None
        return is_from_elsewhere(self.host, headers.get(b"host"), headers.get(b"origin"), site)


@dataclass(frozen=True, slots=True)
class Turn:
    """One question, with the answers of the left and the right side (None: it was not asked)."""

    question: str
    answers: tuple[Interaction | None, Interaction | None]
    unkept: str | None = None
    ended: bool = True

    @classmethod
    def of(
        cls,
        text: str,
        questions: Sequence[Pending],
        *,
        unkept: str | None = None,
        ended: bool = True,
    ) -> "Turn":
        left, right = [*(one.so_far for one in questions), None][:2]
        return cls(text, (left, right), unkept, ended)


class Desk:
    """The page and the handlers of its buttons. A `choice` names a server by its place and a model,
    such as "0 simulated-model"."""

    def __init__(self, servers: Sequence[Server], store: Store) -> None:
        self.servers = servers
        self.store = store
        self._stops: dict[str, asyncio.Event] = {}  # of the sessions that are being answered

    # ---- the page ------------------------------------------------------------------------------

    def page(self) -> "gr.Blocks":
        """The parts of the page, connected with their handlers."""
        import gradio as gr

        page: gr.Blocks
        with gr.Blocks(analytics_enabled=False, title="journal chat", fill_height=True) as page:
            settings, beside, system, heat, length, clear = self._settings()
            with gr.Row(scale=1):
                left, left_choice, _ = self._side("left")
                right, right_choice, column = self._side("right")
            with gr.Row():
                asked = {"placeholder": label("Ask"), "autofocus": True, "elem_id": "ask"}
                box = gr.Textbox(show_label=False, scale=8, **asked)
                send = gr.Button(label("Send"), variant="primary", elem_id="send", min_width=90)
                stop = gr.Button(label("Stop"), interactive=False, elem_id="stop", min_width=90)
            turns, session = gr.State([]), gr.State(new_id)
            outputs = [box, left, right, turns, send, stop, clear]
            inputs = [box, turns, beside, left_choice, right_choice, system, heat, length, session]
            gr.on(
                [box.submit, send.click],
                self.answered,
                inputs,
                outputs,
                show_progress="hidden",
                concurrency_limit=32,
            )
            stop.click(self.stopped, session, queue=False)
            clear.click(lambda: ([], [], []), None, [left, right, turns], queue=False)
            beside.change(lambda on: gr.Column(visible=on), beside, column, queue=False)
            page.load(self.choices, beside, [left_choice, right_choice, column])
            page.load(_folded_where_narrow(), None, settings, queue=False)
        return page

    def _settings(self) -> tuple[Any, ...]:
        """The sidebar, and what is set in it."""
        import gradio as gr

        with gr.Sidebar(width=300) as settings:
            beside = gr.Checkbox(
                len(self.servers) > 1, label=label("Side by side"), elem_id="beside"
            )
            system = gr.Textbox(label=label("System prompt"), lines=3, elem_id="system")
            heat = gr.Slider(
                0, 2, 0.7, step=0.05, label=label("Temperature"), elem_id="temperature"
            )
            length = gr.Slider(
                1, 4096, 256, step=1, label=label("Longest answer, tokens"), elem_id="length"
            )
            clear = gr.Button(label("Clear"), elem_id="clear")
        return settings, beside, system, heat, length, clear

    def _side(self, name: str) -> tuple["gr.Chatbot", "gr.Dropdown", "gr.Column"]:
        import gradio as gr

        with gr.Column(visible=name == "left" or len(self.servers) > 1) as column:
            choice = gr.Dropdown([], label=label("Model"), elem_id=f"{name}-model")
            chat = gr.Chatbot(
                elem_id=name,
                show_label=False,
                height="calc(100vh - 260px)",
                buttons=[],
                feedback_options=None,
                latex_delimiters=[],
                placeholder=label("Nothing asked yet."),
            )
        return chat, choice, column

    async def choices(self, beside: bool) -> tuple[Any, Any, Any]:
        """The models that the servers serve now, for the two choosers."""
        import gradio as gr

        offered: list[list[tuple[str, str]]] = []
        for place, server in enumerate(self.servers):
            try:
                models = await asyncio.to_thread(server.models)
            except EndpointError as error:
                gr.Warning(translated(str(error)))
                models = []
            where = f" at {urlsplit(server.base_url).netloc}" if len(self.servers) > 1 else ""
            offered.append([(f"{model}{where}", f"{place} {model}") for model in models])
        every = [choice for of_one in offered for choice in of_one]
        first = every[0][1] if every else None
        second = next((value for _, value in (offered[-1:] or [[]])[0]), first)
        if len(self.servers) == 1 and len(every) > 1:
            second = every[1][1]
        drop = gr.Dropdown
        return drop(every, value=first), drop(every, value=second), gr.Column(visible=beside)

    # ---- the handlers ----------------------------------------------------------------------------

    async def answered(
        self,
        text: str,
        turns: list[Turn],
        beside: bool,
        left: str | None,
        right: str | None,
        system: str,
        heat: float,
        length: int,
        session: str,
    ) -> AsyncIterator[tuple[Any, ...]]:
        """Ask one side or both, show the answers while they come, and keep them."""
        chosen = [left, right] if beside else [left]
        if not text.strip() or None in chosen or session in self._stops:
            return
        settings = {"temperature": float(heat), "max_tokens": int(length)}
        questions = [
            Pending(self._question(str(choice), _messages(turns, side, system, text), settings))
            for side, choice in enumerate(chosen)
        ]
        stop = self._stops[session] = asyncio.Event()
        try:
            yield self._shown(turns, Turn.of(text, questions, ended=False), box="")
            async with aclosing(together(questions, stop)) as steps:
                async for _ in steps:
                    yield self._shown(turns, Turn.of(text, questions, ended=False))
        finally:
            del self._stops[session]
            unkept = await asyncio.to_thread(self._keep, [one.so_far for one in questions])
        yield self._shown(turns, Turn.of(text, questions, unkept=unkept), ended=True)

    def stopped(self, session: str) -> None:
        """End the answers that this session is being given."""
        with suppress(KeyError):
            self._stops[session].set()

    def _question(
        self,
        choice: str,
        messages: tuple[dict[str, str], ...],
        settings: dict[str, float | int],
    ) -> Question:
        place, _, model = choice.partition(" ")
        server = self.servers[int(place)]
        return Question(
            base_url=server.base_url,
            model=model,
            messages=messages,
            settings=settings,
            api_key=server.access.api_key,
            headers=dict(server.access.headers),
            source="chat",
        )

    def _keep(self, answers: Sequence[Interaction]) -> str | None:
        """Record the answers. Returns the reason where they cannot be recorded."""
        try:
            for answer in answers:
                add_interaction(self.store, answer)
        except StoreError as error:
            return translated(f"not kept in the journal: {printable(str(error))}")
        return None

    def _shown(
        self, turns: list[Turn], last: Turn, *, box: str | None = None, ended: bool = False
    ) -> tuple[Any, ...]:
        """The values of all parts that change, with `last` under the turns before it."""
        import gradio as gr

        now = [*turns, last]
        buttons = gr.Button(interactive=ended), gr.Button(interactive=not ended)
        begun_or_ended = ended or box is not None
        return (
            gr.skip() if box is None else box,
            _bubbles(now, 0),
            _bubbles(now, 1) if last.answers[1] is not None else gr.skip(),
            now if ended else gr.skip(),
            *(buttons if begun_or_ended else (gr.skip(), gr.skip())),
            gr.Button(interactive=ended) if begun_or_ended else gr.skip(),
        )


def _folded_where_narrow() -> Callable[..., Any]:
    """The handler that opens the settings, but not in a narrow window, where they would cover the
    chat."""
    import gradio as gr

    def settings(request: gr.Request) -> gr.Sidebar:  # Gradio reads this type when it runs
        return gr.Sidebar(open=request.cookies.get("narrow") != "true")

    return settings


def _messages(
    turns: Sequence[Turn], side: int, system: str, text: str
) -> tuple[dict[str, str], ...]:
    """The messages for one side: the system prompt, its conversation so far, and `text`."""
    messages = [{"role": "system", "content": system}] if system.strip() else []
    for turn in turns:
        before = turn.answers[side]
        if before is not None and before.answer:
            messages.append({"role": "user", "content": turn.question})
            messages.append({"role": "assistant", "content": before.answer})
    return (*messages, {"role": "user", "content": text})


def _bubbles(turns: Sequence[Turn], side: int) -> list[dict[str, str]]:
    """The messages that the chat of one side shows."""
    bubbles = []
    for turn in turns:
        answer = turn.answers[side]
        if answer is not None:
            html = answer_html(answer, ended=turn.ended, unkept=turn.unkept)
            bubbles.append({"role": "user", "content": question_html(turn.question)})
            bubbles.append({"role": "assistant", "content": html})
    return bubbles
