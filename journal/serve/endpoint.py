"""A server that is there already: the models that it serves and the requests that it takes, by
probes."""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Any, Literal

import psutil

from journal.errors import EndpointError
from journal.plan.english_words import WORDS
from journal.records.doubt import Values
from journal.records.engine import Endpoint, MetricNames
from journal.serve.engines.server_kinds import is_prometheus, kind_at
from journal.serve.engines.vllm.metric_names import METRICS
from journal.serve.engines.vllm.request_fields import (
    IGNORE_EOS,
    METRICS_PATH,
    VERSION_PATH,
    of_exact_length,
)
from journal.serve.probe import Answer, fetch, printable, url_parts

HOST = "127.0.0.1"  # the default address of an engine that the journal starts
SHORT, LONG = 16, 80  # words of the two probes that give the tokens of a word
VOCABULARY = (1000, 30000)
NAMES_SHOWN = 12
MOST = 1 << 31  # tokens: a larger number is not a count
MOST_COMPARED, LONGEST_COMPARED = 1000, 200  # names of models, and characters of one
KEY_HINT = "set JOURNAL_API_KEY (or OPENAI_API_KEY) to a key that it takes"
PROBE_S = 60.0  # for one token, from a server that may still work on abandoned requests
# Programs that forward to a server: their memory says nothing about the server's.
FORWARDERS = {
    *("caddy", "docker-proxy", "envoy", "haproxy", "kubectl", "nginx", "rootlessport"),
    *("socat", "ssh", "traefik"),
}

Form = tuple[Literal["completions", "chat"], Literal["token_ids", "text"]]


def attach(
    base_url: str,
    model: str | None = None,
    api_key: str | None = None,
    *,
    vocabulary: tuple[int, int] = VOCABULARY,
    metric_names: MetricNames | None = None,
) -> Endpoint:
    """Probe the server at `base_url` (with or without /v1) with requests of one token. `model` may
    be left out where it serves only one; prompts are drawn from the half-open range `vocabulary` of
    token ids. `metric_names` are the names in its /metrics (None: vLLM's).

    Raises SpecError for a text that is not an address; EndpointError for a server that cannot be
    reached, wants a key, does not serve `model`, or does not answer as an OpenAI-compatible one.
    """
    url = normalised(base_url)
    server = _Server(url, api_key)
    name, max_model_len = _model(server, model)
    endpoint = Endpoint(
        base_url=url,
        model=name,
        api_key=api_key,
        max_model_len=max_model_len,
        vocabulary=vocabulary,
        metric_names=metric_names,
    )
    return _with_process(_with_extras(_with_form(endpoint)))


def observe(base_url: str, api_key: str | None = None) -> Endpoint:
    """The server at `base_url`, as far as it is known without a request for tokens. `model` names
    all models that it serves. Raises SpecError and EndpointError as `attach` does."""
    url = normalised(base_url)
    endpoint = Endpoint(base_url=url, model=_some(models_of(url, api_key)), api_key=api_key)
    return _with_process(_with_extras(endpoint))


def models_of(base_url: str, api_key: str | None = None) -> dict[str, int | None]:
    """The models served at `base_url`, each with its longest context in tokens (None: not given);
    empty where the server does not list them. Raises SpecError and EndpointError as `attach`
    does."""
    return _models(_Server(normalised(base_url), api_key))


def model_at(base_url: str, model: str | None = None, api_key: str | None = None) -> str:
    """The model `model` where the server at `base_url` serves it; None: the only one that it
    serves. Raises SpecError and EndpointError as `attach` does."""
    return _model(_Server(normalised(base_url), api_key), model)[0]


def check_answers(endpoint: Endpoint, *, timeout_s: float) -> None:
    """Raise EndpointError where the server no longer answers a request for one token within
    `timeout_s` or PROBE_S."""
    path, body = _one_token(endpoint)
    url, key = endpoint.base_url, endpoint.api_key
    try:
        answer = fetch(url + path, body=body, api_key=key, timeout_s=min(PROBE_S, timeout_s))
    except EndpointError as error:
        raise EndpointError(f"not measured, since the server is gone: {error}") from None
    if answer.status >= 500 or answer.status in (401, 403, 429):
        raise EndpointError(
            f"not measured, since the server only answers {answer.status} ({answer.message()}): "
            "see its log"
        )


def normalised(base_url: str) -> str:
    """`base_url` ending with /v1. Raises SpecError where it is not an http(s) address."""
    url = base_url.strip().rstrip("/")
    url_parts(url)
    return url if url.endswith("/v1") else f"{url}/v1"


@dataclass(frozen=True)
class _Server:
    base_url: str
    api_key: str | None

    def get(self, path: str) -> Answer:
        return fetch(self.base_url + path, api_key=self.api_key)

    def extra(self, path: str) -> Answer:
        """The answer to `path` beside /v1; status 0 where no HTTP answer comes."""
        try:
            return fetch(self.base_url.removesuffix("/v1") + path, api_key=self.api_key)
        except EndpointError:
            return Answer(0, b"")

    def post(self, path: str, body: Mapping[str, object]) -> Answer:
        return fetch(self.base_url + path, body=body, api_key=self.api_key)


def _models(server: _Server) -> dict[str, int | None]:
    answer = server.get("/models")
    if answer.status in (401, 403):
        raise EndpointError(f"{server.base_url} wants a key ({answer.status}): {KEY_HINT}")
    if answer.status >= 500:
        raise EndpointError(
            f"{server.base_url} answers {answer.status} ({answer.message()}): see its log"
        )
    if (more := answer.beyond()) is not None:
        raise EndpointError(
            f"{server.base_url}/models {more}: check that it is the address of a server"
        )
    listed = answer.json().get("data") if answer.status == 200 else None
    served = {
        entry["id"]: entry.get("max_model_len")
        for entry in (listed if isinstance(listed, list) else ())
        if isinstance(entry, dict) and isinstance(entry.get("id"), str)
    }
    known = {name: long for name, long in served.items() if type(long) is int and 0 < long < MOST}
    return {name: known.get(name) for name in served}


def _model(server: _Server, model: str | None) -> tuple[str, int | None]:
    """The name of the model for requests, and its longest context in tokens (None: not given)."""
    served = _models(server)
    if model is None and len(served) != 1:
        what = f"serves {_some(served)}" if served else "does not say what it serves"
        raise EndpointError(f"{server.base_url} {what}: name one with --model")
    name = next(iter(served)) if model is None else model
    if served and name not in served:
        raise EndpointError(
            f"{server.base_url} does not serve {name}; it serves {_some(served, name)}"
        )
    return name, served.get(name)


def _some(names: Iterable[str], like: str = "") -> str:
    """Up to NAMES_SHOWN of the names, the most similar to `like` first."""
    names = sorted(names)
    if len(names) <= MOST_COMPARED:
        short = like[:LONGEST_COMPARED]
        names.sort(key=lambda name: -SequenceMatcher(None, name[:LONGEST_COMPARED], short).ratio())
    more = [f"and {len(names) - NAMES_SHOWN} more"] if len(names) > NAMES_SHOWN else []
    return ", ".join([printable(name) for name in names[:NAMES_SHOWN]] + more)


# ---- the requests that it takes ----------------------------------------------------------------


def _with_form(endpoint: Endpoint) -> Endpoint:
    """`endpoint` with the form of prompt that its server takes: token ids, where it counts them
    exactly, else text with the number of tokens in a word."""
    server = _Server(endpoint.base_url, endpoint.api_key)
    low, high = endpoint.vocabulary
    ids = [low + index * (high - 1 - low) // 7 for index in range(8)]
    answer = _try(server, endpoint.model, ("completions", "token_ids"), ids)
    if answer.status == 200 and _prompt_tokens(answer) == len(ids):
        probed = replace(endpoint, api="completions", prompt_form="token_ids")
    else:
        probed = _probe_text(server, endpoint)
    return replace(probed, extensions=_takes_extensions(server, probed))


def _probe_text(server: _Server, endpoint: Endpoint) -> Endpoint:
    refusals = []
    for form in (("completions", "text"), ("chat", "text")):
        short = _try(server, endpoint.model, form, " ".join(WORDS[:SHORT]))
        if short.status != 200:
            refusals.append(f"{form[0]}: {short.status} {short.message()}".rstrip())
            continue
        long = _try(server, endpoint.model, form, " ".join(WORDS[:LONG]))
        counts = _prompt_tokens(short), _prompt_tokens(long)
        absent = (
            *endpoint.absent,
            {"variant": "no_token_ids"},
        )
        probed = replace(endpoint, api=form[0], prompt_form=form[1], absent=absent)
        if counts[0] is None or counts[1] is None or counts[1] <= counts[0]:
            return replace(probed, absent=(*absent, {"variant": "no_prompt_count"}))
        per_word = (counts[1] - counts[0]) / (LONG - SHORT)
        overhead = max(0, round(counts[0] - per_word * SHORT))
        return replace(probed, tokens_per_word=per_word, overhead_tokens=overhead)
    raise EndpointError(
        f"{server.base_url} answers no prompt for {endpoint.model} ({'; '.join(refusals)}): "
        "check that it is an OpenAI-compatible server and the model's name"
    )


def _try(server: _Server, model: str, form: Form, prompt: object) -> Answer:
    """The answer to a request for one token. Raises EndpointError where another form would not
    help."""
    answer = server.post(*_question(model, form, prompt))
    if answer.status in (401, 403):
        raise EndpointError(f"{server.base_url} wants a key ({answer.status}): {KEY_HINT}")
    if answer.status == 429:
        raise EndpointError(f"{server.base_url} is over its rate limit (429): try again later")
    return answer


def _question(model: str, form: Form, prompt: object) -> tuple[str, dict[str, object]]:
    api, _ = form
    body: dict[str, object] = {"model": model, "max_tokens": 1, "temperature": 0.0}
    if api == "completions":
        return "/completions", body | {"prompt": prompt}
    return "/chat/completions", body | {"messages": [{"role": "user", "content": prompt}]}


def _one_token(endpoint: Endpoint) -> tuple[str, dict[str, object]]:
    """The shortest request that `endpoint` takes."""
    ids = list(range(endpoint.vocabulary[0], endpoint.vocabulary[0] + 4))
    prompt = ids if endpoint.prompt_form == "token_ids" else WORDS[0]
    return _question(endpoint.model, (endpoint.api, endpoint.prompt_form), prompt)


def _prompt_tokens(answer: Answer) -> int | None:
    usage = answer.json().get("usage")
    count = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return count if type(count) is int and 0 <= count < MOST else None


def _takes_extensions(server: _Server, endpoint: Endpoint) -> bool:
    """Whether the server takes vLLM's own request fields; others refuse them as unknown."""
    path, body = _one_token(endpoint)
    return server.post(path, {**body, **of_exact_length()}).status == 200


def _with_extras(endpoint: Endpoint) -> Endpoint:
    """`endpoint` with the parts that its engine offers beside the OpenAI API, and with the values
    of a doubt "absent" for each part that it lacks."""
    server = _Server(endpoint.base_url, endpoint.api_key)
    absent = list(endpoint.absent)
    metrics = server.extra(METRICS_PATH)
    page = metrics.body if metrics.status == 200 else b""
    names, lacking = _metrics_at(page, endpoint.metric_names)
    absent += lacking
    version: Any = server.extra(VERSION_PATH).json().get("version")
    if not isinstance(version, str):
        version = None
        absent.append({"variant": "no_version", "path": VERSION_PATH})
    if endpoint.max_model_len is None:
        absent.append({"variant": "no_context"})
    if not endpoint.extensions:
        absent.append({"variant": "no_exact_length", "field": IGNORE_EOS})
    return replace(
        endpoint,
        has_metrics=names is not None,
        metric_names=endpoint.metric_names if names in (None, METRICS) else names,
        facts=replace(endpoint.facts, version=version),
        absent=tuple(absent),
    )


def _metrics_at(
    page: bytes, own: MetricNames | None
) -> tuple[MetricNames | None, tuple[Values, ...]]:
    """The names by which `page` of /metrics is read, `own` where it has them; None with the values
    of a doubt "absent" where it is of a server whose metrics are not read."""
    if own is not None:
        return (own if f"\n{own.prefix}".encode() in page else None), ()
    kind = kind_at(page)
    if kind is not None and kind.names is not None:
        return kind.names, ()
    if kind is not None:
        return None, ({"variant": "metrics_of", "kind": kind.name},)
    return None, ({"variant": "metrics_of_unknown"},) if is_prometheus(page) else ()


# ---- its process -------------------------------------------------------------------------------


def _with_process(endpoint: Endpoint) -> Endpoint:
    """`endpoint` with the process that serves it, where that runs on this host and may be seen."""
    parts = url_parts(endpoint.base_url)
    if not is_loopback(parts.hostname or ""):
        return replace(endpoint, absent=(*endpoint.absent, {"variant": "other_host"}))
    pid = _root_of(listeners(parts.port or (443 if parts.scheme == "https" else 80)))
    if pid is None:
        return replace(endpoint, absent=(*endpoint.absent, {"variant": "no_process"}))
    return replace(endpoint, pid=pid)


def is_loopback(host: str) -> bool:
    """Whether the name or address `host` reaches this host only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listeners(port: int, address: str | None = None) -> set[int | None]:
    """The ids of the processes that listen on `port` here, at `address` or (None) at any; None
    among them stands for a process that may not be seen."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return {None}
    return {
        one.pid
        for one in connections
        if one.status == psutil.CONN_LISTEN
        and one.laddr
        and one.laddr.port == port
        and address in (None, one.laddr.ip)
    }


def _root_of(pids: set[int | None]) -> int | None:
    """The process of `pids` whose children the others are; None where there is no such process, or
    where it only forwards to another."""
    try:
        for pid in pids:
            if pid is None:
                return None
            process = psutil.Process(pid)
            family = {pid, *(child.pid for child in process.children(recursive=True))}
            if pids <= family:
                return None if process.name() in FORWARDERS else pid
    except psutil.Error:
        return None
    return None
