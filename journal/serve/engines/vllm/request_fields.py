"""The fields that vLLM adds to requests and answers of the OpenAI API, and its paths beside it."""

from collections.abc import Mapping

# Of a request.
IGNORE_EOS = "ignore_eos"  # true: the output has exactly max_tokens
CONTINUOUS_USAGE = "continuous_usage_stats"  # of stream_options: token counts in every chunk
TOKEN_IDS = "return_token_ids"  # true: each chunk carries the ids of its tokens
PROMPT_LOGPROBS = "prompt_logprobs"  # 0: the log-probability of each token of the prompt

# Of the last chunk of a stream, under "metrics", in ms: with --enable-per-request-metrics.
# The time to the first token begins when the request is scheduled, not when it came.
QUEUE_MS = "queue_time_ms"
PREFILL_MS = "time_to_first_token_ms"
DECODE_MS = "generation_time_ms"

METRICS_PATH, VERSION_PATH, HEALTH_PATH = "/metrics", "/version", "/health"
DEVELOPER_PATHS = ("/server_info", "/reset_prefix_cache")


def of_exact_length() -> Mapping[str, object]:
    """The fields of a streamed request whose output has exactly the wanted length and whose chunks
    each carry the count of tokens."""
    return {IGNORE_EOS: True, **of_running_usage()}


def of_running_usage() -> Mapping[str, object]:
    """The fields of a streamed request whose chunks each carry the count of tokens."""
    usage = {"include_usage": True, CONTINUOUS_USAGE: True}
    return {"stream": True, "stream_options": usage}
