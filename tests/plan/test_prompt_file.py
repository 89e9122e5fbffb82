"""Files of prompts: each form is read, each bad line is named, and no file is held whole."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.errors import SpecError
from journal.plan import prompt_file
from journal.plan.prompt_file import read_lines

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "你好？"}]
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {}}}]


def written(folder: Path, name: str, *entries: Any) -> Path:
    path = folder / name
    lines = (
        one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in entries
    )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_line_of_each_form_is_read(tmp_path: Path) -> None:
    body = {"model": "other", "messages": CHAT, "max_completion_tokens": 5, "n": 1}
    path = written(
        tmp_path,
        "mine.jsonl",
        {"prompt": "one", "output_tokens": 3, "at_s": 0.5},
        "",
        {"prompt": [1, 2, 3], "max_tokens": 4, "id": "b"},
        {"messages": CHAT, "tools": TOOLS, "temperature": 0.7},
        {"custom_id": "d", "method": "POST", "url": "/v1/chat/completions", "body": body},
    )
    one, two, three, four = read_lines(path)
    assert (one.number, one.fields, one.output_tokens, one.at_s) == (1, {"prompt": "one"}, 3, 0.5)
    assert (two.number, two.fields, two.output_tokens) == (3, {"prompt": [1, 2, 3]}, 4)
    assert three.fields == {"messages": CHAT, "tools": TOOLS, "temperature": 0.7}
    assert (three.api, three.output_tokens) == ("chat", None)
    assert (four.fields, four.output_tokens, four.whole) == (body, 5, True)


def test_csv_is_read_with_numbers_and_messages(tmp_path: Path) -> None:
    chat = json.dumps(CHAT).replace('"', '""')
    path = written(
        tmp_path, "mine.csv", "prompt,messages,output_tokens", '"two\nlines",,7', f',"{chat}",'
    )
    one, two = read_lines(path)
    assert (one.fields, one.output_tokens) == ({"prompt": "two\nlines"}, 7)
    assert two.fields == {"messages": CHAT}


def test_sharegpt_asks_the_first_question(tmp_path: Path) -> None:
    turns = [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": "first"},
        {"from": "gpt", "value": "answer"},
        {"from": "human", "value": "second"},
    ]
    path = written(tmp_path, "mine.json", json.dumps([{"id": "a", "conversations": turns}] * 2))
    one, two = read_lines(path)
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "first"}]
    assert (one.fields, two.fields) == ({"messages": asked}, {"messages": asked})
    assert (one.number, two.number) == (1, 2)


BAD = {
    '{"prompt": "x"': "not JSON",
    '["x"]': "not an object",
    "{}": "has none of them",
    '{"prompt": "x", "messages": []}': "prompt and messages",
    '{"prompt": ""}': "neither text nor token ids",
    '{"prompt": [1, "2"]}': "neither text nor token ids",
    '{"prompt": [true]}': "neither text nor token ids",
    '{"messages": []}': "not a list of messages",
    '{"messages": [{"content": "x"}]}': "not a message with a role",
    '{"prompt": "x", "output_tokens": 0}': "not a whole number from 1",
    '{"prompt": "x", "max_tokens": 1.5}': "not a whole number from 1",
    '{"prompt": "x", "max_tokens": 2, "output_tokens": 3}': "which differ",
    '{"prompt": "x", "at_s": -1}': "not a time in s",
    '{"prompt": "x", "at_s": NaN}': "not JSON",
    '{"prompt": "x", "promt": "y"}': "unknown key 'promt'",
    '{"body": {"input": "x"}}': "not a body",
    '{"body": {"prompt": "x"}, "tools": []}': "put it inside",
    '{"conversations": [{"from": "gpt", "value": "x"}]}': "nobody asks",
    '{"conversations": [{"from": "ghost", "value": "x"}]}': "not a turn",
    "[" * 100_000: "not JSON",
}


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad[:40])
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, bad: str) -> None:
    path = written(tmp_path, "mine.jsonl", {"prompt": "good"}, bad, {"prompt": "good"})
    with pytest.raises(SpecError, match=r"mine\.jsonl: line 2 cannot be sent: ") as caught:
        list(read_lines(path))
    assert BAD[bad] in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", '{"prompt": "x"}', "holds an array"),
        ("a.json", '[{"prompt": "x"}, {"prompt"', "line 2 cannot be sent: it is not JSON"),
        ("a.json", '[{"prompt": "x"} {"prompt": "y"}]', "line 2 cannot be sent: it is not JSON"),
        ("a.csv", "prompt,max_tokens\nx,many\n", "max_tokens = 'many' is not JSON"),
        ("a.csv", 'prompt\n"x', "it is not CSV"),
        ("a.csv", "prompt\nx,y\n", "line 2"),
    ],
)
def test_a_bad_file_of_another_form_is_named_too(
    tmp_path: Path, name: str, text: str, words: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        list(read_lines(path))
    assert words in str(caught.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    with pytest.raises(SpecError, match=r"mine\.jsonl cannot be read"):
        list(read_lines(path))
    path.write_bytes(b'{"prompt": "\xff"}\n')
    with pytest.raises(SpecError, match="UTF-8"):
        list(read_lines(path))


@given(st.lists(st.text(min_size=1), min_size=1, max_size=20), st.integers(1, 40))
def test_an_array_is_the_same_however_it_is_read(texts: list[str], at_once: int) -> None:
    import tempfile

    entries = [{"prompt": text} for text in texts]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(prompt_file, "READ_AT_ONCE", at_once)
        path = Path(folder) / "all.json"
        path.write_text(json.dumps(entries, indent=1))
        assert [line.fields for line in read_lines(path)] == entries


@pytest.mark.parametrize("name", ["big.jsonl", "big.json"])
def test_a_large_file_is_not_held_in_memory(tmp_path: Path, name: str) -> None:
    line = json.dumps({"prompt": "x" * 100_000})
    path = tmp_path / name
    joined = ",".join([line] * 200) if name.endswith(".json") else "\n".join([line] * 200)
    path.write_text(f"[{joined}]" if name.endswith(".json") else joined)
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_lines(path)) == 200
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < path.stat().st_size / 2
