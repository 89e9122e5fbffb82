"""Finish reasons in servers' own words, and words that are none."""

import pytest

from journal.load.reasons import known_reason, later_reason

STOP = (
    "stop Stop eos_token EOS eos_token_found eos_token_id natural_stop FinishReason.STOP ended "
    "FINISH_REASON_STOP STOP_REASON_END_TURN end_turn endTurn stopSequence stop_str "
    "end_of_sequence matched_stop COMPLETE success normal done </s> <|im_end|> [EOS] endoftext "
    "end-of-text"
)
LENGTH = (
    "length Length max_tokens MAX_TOKENS maxTokens max-length max_new_tokens_reached truncated "
    "model_length token_limit output_limit length_exceeded model_context_window_exceeded "
    "context_length_exceeded reached_max_tokens max_context FINISH_REASON_MAX_TOKENS"
)
OTHER = (
    "error stop_error abort content_filter max_tool_calls rate_limit time_limit max_time "
    "user_stop tool_calls limit incomplete insufficient_system_resource quota_exceeded"
)


@pytest.mark.parametrize("word", STOP.split())
def test_words_for_stop(word: str) -> None:
    assert known_reason(word) == "stop"


@pytest.mark.parametrize("word", LENGTH.split())
def test_words_for_length(word: str) -> None:
    assert known_reason(word) == "length"


@pytest.mark.parametrize("word", OTHER.split())
def test_other_words_stay_what_they_are(word: str) -> None:
    assert known_reason(word) is None
    assert later_reason(word, None) == word


def test_a_later_reason_replaces_an_earlier_one_but_not_a_final_one() -> None:
    assert later_reason("max_tokens", "stop") == "length"
    assert later_reason("stop", "abort") == "abort"
    for placeholder in ("", None, "null", False, "in_progress", {}, [], {"type": None}):
        assert later_reason(placeholder, "stop") == "stop"
    assert later_reason([{"type": "eos"}], None) == "stop"
