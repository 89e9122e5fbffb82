"""Secrets: how they are recognised, and how a text is shown without them.

One rule holds for every text that comes from elsewhere or goes elsewhere: no SHORTEST characters
in a row of a secret stand in it, whether they are written plainly or as a URL, JSON, HTML or base64
writes them, also where characters without a shape (the NULs of UTF-16, a terminal's colours) stand
between them. A part counts like the whole, so that it does not matter who cut the text before.

The secrets that this process knows are those in its environment variables, and those that
`remember` was given: keys are remembered where they are first used.
"""

import os
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from itertools import chain, pairwise
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from journal.escapes import (
    DEEPEST,
    ESCAPE,
    SIGNS,
    UNFINISHED,
    UNSEEN,
    escape_levels,
    unseen_alone,
)

Secret = frozenset[str] | None  # the values of secrets
Hide = Callable[[str], str]  # a text without secrets

HIDDEN = "***"
SHORTEST = 8  # characters: a shorter value may be a common word, and hiding it would spoil the text
NAME = re.compile(
    r"((^|[_-])((API)?KEY|TOKEN|SECRET|PASSPHRASE|PASS|PWD|PAT|JWT|CREDENTIALS?|AUTH(ORIZATION)?)"
    r"|(?-i:[a-z](Key|Token|Secret))|PASSW(OR)?D)$",
    re.IGNORECASE,
)
# The working directories of every shell; the tokens of a tokenizer.
NOT_SECRET = re.compile(r"^(OLD)?PWD$|(eos|bos|pad|unk|sep|cls|mask|image|audio|video)[_-]token$")
STEP = 5  # characters; any SHORTEST in a row hold the beginning of a part of 4 at a multiple of it
MOST_HELD = 4096  # characters of a text in pieces that wait for their end

# Letters of either case, - and _, blank and + are the same: file names and URLs change them.
_ALIKE = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ_+", "abcdefghijklmnopqrstuvwxyz- ")
_NAMED = re.compile(
    r"""["']?([\w-]{3,60})["']?[ \t]*"""
    r"""(?:[=:][ \t]*(?:"{1,3}((?:[^"\\\n]|\\.){8,})|'{1,3}([^'\n]{8,}))"""
    r"""|=[ \t]*([^\s"',}\]]{8,}))"""
)

_remembered: set[str] = set()
_looked_at: tuple[Mapping[Any, Any], frozenset[str]] = {}, frozenset()  # variables, their secrets


def remember(*secrets: str | None) -> None:
    """Leave `secrets` (None: there is none) out of every text from now on; one of fewer than
    SHORTEST characters is passed over."""
    _remembered.update(value for value in secrets if value and len(value) >= SHORTEST)


def means_secret(name: str) -> bool:
    """Whether a variable, flag or key called `name` holds a secret."""
    return NAME.search(name) is not None and NOT_SECRET.search(name) is None


def pattern(values: Iterable[str]) -> Secret:
    """All of `values` as one secret; None where `values` are empty."""
    return frozenset(filter(None, values)) or None


def secrets_of_engine(env: Mapping[str, str], flags: Sequence[str]) -> Secret:
    """The keys and tokens of an engine: the values of variables `env` and of `flags` whose names
    mean a secret, of any length. None where there are none."""
    words = [word for flag in flags for word in flag.split("=", 1)]
    named = {value for name, value in [*env.items(), *pairwise(words)] if means_secret(name)}
    return pattern({*named, *(among(env) or ()), *(one for flag in flags for one in in_text(flag))})


def among(variables: Mapping[str, str]) -> Secret:
    """The values of those `variables` (name: value) that are keys or tokens by their names, and the
    secrets in those that are URLs; values of fewer than SHORTEST characters are left out."""
    found: list[str] = []
    for name, value in variables.items():
        if len(value) < SHORTEST:
            continue
        if means_secret(name):
            found.append(value)
        if "://" in value or name.lower().endswith("_proxy"):
            found += in_url(value)
    return pattern(value for value in found if len(value) >= SHORTEST)


def in_url(url: str) -> list[str]:
    """The secrets in a URL: the password, or a user name that stands alone, and the values in its
    query and fragment whose names mean a secret."""
    _, _, rest = url.rpartition("://")
    user, sign, _ = rest.rpartition("@")
    name, colon, password = user.partition(":")
    found = [password if colon else name] if sign else []
    try:
        parts = urlsplit(url)
        pairs = parse_qsl(parts.query) + parse_qsl(parts.fragment)
    except ValueError:
        pairs = []
    found += [value for name, value in pairs if means_secret(name)]
    return [form for value in found for form in {value, unquote(value)} if form]


def in_text(text: str) -> list[str]:
    """The values in `text`, which may be damaged TOML, JSON or a list of flags, that stand behind a
    name that means a secret."""
    matches = (match for match in _NAMED.finditer(text) if means_secret(match[1]))
    return [value for match in matches for value in match.groups()[1:] if value]


def hidden(text: str, secret: Secret = None) -> str:
    """`text` with *** in the place of every part of `secret`, and of the secrets that this process
    knows. A value of fewer than SHORTEST characters in `secret` is left out where it is a word of
    its own."""
    return _hidden(text, _all(secret))


def hiding(secret: Secret = None) -> Hide:
    """`hidden` for many texts, with `secret` and the secrets that this process knows now."""
    return partial(_hidden, values=_all(secret))


def _hidden(text: str, values: frozenset[str]) -> str:
    if not values or not text:
        return text
    words = _words(values)
    if words is not None:
        text = words.sub(HIDDEN, text)
    grams = _grams(values)
    if not grams or len(text) < SHORTEST:
        return text
    return _starred(text, grams)


def hidden_in(tree: object, secret: Secret = None) -> object:
    """`tree` (mappings, sequences, scalars, as JSON has them) with `hidden` texts and names."""
    return _hidden_in(tree, hiding(secret))


def _hidden_in(tree: object, hide: Hide) -> object:
    if isinstance(tree, str):
        return hide(tree)
    if isinstance(tree, Mapping):
        return {
            hide(name) if isinstance(name, str) else name: _hidden_in(item, hide)
            for name, item in tree.items()
        }
    return [_hidden_in(item, hide) for item in tree] if isinstance(tree, list | tuple) else tree


def shown_url(url: str) -> str:
    """A URL as people may see it: without user, password, values of its query, and fragment, and
    without known secrets. Any text is taken, also one that is no URL."""
    scheme, sign, rest = url.partition("://")
    if not sign:
        scheme, rest = "", url
    before, at, host = rest.rpartition("@")
    user, colon, _ = before.partition(":")
    keeps_user = colon and not scheme.startswith("http") and re.fullmatch(r"[\w.-]*", user)
    kept = f"{user}:{HIDDEN}@" if keeps_user else f"{HIDDEN}@" if at else ""
    place, hash_sign, _ = host.partition("#")
    place, mark, query = place.partition("?")
    names = [
        f"{pair.partition('=')[0]}={HIDDEN}" if "=" in pair else HIDDEN
        for pair in re.split("[&;]", query)
    ]
    shown = f"{scheme}{sign}{kept}{place}" + (f"?{'&'.join(names)}" if mark else "")
    return hidden(shown + (f"#{HIDDEN}" if hash_sign else ""))


class Veil:
    """A text that comes in pieces, without the secrets in it: what may be the beginning of one is
    held back until more has come."""

    def __init__(self) -> None:
        self._held = ""
        self._grams: frozenset[str] | None = None  # looked up with the first piece

    def take(self, piece: str) -> str:
        """The part of the text that may be shown, now that `piece` has come."""
        if self._grams is None:
            self._grams = _grams(_known())
        grams, text = self._grams, self._held + piece
        if not grams or not piece:
            return piece
        end = _settled(text, grams) if len(text) < MOST_HELD else len(text)
        for first, last in _spans(text, grams):
            if last > end - 1 and end < len(text):
                end = min(end, first)
        self._held = text[end:]
        return _starred(text[:end], grams)

    def close(self) -> str:
        """The rest of the text, at its end."""
        held, self._held = self._held, ""
        return hidden(held)


def _all(secret: Secret) -> frozenset[str]:
    return _known() | secret if secret else _known()


def _known() -> frozenset[str]:
    return _of_environment() | _remembered


def _of_environment() -> frozenset[str]:
    """The secrets in the environment variables, which are read again where one has changed. Python
    keeps them in a dict behind os.environ, which compares in 1 us; reading all takes 40."""
    global _looked_at
    variables = getattr(os.environ, "_data", os.environ)
    if variables != _looked_at[0]:
        _looked_at = dict(variables), among(dict(os.environ)) or frozenset()
    return _looked_at[1]


@lru_cache(maxsize=32)
def _words(values: frozenset[str]) -> re.Pattern[str] | None:
    """A pattern of the short ones of `values`, each as a word of its own; None: there are none."""
    short = sorted((value for value in values if len(value) < SHORTEST), key=len, reverse=True)
    return re.compile(rf"(?<!\w)({'|'.join(map(re.escape, short))})(?!\w)") if short else None


@lru_cache(maxsize=32)
def _grams(values: frozenset[str]) -> frozenset[str]:
    """All SHORTEST characters in a row of the long ones of `values`, and of their base64."""
    long = [value for value in values if len(value) >= SHORTEST]
    forms = [*long, *(form for value in long for form in _base64_forms(value))]
    return frozenset(
        form[first : first + SHORTEST].translate(_ALIKE)
        for form in forms
        for first in range(len(form) - SHORTEST + 1)
    )


def _base64_forms(value: str) -> Iterator[str]:
    """The base64 of `value` behind 0, 1 and 2 bytes of another text, without the characters that
    depend on what stands before and behind."""
    data = value.encode("utf-8", "surrogatepass")
    for before in range(3):
        first = -(-before * 8 // 6)
        last = (before + len(data)) * 8 // 6
        yield b64encode(bytes(before) + data).decode()[first:last]
        yield urlsafe_b64encode(bytes(before) + data).decode()[first:last]


def _starred(text: str, grams: frozenset[str]) -> str:
    pieces, end = [], 0
    for first, last in _spans(text, grams):
        pieces += [text[end:first], HIDDEN]
        end = last
    return "".join([*pieces, text[end:]])


def _spans(text: str, grams: frozenset[str]) -> list[tuple[int, int]]:
    """The places in `text` that hold a gram, in order and apart: plainly, or inside escapes."""
    spans = [(first, first + SHORTEST) for first in _matches(text, grams)]
    end = 0
    while sign := SIGNS.search(text, end):
        begin = text.rfind("\n", end, sign.start()) + 1 or end
        end = text.find("\n", sign.end())
        end = len(text) if end < 0 else end
        inside = _spans_in_escapes(text[begin:end], grams)
        spans += [(begin + first, begin + last) for first, last in inside]
    merged: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], last)
        else:
            merged.append((first, last))
    return merged


def _spans_in_escapes(line: str, grams: frozenset[str]) -> Iterator[tuple[int, int]]:
    """The places in `line` that hold a gram once its escapes are read, and those inside them."""
    if unseen_alone(line) and next(_matches(UNSEEN.sub("", line), grams), None) is None:
        return
    for levels in escape_levels(line):
        for first in _matches(levels[-1].text, grams):
            span = first, first + SHORTEST
            for level in reversed(levels):
                span = level.before(*span)
            yield span


def _matches(text: str, grams: frozenset[str]) -> Iterator[int]:
    """Where a gram begins in `text`, in order."""
    text, parts, after = text.translate(_ALIKE), _parts(grams), 0
    for at in range(0, len(text), STEP):
        if text[at : at + SHORTEST - STEP + 1] in parts:
            for first in range(max(after, at - STEP + 1), at + 1):
                if text[first : first + SHORTEST] in grams:
                    yield first
            after = at + 1


@lru_cache(maxsize=32)
def _parts(grams: frozenset[str]) -> frozenset[str]:
    """The parts of grams that `_matches` looks for first."""
    length = SHORTEST - STEP + 1
    return frozenset(gram[i : i + length] for gram in grams for i in range(STEP))


def _settled(text: str, grams: frozenset[str]) -> int:
    """The number of characters at the beginning of `text` that no secret can begin in whatever
    comes next."""
    beginnings = _beginnings(grams)
    tail = text[-SHORTEST * 4 * DEEPEST :]
    reach = len(tail) if ESCAPE.search(tail) or UNFINISHED.search(tail) else SHORTEST
    for first in range(max(0, len(text) - reach), len(text)):
        rest = text[first:]
        for whole in {rest, UNFINISHED.sub("", rest)}:  # the sign at the end may end an escape
            read = (levels[-1].text for levels in escape_levels(whole, ending=False))
            if any(one.translate(_ALIKE) in beginnings for one in chain([whole], read)):
                return first
    return len(text)


@lru_cache(maxsize=32)
def _beginnings(grams: frozenset[str]) -> frozenset[str]:
    return frozenset(gram[:length] for gram in grams for length in range(SHORTEST))
