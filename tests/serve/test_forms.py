"""The dialect of a server is found once, without harm, and a run then speaks it."""

import json
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import pytest
from scripted_servers import Asked, Told, answered, chatting, listing, refused, scripted

from journal.doubts.words import absence
from journal.errors import EndpointError, SpecError
from journal.plan.cells import cells
from journal.plan.prompts import requests
from journal.records.engine import Endpoint
from journal.records.experiment import Experiment, Grid, Load
from journal.serve.endpoint import attach, check_answers, models_of


def body_of_a_run(endpoint: Endpoint, **body: Any) -> dict[str, Any]:
    """The body of the first request that a run of `endpoint` sends."""
    experiment = Experiment(
        name="e", grid=Grid(output_tokens=(32,)), load=Load(requests=1, warmup=0, body=body)
    )
    (cell,) = cells(experiment, model=endpoint.model)
    whole: dict[str, Any] = json.loads(requests(cell, endpoint, "run")[0].body)
    return whole


# The words of real servers, the fields that they mean, and what a run sends in their place.
REFUSALS: dict[str, tuple[str, Any, dict[str, Any], dict[str, str | None]]] = {
    "a longer name": (
        "max_tokens",
        {
            "message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.",
            "param": "max_tokens",
        },
        {"max_completion_tokens": 32},
        {"max_tokens": "max_completion_tokens"},
    ),
    "a longer name, named beside the words": (
        "max_tokens",
        {"message": "Unsupported parameter", "param": "max_tokens"},
        {"max_completion_tokens": 32},
        {"max_tokens": "max_completion_tokens"},
    ),
    "an unknown argument": (
        "ignore_eos",
        "Unrecognized request argument supplied: ignore_eos",
        {},
        {"ignore_eos": None},
    ),
    "a temperature": (
        "temperature",
        {"message": "Unsupported value: 'temperature' does not support 0 with this model."},
        {},
        {"temperature": None},
    ),
    "usage in streams": (
        "stream_options",
        "stream_options: extra fields not permitted",
        {},
        {"stream_options": None},
    ),
    "running usage": (
        "continuous_usage_stats",
        "unknown field `continuous_usage_stats`, expected `include_usage`",
        {"stream_options": {"include_usage": True}},
        {"stream_options.continuous_usage_stats": None},
    ),
    "a stream": ("stream", "streaming is not supported", {}, {"stream": None}),
}


@pytest.mark.parametrize("status", [400, 422, 500])
@pytest.mark.parametrize(("field", "words", "sent", "found"), REFUSALS.values(), ids=REFUSALS)
def test_a_field_that_is_refused_by_name_is_found_once(
    field: str, words: Any, sent: dict[str, Any], found: dict[str, str | None], status: int
) -> None:
    def answers(asked: Asked) -> Told:
        body = asked.body
        if field in body or field in (body.get("stream_options") or {}):
            return Told(status, {"error": words})
        return listing("m") if asked.path == "/v1/models" else answered(asked)

    with scripted(answers) as (url, met):
        endpoint = attach(url, output_tokens=32)
        asked = [one for one in met if one.path.endswith("completions")]
        assert len(asked) == 2 + (endpoint.prompt_form == "text") * 2
    assert endpoint.facts.request_fields == found
    body = body_of_a_run(endpoint)
    assert field not in body and sent.items() <= body.items()
    words_of_run = " ".join(map(absence, endpoint.absent))
    if field != "continuous_usage_stats":
        assert field in words_of_run


def test_fields_refused_as_fastapi_does_it_are_found_by_their_place_alone() -> None:
    def answers(asked: Asked) -> Told:
        extra = {"ignore_eos", "stream_options"} & asked.body.keys()
        if extra:
            places: list[Any] = [
                {"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not "
                 "permitted", "input": asked.body}
                for name in sorted(extra)
            ]  # fmt: skip
            return Told(422, {"detail": places})
        return chatting(asked)

    with scripted(answers) as (url, _):
        endpoint = attach(url)
    assert endpoint.facts.request_fields == {"ignore_eos": None, "stream_options": None}
    assert "temperature" in body_of_a_run(endpoint)


@pytest.mark.parametrize("field", ["ignore_eos", "stream_options", "temperature"])
def test_a_field_refused_without_a_name_is_found_by_trying(field: str) -> None:
    def answers(asked: Asked) -> Told:
        return refused(400, "Bad Request") if field in asked.body else chatting(asked)

    with scripted(answers) as (url, _):
        endpoint = attach(url)
    assert field in endpoint.facts.request_fields
    assert "max_tokens" in body_of_a_run(endpoint)


def test_a_number_that_is_refused_is_no_refused_field() -> None:
    def answers(asked: Asked) -> Told:
        if asked.body and asked.body["max_tokens"] < 16:
            return refused(400, "max_tokens must be at least 16")
        return chatting(asked)

    with scripted(answers) as (url, _):
        with pytest.raises(EndpointError, match="max_tokens must be at least 16"):
            attach(url, output_tokens=8)
        assert attach(url, output_tokens=16).facts.request_fields == {}
        assert attach(url).api == "chat"


def test_the_users_own_fields_go_with_probes_and_runs_and_are_never_dropped() -> None:
    def answers(asked: Asked) -> Told:
        if asked.body and asked.body.get("top_k") != 5:
            return refused(400, "top_k must be 5")
        return refused(400, "no seed") if "seed" in asked.body else chatting(asked)

    with scripted(answers) as (url, _):
        endpoint = attach(url, body={"top_k": 5, "temperature": None})
        with pytest.raises(EndpointError, match="no seed"):
            attach(url, body={"top_k": 5, "seed": 1})
    body = body_of_a_run(endpoint, top_k=5, temperature=None)
    assert body["top_k"] == 5 and "temperature" not in body
    with pytest.raises(SpecError, match="'prompt' of a request is not free"):
        attach("http://h", body={"prompt": "x"})


# ---- one form after the other --------------------------------------------------------------------


class Resting:
    """A gateway before a server with chat alone, which rests for `rest_s` after a refusal."""

    def __init__(self, rest_s: float, hint: dict[str, str], words: str = "resting") -> None:
        self.rest_s, self.hint, self.words = rest_s, hint, words
        self.until_s = 0.0

    def __call__(self, asked: Asked) -> Told:
        if asked.body and time.monotonic() < self.until_s:
            return refused(429, self.words, **self.hint)
        told = chatting(asked)
        if told.status == 404:
            self.until_s = time.monotonic() + self.rest_s
        return told


@pytest.mark.parametrize(
    "gateway",
    [
        Resting(0.5, {"Retry_After": "1"}),
        Resting(0.5, {}, "No deployments available, try again in 1 seconds."),
        Resting(0.5, {}),
    ],
    ids=["by its header", "by its words", "without a hint"],
)
def test_a_gateway_that_rests_after_a_refusal_is_waited_for(gateway: Resting) -> None:
    with scripted(gateway) as (url, _):
        assert attach(url).api == "chat"


@pytest.mark.parametrize("status", [404, 405, 429, 500, 503])
def test_chat_comes_first_where_completions_are_refused(status: int) -> None:
    def answers(asked: Asked) -> Told:
        return refused(status, "no") if asked.path == "/v1/completions" else chatting(asked)

    with scripted(answers) as (url, met):
        endpoint = attach(url)
        paths = [one.path for one in met if one.body]
    assert endpoint.api == "chat"
    assert paths == ["/v1/completions", *["/v1/chat/completions"] * 2]


def in_a_stream(words: str) -> Told:
    """An error of status 200, as servers send it that have begun to stream."""
    data = b"data: %b\n\ndata: [DONE]\n\n" % json.dumps({"error": {"message": words}}).encode()
    return Told(200, data, {"Content-Type": "text/event-stream"})


def test_an_error_in_a_stream_refuses_a_form_as_a_status_does() -> None:
    def answers(asked: Asked) -> Told:
        return in_a_stream("a chat model") if "prompt" in asked.body else chatting(asked)

    with scripted(answers) as (url, _):
        assert attach(url).api == "chat"


def test_an_error_in_a_stream_names_a_field_that_is_refused() -> None:
    def answers(asked: Asked) -> Told:
        if "ignore_eos" in asked.body:
            return in_a_stream("unknown parameter: ignore_eos")
        return chatting(asked)

    with scripted(answers) as (url, _):
        assert attach(url).facts.request_fields == {"ignore_eos": None}


def test_a_wait_until_a_date_is_waited_for() -> None:
    refusals: list[str] = []

    def answers(asked: Asked) -> Told:
        if asked.path != "/v1/completions" or refusals:
            return listing("m") if not asked.body else answered(asked)
        refusals.append(formatdate(time.time() + 2, usegmt=True))
        return refused(503, "loading", Retry_After=refusals[0])

    with scripted(answers) as (url, met):
        assert (attach(url).api, attach(url).prompt_form) == ("completions", "token_ids")
    assert [one.path for one in met if one.body][:2] == ["/v1/completions"] * 2


def test_a_rate_limit_is_told_in_the_servers_words() -> None:
    def answers(asked: Asked) -> Told:
        if not asked.body:
            return chatting(asked)
        return refused(429, "10 requests a day", Retry_After="3600")

    with (
        scripted(answers) as (url, _),
        pytest.raises(EndpointError, match=r"rate limit \(429\): 10 requests a day"),
    ):
        attach(url)


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_a_list_of_models_is_needed_only_without_a_name(status: int) -> None:
    def answers(asked: Asked) -> Told:
        return refused(status, "no list") if asked.path == "/v1/models" else chatting(asked)

    with scripted(answers) as (url, _):
        assert attach(url, "any").model == "any"
        with pytest.raises(EndpointError, match="--model"):
            attach(url)


def test_a_refusal_of_the_key_is_told_in_the_servers_words() -> None:
    def answers(asked: Asked) -> Told:
        return refused(403, "this key may not chat") if asked.body else chatting(asked)

    with (
        scripted(answers) as (url, _),
        pytest.raises(EndpointError, match=r"wants a key \(403: this key may not chat\)"),
    ):
        attach(url)


# ---- addresses, headers, redirects ---------------------------------------------------------------


def below(root: str, given: Asked) -> Told:
    """A server whose API lies below `root`."""
    if not given.path.startswith(root + "/"):
        return refused(404, "not here")
    return chatting(replace(given, path="/v1" + given.path.removeprefix(root)))


@pytest.mark.parametrize("root", ["/v1", "/api/v3", "/v1beta/openai", "/openai", "/x/v1", ""])
@pytest.mark.parametrize("end", ["", "/", "/chat/completions", "/models"])
def test_a_base_url_is_taken_as_it_is_given(root: str, end: str) -> None:
    if not root and end in ("", "/"):
        pytest.skip("a host alone has its API below /v1")
    with scripted(lambda asked: below(root, asked)) as (url, _):
        endpoint = attach(url + root + end)
        assert endpoint.base_url == url + root
        assert list(models_of(url + root + end)) == ["m"]
        check_answers(endpoint, timeout_s=5)


def test_an_api_below_v1_of_a_path_is_found() -> None:
    with scripted(lambda asked: below("/serving/v1", asked)) as (url, _):
        assert attach(f"{url}/serving").base_url == f"{url}/serving/v1"


def test_a_query_goes_with_every_request_and_its_key_is_not_shown() -> None:
    def answers(asked: Asked) -> Told:
        if asked.query != "api-version=2026-01&key=s3cret99":
            return refused(404, "which version?")
        if asked.body.get("max_tokens") == 7:
            return refused(400, f"the key {asked.query} is no good for 7 tokens")
        return chatting(asked)

    with scripted(answers) as (url, _):
        given = f"{url}/v1?api-version=2026-01&key=s3cret99"
        assert attach(given).api == "chat"
        with pytest.raises(EndpointError) as caught:
            attach(given, output_tokens=7)
    assert "s3cret99" not in str(caught.value) and "api-version=2026-01" in str(caught.value)


def test_a_key_in_another_header_is_sent_and_not_shown() -> None:
    def answers(asked: Asked) -> Told:
        if asked.headers.get("api-key") != "s3cret99":
            return refused(401, f"not {asked.headers.get('api-key')}")
        return chatting(asked)

    with scripted(answers) as (url, met):
        endpoint = attach(url, headers={"api-key": "s3cret99"})
        assert "authorization" not in met[-1].headers
        with pytest.raises(EndpointError) as caught:
            attach(url, headers={"api-key": "another9"})
    assert "s3cret99" not in repr(endpoint) and "another9" not in str(caught.value)
    assert "***" in str(caught.value)


def test_a_redirect_on_the_same_host_is_followed_once_and_for_all() -> None:
    def answers(asked: Asked) -> Told:
        if asked.path.startswith("/v1/"):
            return Told(307, headers={"Location": asked.path.replace("/v1/", "/api/v1/") + "/"})
        return chatting(replace(asked, path=asked.path.removeprefix("/api").rstrip("/")))

    with scripted(answers) as (url, _):
        endpoint = attach(url)
        assert endpoint.request_url == f"{url}/api/v1/chat/completions/"


def test_a_redirect_to_another_host_is_told_as_a_whole_address() -> None:
    where = "http://elsewhere.invalid/v1/models?key=s3cret99"
    with (
        scripted(lambda _: Told(302, headers={"Location": where})) as (url, _),
        pytest.raises(EndpointError, match=r"redirects to http://elsewhere.invalid/v1/models\?key"),
    ):
        attach(url)


@pytest.mark.parametrize(
    ("counts", "outcome"),
    [("while it streams", "abort"), ("at the end", "length")],
    ids=lambda value: str(value).replace(" ", "_"),
)
def test_a_probe_leaves_a_server_that_counts_while_it_streams(
    fake_server: Callable[..., str], counts: str, outcome: str
) -> None:
    url = fake_server(ttft_s=0.01, itl_s=0.01)
    options = {"include_usage": True, "continuous_usage_stats": counts == "while it streams"}
    attach(url, output_tokens=60, body={"stream_options": options})
    page = urllib.request.urlopen(url.removesuffix("/v1") + "/metrics").read().decode()
    (line,) = (line for line in page.splitlines() if f'finished_reason="{outcome}"' in line)
    assert float(line.split()[-1]) == 1
