import contextlib
import http.server
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.errors import MeasureError
from journal.measure.server import (
    PrometheusSample,
    ServerConnection,
    complete,
    parsed_samples,
    server_reading,
    wanted,
)
from journal.records.engine import Endpoint, EngineFacts
from journal.records.samples import ServerReading
from journal.serve.engines.vllm.metric_names import METRICS
from journal.theory.model_table import find_model

TEXTS = Path(__file__).parent.parent / "data" / "metrics"
Answer = tuple[int, bytes]


def text(name: str) -> bytes:
    return (TEXTS / f"vllm-{name}.txt").read_bytes()


# ---- reading the text ------------------------------------------------------------------------


def test_version_0_6_has_no_prefix_counters_and_they_stay_absent() -> None:
    assert server_reading(text("0.6"), 1.5) == ServerReading(
        at_s=1.5,
        running=8,
        waiting=3,
        kv_cache_fraction=0.25,
        preemptions_total=2,
        prompt_tokens_total=4096,
        output_tokens_total=512,
    )


def test_the_new_name_counts_where_old_and_new_stand_side_by_side() -> None:
    assert server_reading(text("0.10"), 0) == ServerReading(
        at_s=0,
        running=4,
        waiting=1,
        kv_cache_fraction=0.5,
        preemptions_total=0,
        prefix_queries_total=2048,
        prefix_hits_total=1024,
        prompt_tokens_total=2048,
        output_tokens_total=256,
    )


def test_engines_are_summed_and_their_equal_pools_averaged() -> None:
    reading = server_reading(text("0.32-two-engines"), 0)
    assert (reading.running, reading.waiting, reading.preemptions_total) == (7, 2, 3)
    assert (reading.prompt_tokens_total, reading.output_tokens_total) == (2000, 100)
    assert reading.kv_cache_fraction == 0.375
    assert reading.prefix_queries_total == 0


def test_absent_is_not_zero() -> None:
    assert server_reading(b"", 0) == ServerReading(at_s=0)
    assert server_reading(b"vllm:num_requests_running 0\n", 0).running == 0


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf"])
def test_a_value_that_is_no_number_is_absent(value: str) -> None:
    line = 'vllm:num_requests_running{engine="%d"} %s\n'
    assert server_reading((line % (0, "3") + line % (1, value)).encode(), 0).running is None


def test_the_wanted_lines_carry_the_whole_reading() -> None:
    for name in ("0.6", "0.10", "0.32-two-engines"):
        assert server_reading(wanted(text(name)), 0) == server_reading(text(name), 0)
        assert b"iteration_tokens" not in wanted(text(name))


def test_a_line_with_timestamp_exemplar_and_escapes() -> None:
    line = rb'a:b{x="1 \"}\\ \n,",y="{" , z="" } 4.5e1 1700000000000 # {t="u"} 0.5'
    assert list(parsed_samples(line)) == [
        PrometheusSample("a:b", {"x": '1 "}\\ \n,', "y": "{", "z": ""}, 45.0)
    ]


names = st.from_regex(r"[a-z_:][a-z0-9_:]{0,12}", fullmatch=True)
label_names = st.from_regex(r"[a-z_][a-z0-9_]{0,6}", fullmatch=True)
labels = st.dictionaries(label_names, st.text(max_size=12), max_size=4)
values = st.floats(allow_nan=False)


def written(name: str, label: dict[str, str], value: float) -> str:
    def escaped(raw: str) -> str:
        return raw.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

    pairs = ",".join(f'{key}="{escaped(raw)}"' for key, raw in label.items())
    return f"{name}{{{pairs}}} {value!r}" if pairs else f"{name} {value!r}"


@given(st.lists(st.tuples(names, labels, values), max_size=5))
def test_what_is_written_is_read_back(
    written_samples: list[tuple[str, dict[str, str], float]],
) -> None:
    lines = "\n".join(written(*one) for one in written_samples)
    assert [tuple(one) for one in parsed_samples(lines.encode())] == written_samples


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_read_without_a_fault(data: bytes) -> None:
    server_reading(data, 0)


@given(data=st.data())
def test_a_broken_page_never_invents_numbers(data: st.DataObject) -> None:
    page = text("0.32-two-engines")
    cut = data.draw(st.integers(0, len(page)))
    whole = server_reading(page, 0)
    part = server_reading(page[:cut].rpartition(b"\n")[0], 0)
    for field in METRICS.readings.keys() - {"kv_cache_fraction"}:
        value = getattr(part, field)
        assert value is None or value <= getattr(whole, field)


# ---- asking the server -----------------------------------------------------------------------


class Pages(http.server.ThreadingHTTPServer):
    """Answers GETs by `answer(path)`, and keeps the paths. `keep` False closes each
    connection after an answer without saying so before."""

    daemon_threads = True

    def __init__(self, answer: Callable[[str], Answer], *, keep: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), _Page)
        self.answer, self.keep = answer, keep
        self.paths: list[str] = []
        self.keys: list[str | None] = []
        self.connections = 0

    @property
    def endpoint(self) -> Endpoint:
        url = f"http://127.0.0.1:{self.server_port}/v1"
        return Endpoint(base_url=url, model="demo", has_metrics=True)


class _Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Pages

    def setup(self) -> None:
        self.server.connections += 1
        super().setup()

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.server.keys.append(self.headers["Authorization"])
        status, body = self.server.answer(self.path)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = not self.server.keep

    def log_message(self, *_: object) -> None: ...


@contextlib.contextmanager
def serving(server: Pages) -> Iterator[Pages]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_server_that_can_is_asked_for_the_needed_names_only() -> None:
    def narrow(path: str) -> Answer:
        return (200, text("0.32-two-engines")) if "name%5B%5D" in path else (500, b"")

    with serving(Pages(narrow)) as server, ServerConnection(server.endpoint) as connection:
        for _ in range(3):
            assert server_reading(connection.look(), 0).running == 7
        assert all(path.startswith("/metrics/?") for path in server.paths)
        for name in ("kv_cache_usage_perc", "gpu_cache_usage_perc", "num_preemptions_total"):
            assert f"vllm%3A{name}" in server.paths[0]
        assert server.connections == 1


@pytest.mark.parametrize("refusal", [(404, b""), (200, b"# nothing of that name\n")])
def test_a_server_that_cannot_is_asked_for_the_page(refusal: Answer) -> None:
    def whole(path: str) -> Answer:
        return (200, text("0.6")) if path == "/metrics" else refusal

    with serving(Pages(whole)) as server, ServerConnection(server.endpoint) as connection:
        connection.look()
        assert server_reading(connection.look(), 0).running == 8
        assert server.paths[1:] == ["/metrics", "/metrics"]


def test_an_idle_connection_that_the_server_closed_is_opened_again() -> None:
    with serving(Pages(lambda _: (200, b"hello"), keep=False)) as server:
        with ServerConnection(server.endpoint) as connection:
            assert [connection.get("/version") for _ in range(3)] == [b"hello"] * 3
        assert server.connections == 3


def test_the_key_is_sent_and_never_shown() -> None:
    with serving(Pages(lambda _: (401, b""))) as server:
        endpoint = Endpoint(base_url=server.endpoint.base_url, model="demo", api_key="s3cret")
        with (
            ServerConnection(endpoint) as connection,
            pytest.raises(MeasureError, match="/metrics answered HTTP 401") as caught,
        ):
            connection.get("/metrics")
        assert server.keys == ["Bearer s3cret"]
        assert "s3cret" not in str(caught.value)


def test_a_server_below_a_path() -> None:
    with serving(Pages(lambda _: (200, b"{}"))) as server:
        url = f"http://127.0.0.1:{server.server_port}/team/a/v1"
        with ServerConnection(Endpoint(base_url=url, model="demo")) as connection:
            connection.get("/version")
        assert server.paths == ["/team/a/version"]


def test_a_silent_server_is_a_measure_error() -> None:
    with serving(Pages(lambda _: (200, b""))) as server:
        endpoint = server.endpoint
    with (
        ServerConnection(endpoint) as connection,
        pytest.raises(MeasureError, match="did not answer"),
    ):
        connection.get("/metrics")


def test_a_server_that_hangs_is_given_up_after_the_time_out() -> None:
    release = threading.Event()

    def hang(_: str) -> Answer:
        release.wait(10)
        return 200, b""

    with serving(Pages(hang)) as server:
        with (
            ServerConnection(server.endpoint, timeout_s=0.2) as connection,
            pytest.raises(MeasureError, match="timed out"),
        ):
            connection.get("/metrics")
        release.set()


def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem"
        " -out cert.pem -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost".split(),
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server = Pages(lambda _: (200, b"safe"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server):
        url = f"https://localhost:{server.server_port}/v1"
        with ServerConnection(Endpoint(base_url=url, model="demo")) as connection:
            assert connection.get("/version") == b"safe"


# ---- completing what is known of the engine --------------------------------------------------


def answers(metrics: bytes, version: bytes = b'{"version": "0.32.0"}') -> Callable[[str], Answer]:
    pages = {"/metrics": (200, metrics), "/version": (200, version)}
    return lambda path: pages.get(path, (404, b""))


def completed(metrics: bytes, facts: EngineFacts | None = None, name: str = "tiny") -> EngineFacts:
    with serving(Pages(answers(metrics))) as server:
        return complete(facts or EngineFacts(), replace(server.endpoint, model=name))


def test_old_versions_tell_blocks() -> None:
    assert completed(text("0.6")) == EngineFacts(
        version="0.32.0",
        block_size=16,
        kv_pool_tokens=3416 * 16,
        prefix_caching=False,
        kv_cache_dtype="auto",
    )


def test_new_versions_give_tokens_and_bytes_for_each_engine() -> None:
    assert completed(text("0.32-two-engines")) == EngineFacts(
        version="0.32.0",
        block_size=16,
        kv_pool_tokens=2 * 93184,
        kv_pool_bytes=2 * 2**31,
        prefix_caching=False,
        kv_cache_dtype="auto",
    )


def pool(**labels: str) -> bytes:
    given = {"block_size": "16", "num_gpu_blocks": "1000", "sliding_window": "None"} | labels
    return (
        b"vllm:cache_config_info{%s} 1\n"
        % ",".join(f'{name}="{value}"' for name, value in given.items()).encode()
    )


def test_a_hybrid_model_without_its_own_count_is_not_multiplied_out() -> None:
    assert completed(pool()).kv_pool_tokens == 16_000
    for hint in (
        {"mamba_block_size": "4096"},
        {"mamba_page_size_padded": "1081344"},
        {"block_size": "544"},
    ):
        assert completed(pool(**hint)).kv_pool_tokens is None
    assert completed(pool(mamba_block_size="None")).kv_pool_tokens == 16_000
    own = pool(mamba_block_size="4096", kv_cache_size_tokens="9000")
    assert completed(own).kv_pool_tokens == 9000


def test_a_model_that_only_its_name_or_a_window_tells_is_not_multiplied_out() -> None:
    assert completed(pool(sliding_window="1024")).kv_pool_tokens is None
    mistral = dict(find_model("Mistral-7B-v0.1").config)
    known = completed(pool(sliding_window="4096"), EngineFacts(config=mistral))
    assert known.kv_pool_tokens == 16_000
    for name in ("Qwen/Qwen3-Next-80B", "gemma-3-27b-it", "qwen3.5-27b", "gpt-oss-120b"):
        assert completed(pool(), name=name).kv_pool_tokens is None, name
    for name in ("Qwen3-32B", "MiniMax-M2", "gemma-7b", "Llama-3.1-8B"):
        assert completed(pool(), name=name).kv_pool_tokens == 16_000, name


def test_a_model_with_some_windowed_layers_is_not_multiplied_out() -> None:
    gemma = dict(find_model("google/gemma-2-9b-it").config)
    assert completed(pool(), EngineFacts(config=gemma)).kv_pool_tokens is None
    llama = dict(find_model("meta-llama/Llama-3.1-8B-Instruct").config)
    assert completed(pool(), EngineFacts(config=llama)).kv_pool_tokens == 16_000


def test_engines_that_each_show_the_blocks_of_all_are_counted_once() -> None:
    page = pool(engine="0") + pool(engine="1")
    assert completed(page).kv_pool_tokens == 16_000
    of_their_own = pool(engine="0") + pool(engine="1", num_gpu_blocks="998")
    assert completed(of_their_own).kv_pool_tokens == (1000 + 998) * 16


def test_exact_bytes_of_a_pool_go_over_those_of_a_log() -> None:
    rounded = EngineFacts(kv_pool_bytes=round(4.0 * 2**30), kv_pool_tokens=1)
    done = completed(text("0.32-two-engines"), rounded)
    assert (done.kv_pool_bytes, done.kv_pool_tokens) == (2 * 2**31, 1)


def test_facts_of_the_engine_itself_stay() -> None:
    facts = EngineFacts(version="0.31", kv_pool_tokens=1, kv_pool_bytes=2, weights_bytes=3)
    done = completed(text("0.10"), facts)
    assert (done.version, done.kv_pool_tokens, done.kv_pool_bytes) == ("0.31", 1, 2)
    assert (done.weights_bytes, done.block_size, done.prefix_caching) == (3, 16, True)


@pytest.mark.parametrize("version", [b"not json", b"[]", b'{"version": 3}', b"\xff"])
def test_a_strange_version_is_absent(version: bytes) -> None:
    with serving(Pages(answers(b"", version))) as server:
        assert complete(EngineFacts(), server.endpoint) == EngineFacts()


def test_a_server_that_is_gone_tells_nothing() -> None:
    with serving(Pages(lambda _: (200, b""))) as server:
        endpoint = server.endpoint
    assert complete(EngineFacts(block_size=8), endpoint) == EngineFacts(block_size=8)
