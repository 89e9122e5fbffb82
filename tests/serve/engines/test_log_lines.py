"""What of a log may be shown."""

from journal.serve.engines.log_lines import tail


def test_the_tail_is_bounded_and_clean() -> None:
    text = "\n".join(f"\x1b[31mline {n}\x1b[0m\r" for n in range(100))
    assert tail(text).splitlines() == [f"line {n}" for n in range(70, 100)]
