"""The chat page: what it shows of an answer, how it asks, and the page in a real browser."""

import asyncio
import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.chat import page as chat
from journal.chat.ask import STOPPED, Question
from journal.chat.markup import answer_html, facts_line, question_html
from journal.chat.several import Pending, Server, together
from journal.errors import EndpointError, MissingExtra, SpecError
from journal.records.engine import Endpoint
from journal.records.notebook import Interaction
from journal.store.interactions import interactions
from journal.store.store import open_store

FakeServer = Callable[..., str]
needs_gradio = pytest.mark.skipif(find_spec("gradio") is None, reason="not installed: gradio")
HOSTILE = (
    "<img src=http://elsewhere.invalid/a.png onerror=alert(1)> <b>not bold</b> "
    "![see](http://elsewhere.invalid/b.png) [press](javascript:alert(1))\n\n"
    "</div><h1>big</h1>\n\n<script>document.title = 'taken'</script>\n\n"
    "```\n<i>code</i>\n\n    more\n```\n\n{{1+1}} ${1+1} $$x$$ **bold**"
)
MEANT = set("div p br em strong code pre ul ol li blockquote a hr h1 h2 h3 h4 h5 h6".split())
MEANT |= set("table thead tbody tr th td".split())


def interaction(**values: Any) -> Interaction:
    given: dict[str, Any] = {
        "id": "1",
        "source": "chat",
        "asked_at": datetime(2026, 11, 23, tzinfo=UTC),
        "base_url": "http://127.0.0.1:8000/v1",
        "model": "m",
        "api": "chat",
        "messages": ({"role": "user", "content": "?"},),
    }
    return Interaction(**given | values)


# ---- what is shown -----------------------------------------------------------------------------


class Tags(HTMLParser):
    """All tags and attributes of a piece of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


@given(st.one_of(st.text(), st.from_regex(r"[<>a-z/=\"'!\[\]()`~#*|\n&;:-]*", fullmatch=True)))
def test_an_answer_holds_no_html_of_the_models(text: str) -> None:
    for html in (answer_html(interaction(answer=text), ended=True), question_html(text)):
        assert "\n" not in html
        for tag, attributes in Tags(html).elements:
            assert tag in MEANT
            assert not {name for name in attributes if name.startswith("on") or name == "src"}
            target = attributes.get("href") or ""
            assert not re.match(r"\s*(javascript|vbscript|file|data):", target, re.IGNORECASE)


def test_markdown_is_shown_as_what_it_means() -> None:
    html = answer_html(interaction(answer="**so**\n\n```\nif a < b:\n\n    c()\n```"), ended=True)
    assert "<strong>so</strong>" in html
    assert "<pre><code>if a &lt; b:&#10;&#10;    c()&#10;</code></pre>" in html


def test_the_numbers_under_an_answer() -> None:
    figures = {"ttft_s": 0.05, "duration_s": 0.2, "output_tokens": 16, "prompt_tokens": 9}
    answer = interaction(model="a/b", answer="x", finish_reason="stop", **figures)
    assert facts_line(answer, ended=True) == "a/b · TTFT 50 ms · 100 tok/s · 16 tokens (prompt: 9)"
    assert facts_line(interaction(), ended=True) == "m · TTFT – · – · – tokens (prompt: –)"
    cut = answer_html(interaction(finish_reason="length", error="it <broke>"), ended=True)
    assert "cut at the length" in cut
    assert "it &lt;broke&gt;" in cut


# ---- how it asks -------------------------------------------------------------------------------


def ask(*urls: str, tokens: int = 20, stop_after: int | None = None) -> list[Interaction]:
    return timed(*urls, tokens=tokens, stop_after=stop_after)[0]


def timed(
    *urls: str, tokens: int = 20, stop_after: int | None = None
) -> tuple[list[Interaction], float]:
    """The answers of all servers, and the seconds that they took together."""
    asked = [
        Pending(
            Question(
                base_url=url,
                model="simulated-model",
                messages=({"role": "user", "content": "two words"},),
                settings={"max_tokens": tokens},
                source="chat",
            )
        )
        for url in urls
    ]

    async def all_of_it() -> None:
        stop, steps = asyncio.Event(), 0
        async with contextlib.aclosing(together(asked, stop)) as shown:
            async for _ in shown:
                steps += 1
                if steps == stop_after:
                    stop.set()

    began_s = time.monotonic()
    asyncio.run(all_of_it())
    return [one.so_far for one in asked], time.monotonic() - began_s


@pytest.mark.timing
def test_two_servers_are_asked_at_the_same_time(fake_server: FakeServer) -> None:
    slow, fast = fake_server(ttft_s=1.5, itl_s=0.01), fake_server(ttft_s=1.0, itl_s=0.01)
    (first, second), together_s = timed(slow, fast)
    assert together_s < first.duration_s + second.duration_s  # type: ignore[operator]
    for answer, ttft_s in ((first, 1.5), (second, 1.0)):
        assert answer.error is None
        assert (answer.prompt_tokens, answer.output_tokens) == (7, 20)
        assert answer.finish_reason == "length"
        assert answer.ttft_s is not None
        assert ttft_s <= answer.ttft_s < ttft_s + 1
        assert answer.duration_s >= ttft_s + 0.19  # type: ignore[operator]


@pytest.mark.timing
def test_stop_ends_a_silent_server_and_keeps_what_came(fake_server: FakeServer) -> None:
    silent, talking = fake_server(ttft_s=60), fake_server(ttft_s=0.01, itl_s=0.05)
    first, second = ask(silent, talking, tokens=2000, stop_after=8)
    assert (first.error, first.answer, first.ttft_s) == (STOPPED, "", None)
    assert second.error == STOPPED
    assert second.answer.startswith("the engine")
    assert second.duration_s < 60  # type: ignore[operator]


@pytest.mark.parametrize(
    ("fault", "said"),
    [("status", "500"), ("cut", "connection"), ("no_finish", "cut off")],
)
def test_what_a_server_does_wrong_is_kept(fake_server: FakeServer, fault: str, said: str) -> None:
    (answer,) = ask(fake_server(fault=fault))
    assert answer.error is not None
    assert said in answer.error
    assert answer.duration_s is not None


# ---- what it refuses -----------------------------------------------------------------------------


@needs_gradio
def test_others_may_come_in_with_a_password_only(tmp_path: Path) -> None:
    servers = [Server("http://127.0.0.1:9/v1")]
    with open_store(tmp_path) as store:
        with pytest.raises(SpecError, match="--password-file"):
            chat.serve_chat(servers, store, "0.0.0.0", announce=print)
        with pytest.raises(EndpointError, match=r"127\.0\.0\.1:9"):
            chat.serve_chat(servers, store, announce=print)


def test_a_page_without_gradio_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(tmp_path) as store:
        monkeypatch.setattr(sys, "path", [])
        monkeypatch.delitem(sys.modules, "gradio", raising=False)
        with pytest.raises(MissingExtra, match=r"pip install 'serving-journal\[chat\]'"):
            chat.serve_chat([], store, announce=print)


# ---- the page ------------------------------------------------------------------------------------

# Ends the process where it would speak to any other machine than this.
ALONE = """
import ipaddress, os, sys
def only_here(event, details):
    if event == "socket.connect" and isinstance(details[1], tuple):
        host = details[1][0]
    elif event == "socket.getaddrinfo":
        host = details[0]
    else:
        return
    if isinstance(host, bytes):
        host = host.decode()
    if host not in (None, "", "localhost") and not ipaddress.ip_address(host).is_loopback:
        os.write(2, f"REACHED OUT to {host}\\n".encode())
        os._exit(9)
sys.addaudithook(only_here)
from journal.cli.app import main
sys.argv = ["journal", *sys.argv[1:]]
main()
"""


@contextlib.contextmanager
def page(home: Path, *arguments: str) -> Iterator[str]:
    """`journal chat` in a process of its own: the page's address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", ALONE, "chat", "--port", str(port), "--home", str(home)]
    with (
        (home / "chat.log").open("w") as log,
        subprocess.Popen(
            [*command, *arguments], stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        assert process.stdout is not None
        try:
            said = process.stdout.readline()
            assert said.startswith("chat page: "), (home / "chat.log").read_text()
            yield said.split()[2].rstrip("/")
        finally:
            process.terminate()
            try:
                process.wait(30)
            finally:
                process.kill()
    log = (home / "chat.log").read_text()
    assert "REACHED OUT" not in log
    assert "Traceback" not in log


class Page:
    """The page as its reader sees it, in Chromium."""

    def __init__(self, browser: Any, url: str) -> None:
        self.browser = browser
        browser.get(url)
        self.wait(lambda: self.all("#ask textarea") and self.value("#left-model input"))

    def all(self, selector: str) -> list[Any]:
        return list(self.browser.find_elements("css selector", selector))

    def value(self, selector: str) -> str:
        return str(self.all(selector)[0].get_attribute("value"))

    def texts(self, selector: str) -> list[str]:
        return [one.text for one in self.all(selector)]

    def wait(self, condition: Callable[[], Any], timeout_s: float = 60) -> None:
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            with contextlib.suppress(Exception):  # a part that is just being drawn anew
                if condition():
                    return
            time.sleep(0.05)
        pytest.fail(f"not in {timeout_s} s; the page shows: {self.texts('body')}")

    def ask(self, text: str) -> None:
        box = self.all("#ask textarea")[0]
        box.send_keys(text.replace("\n", " "))
        self.all("button#send")[0].click()

    def wait_for_answers(self, count: int, timeout_s: float = 60) -> None:
        """Until `count` answers stand there, and the next question may be asked."""
        self.wait(
            lambda: (
                len(self.all("#left .bot .facts")) == count
                and self.all("button#send")[0].is_enabled()
            ),
            timeout_s,
        )

    def fetched(self) -> set[str]:
        """The hosts that the browser asked for anything."""
        events = [
            json.loads(line["message"])["message"] for line in self.browser.get_log("performance")
        ]
        urls = [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]
        parts = [urllib.parse.urlsplit(url) for url in urls]
        return {str(part.hostname) for part in parts if part.scheme in ("http", "https", "ws")}


@pytest.mark.timing
@needs_gradio
@pytest.mark.slow
def test_a_conversation_side_by_side_and_a_stop(
    browser: Any, fake_server: FakeServer, tmp_path: Path
) -> None:
    from selenium.webdriver.common.keys import Keys

    first = fake_server(ttft_s=0.05, itl_s=0.003, model="left-model")
    second = fake_server(ttft_s=0.1, itl_s=0.002, model="right-model")
    with page(tmp_path, "--endpoint", first, "--second", second) as url:
        shown = Page(browser, url)
        assert shown.value("#left-model input").startswith("left-model at 127.0.0.1:")
        assert shown.value("#right-model input").startswith("right-model at 127.0.0.1:")
        shown.all("#system textarea")[0].send_keys("Be brief.")
        shown.ask("Why <b>so</b>?")
        shown.wait_for_answers(1)
        assert shown.texts("#left .user .asked") == ["Why <b>so</b>?"]
        assert shown.texts("#left .answer")[0].startswith("the engine says née word 模型")
        (under,) = shown.texts("#right .facts")
        assert re.fullmatch(
            r"right-model · TTFT \d+ ms · [\d.]+ tok/s · 256 tokens \(prompt: 9\) · cut .*", under
        )
        shown.ask("And then?")
        shown.wait_for_answers(2)
        assert shown.fetched() == {"127.0.0.1"}

        shown.all("button#clear")[0].click()
        shown.wait(lambda: not shown.all("#left .facts") and not shown.all("#right .facts"))
        shown.all("#beside input")[0].click()
        shown.wait(lambda: not shown.all("#right"))
        length = shown.all("#length input[type=number]")[0]
        length.send_keys(Keys.CONTROL, "a")
        length.send_keys("4000", Keys.TAB)
        shown.ask("Go on for long")
        shown.wait(lambda: "the engine says" in shown.texts("#left .answer")[0])
        shown.all("button#stop")[0].click()
        shown.wait_for_answers(1)
        assert shown.texts("#left .failed") == [STOPPED]
    with open_store(tmp_path) as store:
        kept = interactions(store)
    assert [one.model for one in kept] == ["left-model", "right-model"] * 2 + ["left-model"]
    assert {one.source for one in kept} == {"chat"}
    assert kept[0].settings == {"temperature": 0.7, "max_tokens": 256}
    assert [len(one.messages) for one in kept] == [2, 2, 4, 4, 2]
    assert kept[3].messages[2] == {"role": "assistant", "content": kept[1].answer}
    assert kept[4].messages[0] == {"role": "system", "content": "Be brief."}
    assert kept[4].settings["max_tokens"] == 4000
    assert kept[4].error == STOPPED
    assert kept[4].answer.startswith("the engine says")


class Liar(BaseHTTPRequestHandler):
    """A server whose model answers with `HOSTILE`."""

    def log_message(self, *_: object) -> None:
        pass

    def send(self, kind: str, body: str) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.end_headers()
        self.wfile.write(body.encode())

    def do_GET(self) -> None:
        self.send("application/json", json.dumps({"data": [{"id": "<i>liar</i>"}]}))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        choice = {"index": 0, "delta": {"content": HOSTILE}, "finish_reason": "stop"}
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "liar"}
        event = json.dumps({**chunk, "choices": [choice]})
        self.send("text/event-stream", f"data: {event}\n\ndata: [DONE]\n\n")


@pytest.mark.timing
@needs_gradio
@pytest.mark.slow
def test_what_a_hostile_model_says_is_text(browser: Any, tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Liar) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with page(tmp_path, "--endpoint", f"http://127.0.0.1:{server.server_port}/v1") as url:
            shown = Page(browser, url)
            shown.ask("Lie")
            shown.wait_for_answers(1)
            (answer,) = shown.texts("#left .answer")
            assert "<img src=http://elsewhere.invalid/a.png onerror=alert(1)>" in answer
            assert "<script>document.title = 'taken'</script>" in answer
            assert "</div><h1>big</h1>" in answer
            assert "<i>code</i>\n\n    more" in answer
            assert "{{1+1}} ${1+1} $$x$$ bold" in answer
            inside = "#left .answer img, #left .answer b, #left .answer i, #left .answer script"
            assert not shown.all(f"{inside}, #left .answer h1, #left .facts i")
            assert shown.texts("#left .answer a") == ["see"]  # the picture is a link
            assert browser.title == "journal chat"
            assert shown.fetched() == {"127.0.0.1"}
        server.shutdown()


def status(url: str, *, data: dict[str, str] | None = None, host: str | None = None) -> int:
    body = None if data is None else urllib.parse.urlencode(data).encode()
    request = urllib.request.Request(url, body, {} if host is None else {"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.timing
@needs_gradio
@pytest.mark.slow
@pytest.mark.parametrize("mobile", [True, False], ids=["a phone", "a narrow window"])
def test_settings_wait_to_be_opened_where_they_would_cover_the_chat(
    browser: Any, fake_server: FakeServer, tmp_path: Path, mobile: bool
) -> None:
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": mobile}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    url = fake_server(ttft_s=0.05, itl_s=0.003)
    with page(tmp_path, "--endpoint", url, "--second", url) as address:
        shown = Page(browser, address)
        shown.wait(lambda: shown.all("#beside")[0].rect["x"] < 0)
        shown.ask("And here?")
        shown.wait_for_answers(1)
        for part in ("#left", "#right", "#ask", "#send", "#stop"):
            place = shown.all(part)[0].rect
            assert place["x"] >= 0 and place["x"] + place["width"] <= 390, part
            assert place["y"] >= 0 and place["y"] + place["height"] <= 844, part


@pytest.mark.timing
@needs_gradio
@pytest.mark.slow
def test_the_password_and_the_names_it_answers_to(fake_server: FakeServer, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("geheim ö\n")
    with page(tmp_path, "--endpoint", fake_server(), "--password-file", str(secret)) as url:
        assert status(f"{url}/config") == 401
        assert status(f"{url}/login", data={"username": "journal", "password": "x"}) == 400
        assert status(f"{url}/login", data={"username": "x", "password": "geheim ö"}) == 400
        assert status(f"{url}/login", data={"username": "journal", "password": "geheim ö"}) == 200
        assert status(url) == 200
        assert status(url, host="elsewhere.invalid") == 403
    warned = "page's login, and every message travels unencrypted"
    assert warned not in (tmp_path / "chat.log").read_text()
    network = ("--host", "0.0.0.0", "--password-file", str(secret))
    with page(tmp_path, "--endpoint", fake_server(), *network) as url:
        assert status(f"{url}/config") == 401
    assert warned in " ".join((tmp_path / "chat.log").read_text().split())


@needs_gradio
@pytest.mark.engine
def test_a_conversation_with_a_real_model(
    browser: Any, engine_endpoint: Endpoint, tmp_path: Path
) -> None:
    from selenium.webdriver.common.keys import Keys

    real = engine_endpoint.base_url
    with page(tmp_path, "--endpoint", real, "--second", real) as url:
        shown = Page(browser, url)
        for setting, value in (("temperature", "0"), ("length", "48")):
            box = shown.all(f"#{setting} input[type=number]")[0]
            box.send_keys(Keys.CONTROL, "a")
            box.send_keys(value, Keys.TAB)
        shown.ask("Explain why the sky is blue in one paragraph.")
        shown.wait_for_answers(1, timeout_s=300)
        pattern = r"TTFT [\d.]+ m?s · [\d.]+ tok/s · \d+ tokens"
        for side in ("left", "right"):
            assert len(shown.texts(f"#{side} .answer")[0]) > 20
            assert re.search(pattern, shown.texts(f"#{side} .facts")[0])
        shown.all("button#clear")[0].click()
        shown.wait(lambda: not shown.all("#left .facts"))
        box.send_keys(Keys.CONTROL, "a")
        box.send_keys("3000", Keys.TAB)
        shown.ask("Tell a long story of the sea.")
        shown.wait(lambda: len(shown.texts("#left .answer")[0]) > 20, timeout_s=300)
        shown.all("button#stop")[0].click()
        shown.wait_for_answers(1)
        assert shown.fetched() == {"127.0.0.1"}
    with open_store(tmp_path) as store:
        kept = interactions(store)
    assert {one.model for one in kept} == {engine_endpoint.model}
    assert [one.settings for one in kept[:2]] == [{"temperature": 0, "max_tokens": 48}] * 2
    assert [one.error for one in kept[:2]] == [None, None]
    assert kept[2].answer and kept[2].error in (None, STOPPED)
