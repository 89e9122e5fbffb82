"""Files of prompts: JSON lines, CSV, or ShareGPT's JSON, read one entry at a time.

A line of JSON is one request: a `prompt` (text or token ids), `messages` of a chat, or the `body`
of a request in the form of OpenAI's batch files. docs/workloads.md lists its keys. Files may be
larger than memory, so that nothing here holds more than one entry.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from journal.errors import SpecError
from journal.records.workload import MOST_TOKENS

READ_AT_ONCE = 1 << 20  # characters of a JSON array
LENGTHS = ("output_tokens", "max_tokens", "max_completion_tokens")
NAMES = ("id", "custom_id", "method", "url")  # of a batch file, or of its reader: nothing is sent
# Fields of the API that a line may give beside its prompt, and which are sent as they are.
SENT = (
    *("tools", "tool_choice", "response_format", "temperature", "top_p", "top_k", "min_p"),
    *("seed", "stop", "frequency_penalty", "presence_penalty", "logit_bias"),
)
ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}
ROLES |= {"chatgpt": "assistant", "model": "assistant", "system": "system"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One entry of a file: the fields of its request, without those that the journal sets. `number`
    counts lines from 1, and entries of a JSON array. `output_tokens` and `at_s` (when it is due, in
    s) are None where it gives none; `whole`: the entry is the body of a request, to which as little
    as possible is added. `turn` counts from 1 where it is one of a conversation, and its messages
    are then those that the turn adds."""

    number: int
    fields: Mapping[str, Any]
    output_tokens: int | None = None
    at_s: float | None = None
    whole: bool = False
    turn: int | None = None

    @property
    def api(self) -> Literal["chat", "completions"]:
        """The part of the API that takes it."""
        return "chat" if "messages" in self.fields else "completions"


def read_lines(path: Path, *, all_turns: bool = False) -> Iterator[Line]:
    """Every entry of the file at `path`, in order. With `all_turns` a conversation in ShareGPT's
    form is read up to its last question, and not to its first. Raises SpecError, naming the file
    and the line, for a file that cannot be read and for an entry that cannot be sent."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, entry in _entries(path, file):
                yield _line(number, entry, all_turns)
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} cannot be read as UTF-8 text: {error}") from error
    except _Unusable as error:
        raise SpecError(f"{path}: line {error.number} cannot be sent: {error}") from None


def sendable(entry: Any) -> bool:
    """Whether an entry of a file can be sent."""
    try:
        _line(1, entry, all_turns=True)
    except _Unusable:
        return False
    return True


class _Unusable(ValueError):
    """An entry that is no request."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(why)
        self.number = number


def _entries(path: Path, file: IO[str]) -> Iterator[tuple[int, Any]]:
    """The entries of a file, each with its number, by the ending of its name."""
    if path.suffix.lower() == ".csv":
        rows = csv.DictReader(file, restkey="more than the columns", strict=True)
        try:
            for row in rows:
                yield rows.line_num, _of_row(rows.line_num, row)
        except csv.Error as error:
            raise _Unusable(rows.line_num, f"it is not CSV ({error})") from None
    elif path.suffix.lower() == ".json":
        yield from enumerate(_of_array(file), start=1)
    else:
        for number, text in enumerate(file, start=1):
            if text.strip():
                yield number, _parsed_line(number, text)


def _parsed_line(number: int, text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _Unusable(number, f"it is not JSON ({error})") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _of_row(number: int, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of CSV as an entry: its empty cells left out, its numbers and messages read."""
    entry = {key: value for key, value in row.items() if value not in (None, "")}
    for key, value in entry.items():
        if key in ("prompt", *NAMES):
            continue
        try:
            entry[key] = json.loads(value, parse_constant=_refuse_constant)
        except (TypeError, ValueError):
            raise _Unusable(number, f"{key} = {str(value)[:60]!r} is not JSON") from None
    return entry


def _of_array(file: IO[str]) -> Iterator[Any]:
    """The elements of a JSON array, one at a time."""
    decoder = json.JSONDecoder(parse_constant=_refuse_constant)
    held, number = file.read(READ_AT_ONCE).lstrip(), 0
    if not held.startswith("["):
        raise _Unusable(1, "a .json file holds an array, which begins with [: is it .jsonl?")
    held = held[1:]
    while True:
        held = held.lstrip()
        if held.startswith("]"):
            return
        begin = 0
        if number and held:
            if not held.startswith(","):
                raise _Unusable(number + 1, "it is not JSON (no comma before it)")
            begin = len(held) - len(held[1:].lstrip())
        try:
            entry, end = decoder.raw_decode(held, begin)
            whole = end < len(held)  # the end of a number may lie beyond what was read
        except (ValueError, RecursionError) as error:
            whole, problem = False, str(error)
        else:
            problem = "the array has no end"
        if whole:
            number, held = number + 1, held[end:]
            yield entry
            continue
        more = file.read(max(READ_AT_ONCE, len(held)))
        if not more:
            raise _Unusable(number + 1, f"it is not JSON ({problem})")
        held += more


def _line(number: int, entry: Any, all_turns: bool) -> Line:
    """The request of one entry. Raises ValueError for one that cannot be sent."""
    if not isinstance(entry, dict):
        raise _Unusable(number, f"it is {_short(entry)}, not an object with a prompt")
    if "conversations" in entry or "conversation" in entry:
        return _shared(number, entry, all_turns)
    kinds = [key for key in ("prompt", "messages", "body") if key in entry]
    if len(kinds) != 1:
        held = " and ".join(kinds) or "none of them"
        raise _Unusable(number, f"it needs one of prompt, messages and body, and has {held}")
    own = dict(entry)
    at_s = _time(number, own.pop("at_s", None))
    if kinds == ["body"]:
        if unknown := own.keys() - {"body", *NAMES}:
            raise _Unusable(number, f"it has a body, and {min(unknown)!r} beside it: put it inside")
        body = own["body"]
        _check_fields(number, body)
        return Line(
            number=number, fields=body, output_tokens=_length(number, body), at_s=at_s, whole=True
        )
    if unknown := own.keys() - {*kinds, *LENGTHS, *SENT, *NAMES}:
        raise _Unusable(
            number,
            f"it has an unknown key {min(unknown)!r} (known: {', '.join((*kinds, *LENGTHS, *SENT))}"
            "; a body holds any)",
        )
    _check_fields(number, own)
    fields = {key: own[key] for key in (*kinds, *SENT) if key in own}
    return Line(number=number, fields=fields, output_tokens=_length(number, own), at_s=at_s)


def _shared(number: int, entry: Mapping[str, Any], all_turns: bool) -> Line:
    """A conversation in ShareGPT's form: its messages up to the first question, whose answer is the
    model's to give, or up to the last."""
    turns = entry.get("conversations", entry.get("conversation"))
    messages = []
    for turn in turns if isinstance(turns, list) else ():
        said = turn if isinstance(turn, dict) else {}
        role = ROLES.get(str(said.get("from", said.get("role"))))
        text = said.get("value", said.get("content"))
        if role is None or not isinstance(text, str):
            raise _Unusable(number, f"{_short(turn)} is not a turn with from and value")
        messages.append({"role": role, "content": text})
        if role == "user" and not all_turns:
            break
    while messages and messages[-1]["role"] != "user":
        messages.pop()
    fields = {"messages": messages}
    if not messages:
        raise _Unusable(number, "nobody asks anything in its conversation")
    _check_fields(number, fields)
    return Line(number=number, fields=fields, output_tokens=_length(number, entry))


def _check_fields(number: int, fields: Any) -> None:
    """Refuse a request without a prompt or with one of another form."""
    if not isinstance(fields, dict) or ("prompt" in fields) == ("messages" in fields):
        raise _Unusable(number, f"{_short(fields)} is not a body with either prompt or messages")
    if "prompt" in fields:
        prompt = fields["prompt"]
        ids = isinstance(prompt, list) and all(type(one) is int for one in prompt)
        if not prompt or not (isinstance(prompt, str) or ids):
            raise _Unusable(number, f"prompt = {_short(prompt)} is neither text nor token ids")
        return
    messages = fields["messages"]
    if not messages or not isinstance(messages, list):
        raise _Unusable(number, f"messages = {_short(messages)} is not a list of messages")
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise _Unusable(number, f"{_short(message)} is not a message with a role")


def _length(number: int, fields: Mapping[str, Any]) -> int | None:
    """The output tokens that an entry asks for; None where it asks for none."""
    given = {key: fields[key] for key in LENGTHS if fields.get(key) is not None}
    if len(set(map(str, given.values()))) > 1:
        raise _Unusable(number, f"it gives {' and '.join(given)}, which differ")
    for key, value in given.items():
        if type(value) is not int or not 0 < value <= MOST_TOKENS:
            raise _Unusable(
                number, f"{key} = {_short(value)} is not a whole number from 1 to {MOST_TOKENS:,}"
            )
        return value
    return None


def _time(number: int, value: Any) -> float | None:
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 <= value < float("inf"):
        raise _Unusable(number, f"at_s = {_short(value)} is not a time in s from 0 on")
    return float(value)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:60] + "..."
