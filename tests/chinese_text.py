"""Chinese texts, and the English that stands in them."""

import re

QUOTED = re.compile(
    r"```.*?```|`[^`\n]*`|<!--.*?-->|\]\(.*?\)|\([0-9a-f ]+\)"  # code, links, ids
    # the words of people and of the system, commands
    r"|^>.*?$|\[Errno[^)）]*|(?:journal|docker compose) [a-z]+( [\w./-]+)*"
    r"|Debian GNU/Linux \d+ \(\w+\)|Intel\(R\) Xeon\(R\)",
    re.DOTALL | re.MULTILINE,
)
MARKS = re.compile(r"(?<!\S)([a-z] )+[a-z](?!\S)")  # of doubts, in a table
SENTENCE = re.compile(r"[A-Za-z']+(?: [A-Za-z']+){2,}")


def english_sentences(text: str) -> list[str]:
    """Three English words and more one after another in `text`, but for what it quotes."""
    return [found[0] for found in SENTENCE.finditer(MARKS.sub("", QUOTED.sub("", text)))]
