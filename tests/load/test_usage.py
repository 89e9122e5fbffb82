"""Counts of tokens in the usage objects of servers, whatever they call them."""

from typing import Any

import pytest

from journal.load.usage import Usage, usage_elsewhere


def counted(*usages: dict[str, Any]) -> Usage:
    usage = Usage()
    for one in usages:
        usage.take(one)
    return usage


PLAIN = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}


@pytest.mark.parametrize(
    ("usage", "prompt", "output"),
    [
        (PLAIN, 5, 3),
        ({"prompt_tokens": 1, "completion_tokens": 1}, 1, 1),
        ({"input_tokens": 5, "output_tokens": 3}, 5, 3),
        ({"promptTokens": "5", "completionTokens": 3.0}, 5, 3),
        ({"inputTokenCount": 5, "outputTokenCount": "3.0"}, 5, 3),
        ({"prompt_tokens": 5, "total_tokens": 8}, 5, 3),
        ({"prompt_tokens": 5, "total_tokens": 5}, 5, None),
        ({"prompt_tokens": 5, "completion_tokens": 0}, 5, None),
        ({"prompt_tokens": 0, "completion_tokens": 3}, 0, 3),
        ({"completion_tokens": 3}, None, 3),
        ({"prompt_tokens": 2**31, "completion_tokens": 2**31 - 1}, None, 2**31 - 1),
        ({"prompt_tokens": -1, "completion_tokens": 2.5}, None, None),
        ({"prompt_tokens": True, "completion_tokens": "three"}, None, None),
        ({"prompt_tokens": "5" * 19, "completion_tokens": "３"}, None, None),
        ({}, None, None),
    ],
)
def test_counts_are_read_as_servers_write_them(
    usage: dict[str, Any], prompt: int | None, output: int | None
) -> None:
    taken = counted(usage)
    assert (taken.prompt_tokens, taken.output_tokens) == (prompt, output)
    assert taken.reasoning_tokens is taken.cached_tokens is None


def test_a_whole_usage_is_replaced_by_a_whole_one_alone() -> None:
    part = {"completion_tokens": 1}
    assert counted(part).output_tokens == 1
    assert not counted(part).whole
    assert counted(PLAIN, part, {"prompt_tokens": 9}).output_tokens == 3
    assert counted(PLAIN, {"prompt_tokens": 9}).prompt_tokens == 5
    later = counted(part, PLAIN, {"prompt_tokens": 6, "completion_tokens": 4})
    assert (later.whole, later.prompt_tokens, later.output_tokens) == (True, 6, 4)


@pytest.mark.parametrize(
    ("more", "cached", "thoughts"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 4}}, 4, None),
        ({"prompt_cache_hit_tokens": 4}, 4, None),
        ({"cached_tokens": 0}, 0, None),
        ({"completion_tokens_details": {"reasoning_tokens": 2}}, None, 2),
        ({"reasoning_tokens": 2, "prompt_tokens_details": None}, None, 2),
    ],
)
def test_details_stand_in_a_group_or_beside_it(
    more: dict[str, Any], cached: int | None, thoughts: int | None
) -> None:
    taken = counted(PLAIN | more)
    assert (taken.cached_tokens, taken.reasoning_tokens) == (cached, thoughts)
    assert taken.output_tokens == 3
    again = counted(PLAIN | more, PLAIN | {"id": 1})  # which says nothing of them
    assert (again.cached_tokens, again.reasoning_tokens) == (cached, thoughts)


def test_thoughts_that_only_the_total_has_belong_to_the_output() -> None:
    """Providers that leave thoughts out of the output, but not out of the total; Gemini names them
    nowhere else."""
    total = PLAIN | {"total_tokens": 12}
    named = counted(total | {"reasoning_tokens": 4})
    assert (named.output_tokens, named.reasoning_tokens) == (7, 4)
    assert Usage().take(total | {"reasoning_tokens": 4}) == 7
    unnamed = counted(total)
    assert (unnamed.output_tokens, unnamed.reasoning_tokens) == (7, 4)
    inside = counted(PLAIN | {"reasoning_tokens": 2})
    assert (inside.output_tokens, inside.reasoning_tokens) == (3, 2)
    other = counted(total | {"reasoning_tokens": 1})  # and 3 tokens that nobody names
    assert (other.output_tokens, other.reasoning_tokens) == (3, 1)


@pytest.mark.parametrize("more", [{"cached_tokens": 4}, {"cache_creation_input_tokens": 4}])
def test_a_total_with_counts_of_a_cache_has_no_thoughts(more: dict[str, Any]) -> None:
    taken = counted(PLAIN | {"total_tokens": 12} | more)
    assert (taken.output_tokens, taken.reasoning_tokens) == (3, None)


def test_a_count_before_the_last_token_is_stale() -> None:
    usage = counted(PLAIN)
    usage.took_token(None)
    assert usage.output_tokens is None
    usage.take(PLAIN)
    assert usage.output_tokens == 3


def test_a_count_beside_each_token_runs_where_it_grows() -> None:
    growing, same = Usage(), Usage()
    for made in (1, 2, 3):
        growing.took_token(growing.take({"prompt_tokens": 5, "completion_tokens": made}))
        same.took_token(same.take({"prompt_tokens": 5, "completion_tokens": 1}))
    assert (growing.runs, growing.output_tokens) == (True, 3)
    assert (same.runs, same.output_tokens) == (False, None), "each counts its chunk alone"
    once = Usage()
    once.took_token(once.take({"prompt_tokens": 5, "completion_tokens": 1}))
    assert (once.runs, once.output_tokens) == (True, 1)
    whole = Usage()
    for _ in range(3):  # a server that knows the end beforehand
        whole.took_token(whole.take({"prompt_tokens": 5, "completion_tokens": 3}))
    assert (whole.runs, whole.output_tokens) == (False, 3)


@pytest.mark.parametrize(
    ("event", "choice", "found"),
    [
        ({}, {"usage": PLAIN}, PLAIN),
        ({}, {"delta": {"usage": PLAIN}}, PLAIN),
        ({"x_groq": {"id": "r", "usage": PLAIN}}, None, PLAIN),
        ({"x_own": {"usage": PLAIN}}, {"delta": None}, PLAIN),
        ({"response": {"usage": PLAIN}}, {"usage": None}, PLAIN),
        ({"tokenUsage": PLAIN}, None, PLAIN),
        ({"usages": [{"prompt_tokens": 1}, PLAIN]}, None, PLAIN),
        ({"usages": []}, None, None),
        ({"stats": PLAIN}, None, None),
        ({"amazon-bedrock-invocationMetrics": {"outputTokenCount": 3}}, None,
         {"outputTokenCount": 3}),
        ({"usage_note": "none", "other": {"usage": PLAIN}}, None, None),
        ({"usage_of_prompt": {"prompt_tokens": 5}}, None, None),
    ],
)  # fmt: skip
def test_usage_in_a_place_of_some_server_s_own(
    event: dict[str, Any], choice: dict[str, Any] | None, found: dict[str, Any] | None
) -> None:
    assert usage_elsewhere(event, choice) == found


def test_the_timings_of_llama_cpp_count_the_prompt_without_its_cached_part() -> None:
    timings = {"prompt_n": 3, "cache_n": 4, "predicted_n": 6}
    taken = counted(usage_elsewhere({"timings": timings}, None) or {})
    assert (taken.prompt_tokens, taken.cached_tokens, taken.output_tokens) == (7, 4, 6)
    unknown = counted(usage_elsewhere({"timings": timings | {"cache_n": None}}, None) or {})
    assert (unknown.prompt_tokens, unknown.output_tokens) == (None, 6)
