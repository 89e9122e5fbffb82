"""One question by hand: what is sent, what is timed, and what a failure is."""

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from journal.chat.ask import Question, ask, curl, whole_answer
from journal.records.notebook import Interaction

FakeServer = Callable[..., str]


def question(url: str, **fields: Any) -> Question:
    messages = ({"role": "system", "content": "be brief"}, {"role": "user", "content": "why not"})
    given = {"model": "simulated-model", "messages": messages, "settings": {"max_tokens": 8}}
    return Question(base_url=url, **(given | fields))


def asked(of: Question) -> Interaction:
    *_, last = ask(of)
    return last


@pytest.mark.timing
@pytest.mark.parametrize(("api", "prompt_tokens"), [("chat", 5 + 4), ("completions", 2)])
def test_an_answer_is_streamed_and_timed(
    fake_server: FakeServer, api: str, prompt_tokens: int
) -> None:
    url = fake_server(ttft_s=0.2, itl_s=0.03)
    growing = list(ask(question(url, api=api)))
    now = growing[-1]
    assert now.answer == "the engine says née word 模型 by word"
    assert (now.prompt_tokens, now.output_tokens) == (prompt_tokens, 8)
    assert (now.finish_reason, now.error, now.api, now.source) == ("length", None, api, "ask")
    assert now.ttft_s is not None and now.duration_s is not None and now.tokens_per_s is not None
    assert 0.2 <= now.ttft_s < now.duration_s
    assert now.duration_s >= 0.2 + 7 * 0.03
    assert now.tokens_per_s <= 7 / (now.duration_s - now.ttft_s) + 1e-6
    assert growing[0].answer == ""
    assert [len(each.answer) for each in growing] == sorted(len(each.answer) for each in growing)
    assert {each.id for each in growing} == {now.id}


def test_a_role_alone_is_no_first_token(fake_server: FakeServer) -> None:
    now = asked(question(fake_server(ttft_s=0.3, quirks=("empty_first",))))
    assert now.ttft_s is not None and now.ttft_s >= 0.3


def test_a_whole_answer_has_no_ttft(fake_server: FakeServer) -> None:
    url = fake_server(itl_s=0.001)
    for api, words in (("chat", "message"), ("completions", "text")):
        now, whole = whole_answer(question(url, api=api))
        assert now.answer.startswith("the engine says")
        assert (now.output_tokens, now.ttft_s, now.tokens_per_s, now.error) == (8, None, None, None)
        assert words in whole["choices"][0]


FAULTS = [
    ({"fault": "status", "error_status": 500}, "answers 500 (A scripted refusal.)"),
    ({"fault": "status", "error_status": 429}, "answers 429"),
    ({"fault": "error_in_stream"}, "A scripted failure."),
    ({"fault": "cut"}, "connection failed"),
    ({"fault": "garbage"}, "could not be read"),
    ({"fault": "abort"}, "gave up in the middle"),
    ({"fault": "no_finish"}, "cut off"),
    ({"api_key": "s3cret"}, "answers 401"),
]


@pytest.mark.parametrize(("script", "said"), FAULTS, ids=[said for _, said in FAULTS])
def test_a_failure_is_named_and_the_answer_so_far_is_kept(
    fake_server: FakeServer, script: dict[str, Any], said: str
) -> None:
    url = fake_server(itl_s=0.001, **script)
    now = asked(question(url))
    assert now.error is not None and said in now.error
    began = script.get("fault") in ("error_in_stream", "cut", "garbage", "abort", "no_finish")
    assert now.answer.startswith("the engine") == began
    if "401" in said:
        assert "JOURNAL_API_KEY" in now.error


def test_a_server_that_is_not_there(fake_server: FakeServer) -> None:
    for put in (asked, lambda of: whole_answer(of)[0]):
        now = put(question("http://127.0.0.1:9/v1"))
        assert now.error is not None and "connection failed" in now.error
        assert now.duration_s is not None


def test_a_proxy_is_not_asked_for_this_host(
    fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert asked(question(fake_server(itl_s=0.001))).error is None


def test_the_key_is_sent_and_not_shown(fake_server: FakeServer) -> None:
    of = question(fake_server(api_key="s3cret", itl_s=0.001), api_key="s3cret")
    assert asked(of).error is None
    assert "s3cret" not in repr(of) + repr(asked(of)) + curl(of, "JOURNAL_API_KEY")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("api", ["chat", "completions"])
def test_the_curl_command_asks_the_same(fake_server: FakeServer, api: str) -> None:
    awkward = ({"role": "user", "content": """it's "$HOME" `id` \\ 天\n!"""},)
    of = question(fake_server(api_key="s3cret", itl_s=0.001), api=api, messages=awkward)
    command = curl(of, "A_KEY")
    done = subprocess.run(
        ["sh", "-c", command], env={"A_KEY": "s3cret"}, capture_output=True, text=True, timeout=30
    )
    events = [line.removeprefix("data: ") for line in done.stdout.splitlines() if line]
    assert events[-1] == "[DONE]", done.stderr
    chunks = [json.loads(event) for event in events[:-1]]
    key = "delta" if api == "chat" else "text"
    said = [chunk["choices"][0][key] for chunk in chunks]
    text = "".join(part.get("content", "") if api == "chat" else part for part in said)
    assert text == asked(replace(of, api_key="s3cret")).answer
    assert of.body == {**json.loads(json.dumps(of.body)), "max_tokens": 8}
