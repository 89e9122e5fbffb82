"""Thoughts that a model writes into its answer between tags, such as <think> and </think>."""

_PAIRS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
)
_ENDS = frozenset(">]▷")  # the last characters of tags
_LONGEST = max(len(tag) for pair in _PAIRS for tag in pair)


class Thinking:
    """Text as it comes in, divided into thoughts and the answer.

    Thoughts begin with a tag before any other text. Where a chat template has written that tag into
    the prompt, only the closing one comes: `began_before` then says, for one call of `take`, that
    all text before it was thoughts, but for its last characters: that many belong to the tag.
    `held` is text that may become a tag; `found`: a tag came."""

    def __init__(self) -> None:
        self.held = ""
        self.began_before: int | None = None
        self._close: str | None = None  # the tag that ends the thoughts
        self._begun = False  # text came that is no tag
        self.found = False
        self._trims = False  # blank text between the thoughts and the answer is left out
        self._tail = ""  # the last text, which may hold the beginning of a closing tag

    def take(self, text: str) -> tuple[str, str]:
        """The answer and the thoughts that `text` adds."""
        self.began_before = None
        if self._close is not None:
            return self._inside(text)
        if self._trims:
            text = text.lstrip()
            self._trims = not text
            return text, ""
        if not self._begun:
            return self._at_first(self.held + text)
        if not self.found and not _ENDS.isdisjoint(text):
            return self._unopened(text)
        if not self.found:
            self._tail = (self._tail + text)[-_LONGEST:]
        return text, ""

    def follows(self, text: str) -> bool:
        """Take `text`, of however many pieces, where all of it is more of the answer; else return
        False, and its pieces have yet to be taken."""
        if not self._begun or self._close is not None or self._trims:
            return False
        if not self.found:
            if any(end in text for end in _ENDS):
                return False
            self._tail = (self._tail + text)[-_LONGEST:]
        self.began_before = None
        return True

    def end(self) -> tuple[str, str]:
        """The answer and the thoughts in what is held, once no more text comes."""
        held, self.held = self.held, ""
        return ("", held) if self._close is not None else (held, "")

    def _at_first(self, text: str) -> tuple[str, str]:
        self.held, words = "", text.lstrip()
        for opening, closing in _PAIRS:
            if words.startswith(opening):
                self._begun, self.found, self._close = True, True, closing
                return self._inside(words[len(opening) :])
        if not words or any(opening.startswith(words) for opening, _ in _PAIRS):
            self.held = text
            return "", ""
        self._begun = True
        return self.take(text)

    def _inside(self, text: str) -> tuple[str, str]:
        assert self._close is not None
        text = self.held + text
        thought, tag, rest = text.partition(self._close)
        if tag:
            self.held, self._close, rest = "", None, rest.lstrip()
            self._trims = not rest
            return rest, thought
        kept = next(
            (k for k in range(len(self._close) - 1, 0, -1) if text.endswith(self._close[:k])), 0
        )
        whole = len(text) - kept
        self.held = text[whole:]
        return "", text[:whole]

    def _unopened(self, text: str) -> tuple[str, str]:
        known = len(self._tail)
        both = self._tail + text
        self._tail = both[-_LONGEST:]
        for _, closing in _PAIRS:
            if (at := both.find(closing)) >= 0:
                self.found, self.began_before = True, max(0, known - at)
                rest = both[at + len(closing) :].lstrip()
                self._trims = not rest
                return rest, both[known:at]
        return text, ""
