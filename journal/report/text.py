"""Text from elsewhere made safe to show: nothing hidden, nothing run, nothing linked."""

import re
import unicodedata

from journal.redaction import hidden

HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # controls, format marks, lone surrogates, separators
PICTURES = 0x2400  # the Unicode block with a picture of each ASCII control character
MARKUP = re.compile(r"[\\`*_\[\]|#$~^]|==|%%|(?<=:)//|(?<=\bwww)\.|@", re.IGNORECASE)
ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
LIST_OR_RULE = re.compile(r"^(?:[-+=]+(?=\s|$)|\d+[.)](?=\s|$))")


def visible(text: str, keep: str = "") -> str:
    """`text` without secrets, and with every character that has no shape of its own (controls,
    marks that turn the direction of writing, lone surrogates) shown by a picture or its number, but
    for `keep`."""
    text = hidden(text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        _shape(char) if unicodedata.category(char) in HIDDEN and char not in keep else char
        for char in text
    )


def _shape(char: str) -> str:
    code = ord(char)
    if code < 0x20:
        return chr(PICTURES + code)
    return "\u2421" if code == 0x7F else f"<U+{code:04X}>"


def markdown(text: str) -> str:
    """`text` escaped so that one line of Markdown (CommonMark, GitHub and Obsidian), in a table
    too, shows it as it stands: no markup, no HTML, no link."""
    safe = MARKUP.sub(_escape, visible(text).strip()).translate(ENTITIES)
    return LIST_OR_RULE.sub(_escape, safe)


def _escape(match: re.Match[str]) -> str:
    mark = match.group()
    if mark[0].isdigit():
        return f"{mark[:-1]}\\{mark[-1]}"
    return "".join(f"\\{char}" for char in mark)


def fenced(text: str) -> str:
    """`text` as a fenced block of Markdown that nothing in it can close."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    shown = visible(text, keep="\n")
    return f"{fence}text\n{shown}\n{fence}"


def slug(text: str) -> str:
    """The letters and digits of `text` joined by hyphens, at most 40, for the name of a file."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")
