"""The quality check: exact on a server of known probabilities, modest on any other."""

import json
import math
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from engine_fixtures import EVERY

from journal.records.engine import Endpoint, Quality
from journal.serve import quality_check as quality
from journal.serve.endpoint import attach
from journal.serve.question_set import fixed_questions
from journal.simulator.http import Script, running

Answer = Callable[[dict[str, Any]], tuple[int, object]]


@pytest.fixture
def server() -> Iterator[Callable[[Answer], Endpoint]]:
    """A server that answers completions by `answer`."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Answer) -> Endpoint:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                status, reply = answer(body)
                content = json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return Endpoint(base_url=f"http://127.0.0.1:{servers[-1].server_port}/v1", model="m")

    yield start
    for one in servers:
        one.shutdown()
        one.server_close()


def logprobs(chances: list[float]) -> list[dict[str, Any] | None]:
    """As vLLM gives them: nothing for the first token, its own first for every other."""
    rest = [{str(n): {"logprob": math.log(p), "rank": 1}} for n, p in enumerate(chances)]
    return [None, *rest]


def test_perplexity_is_that_of_the_given_probabilities(
    server: Callable[[Answer], Endpoint],
) -> None:
    bodies = []

    def answer(body: dict[str, Any]) -> tuple[int, object]:
        bodies.append(body)
        likelier = {"9": {"logprob": math.log(0.9)}}
        positions = logprobs([0.5, 0.25, 0.125])
        positions[2] = {**(positions[2] or {}), **likelier}
        return 200, {"choices": [{"text": f"says {len(bodies)}", "prompt_logprobs": positions}]}

    result = quality.check_quality(server(answer))
    assert result.tokens == 3
    assert result.perplexity == pytest.approx(4.0), "2 x 4 x 8 to the power of a third"
    size = len(quality.passage().encode())
    assert result.bits_per_byte == pytest.approx((1 + 2 + 3) / size)
    assert result.outputs == tuple(f"says {n}" for n in range(2, 10))
    assert result.absent == ()
    first, *others = bodies
    assert first["prompt"] == quality.passage()
    assert (first["prompt_logprobs"], first["temperature"], first["model"]) == (0, 0.0, "m")
    asked = [question.prompt for question in fixed_questions()]
    sent = [request["prompt"] for request in others]
    assert sent == [*quality.prompts(), *asked, *asked], "the questions twice"
    assert {r["max_tokens"] for r in others[: quality.PROMPTS]} == {quality.OUTPUT_TOKENS}
    assert [len(answers) for answers in result.answers] == [len(asked)] * 2


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ((400, {"error": {"message": "no logprobs here"}}), "refuses (400): no logprobs here"),
        ((200, {"choices": [{"text": "x"}]}), "gives no prompt_logprobs"),
        ((200, {"choices": [{"text": "x", "prompt_logprobs": [None]}]}), "no logarithm for any"),
        ((200, {"choices": [{"text": "x", "prompt_logprobs": [{"1": {}}]}]}), "gives None as"),
        ((200, {"choices": [{"text": "x", "prompt_logprobs": [{"1": {"logprob": 1}}]}]}), "1 as"),
        ((200, {"choices": [{"text": "x", "prompt_logprobs": [3]}]}), "gives None as"),
        ((200, {"choices": []}), "without a choice"),
        ((200, ["odd"]), "without a choice"),
        ((200, {"choices": [{"text": None}]}), "answers without a text"),
    ],
)
def test_a_figure_that_a_server_lacks_is_reported_and_nothing_fails(
    server: Callable[[Answer], Endpoint], reply: tuple[int, object], why: str
) -> None:
    result = quality.check_quality(server(lambda body: reply))
    assert result.perplexity is None
    assert any(why in sentence for sentence in result.absent), result.absent


def test_a_server_of_another_kind_gives_outputs_only() -> None:
    with running(Script(ttft_s=0.001, itl_s=0.0005)) as url:
        result = quality.check_quality(attach(url))
    assert result.perplexity is None
    assert len(result.outputs) == quality.PROMPTS
    assert "prompt_logprobs" in result.absent[0]
    chat = quality.check_quality(Endpoint(base_url="http://127.0.0.1:9/v1", model="m", api="chat"))
    assert chat.outputs == ()
    assert "completes no text" in chat.absent[0]
    gone = quality.check_quality(Endpoint(base_url="http://127.0.0.1:9/v1", model="m"))
    assert len(gone.absent) == 2


def test_the_passage_is_short_and_its_prompts_differ() -> None:
    words = quality.passage().split()
    assert 400 < len(words) < 600
    prompts = quality.prompts()
    assert len(set(prompts)) == quality.PROMPTS
    assert all(len(prompt.split()) == quality.PROMPT_WORDS for prompt in prompts)
    assert all(" ".join(words).count(prompt) == 1 for prompt in prompts)


@pytest.mark.engine
def test_the_real_engine_knows_its_language(
    engine_endpoint: Endpoint, engine_quality: Quality
) -> None:
    result = engine_quality
    assert result.absent == ()
    assert result.tokens is not None and 500 < result.tokens < 900
    assert result.perplexity is not None and 3 < result.perplexity < 60
    assert result.bits_per_byte is not None
    bits = result.tokens * math.log2(result.perplexity)
    assert result.bits_per_byte == pytest.approx(bits / len(quality.passage().encode()))
    assert len(result.outputs) == quality.PROMPTS
    assert all(output.strip() for output in result.outputs)
    questions = fixed_questions()[::EVERY]
    assert [len(answers) for answers in result.answers] == [len(questions)] * 2
    again = quality._surprise(engine_endpoint)
    assert again.perplexity == pytest.approx(result.perplexity, rel=0.01)
