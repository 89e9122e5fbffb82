"""Numbers for people: each stays on one line with its unit."""

import pytest

from journal.units import unbroken


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("took 26.2 us of 1,024 tokens", "took 26.2~us of 1,024~tokens"),
        ("128–172 ms (7.1 times)", "128–172~ms (7.1~times)"),
        ("从 24 ms 变为 1 秒", "从 24~ms 变为 1~秒"),
        ("11428812 9ac3f3e5 96d21916 ab", "11428812 9ac3f3e5 96d21916 ab"),
        ("1 2 3 4 5", "1 2 3 4 5"),
        ("v0.2 has", "v0.2 has"),
    ],
)
def test_a_number_stays_beside_the_word_behind_it(text: str, shown: str) -> None:
    assert unbroken(text) == shown.replace("~", "\u00a0")
