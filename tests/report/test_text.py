import html
import re
import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from journal.report.text import fenced, markdown, slug, visible

HOSTILE = [
    "<script>alert(1)</script>",
    "a | b || c",
    "`code` ``more`` ```block",
    "[link](https://example.org) ![image](x.png) [[wiki]]",
    "https://example.org www.example.org someone@example.org",
    "*bold* __strong__ ~~gone~~ ==marked== $x^2$ %%hidden%% #tag",
    "&lt;b&gt; &amp; &#60;",
    "- item",
    "    indented",
    " -",
    "1. item",
    "1) item",
    "+ item",
    "---",
    "===",
    "# heading",
    "> quote",
    "line one\nline two\r\n\tthree",
    "right \u202e to \u2066 left",
    "zero\u200bwidth \ufeffmark",
    "nul \x00 escape \x1b[31m red",
    "a lone surrogate \udc80",
    "trailing backslash \\",
    "中文 | 模型 `名`",
]
PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
hostile = st.sampled_from(HOSTILE) | st.text() | st.text(alphabet="`*_[]<>|\\~#$=%&-+1.) \n:/w@a")


def read(rendered: str) -> str:
    """What a reader sees of one rendered paragraph; any other element stays, and shows."""
    return html.unescape(re.sub(r"</?p>", "", rendered)).strip()


@given(hostile)
def test_a_text_reads_in_markdown_as_itself(text: str) -> None:
    shown = visible(text).strip()
    assert read(PARSER.render(markdown(text))) == shown


@given(hostile)
def test_a_text_stays_in_its_place_in_a_table(text: str) -> None:
    rendered = PARSER.render(f"| a | b |\n| --- | --- |\n| {markdown(text)} | end |")
    cells = re.findall(r"<td>(.*?)</td>", rendered, re.DOTALL)
    assert [read(cell) for cell in cells] == [visible(text).strip(), "end"]


@given(hostile)
def test_nothing_closes_a_fenced_block(text: str) -> None:
    tokens = MarkdownIt("commonmark").parse(fenced(text))
    assert [token.type for token in tokens] == ["fence"]


@given(hostile)
def test_nothing_hidden_is_left(text: str) -> None:
    kinds = {unicodedata.category(char) for char in visible(text)}
    assert not kinds & {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_control_characters_are_shown() -> None:
    assert visible("a\x00b\x1b\x7f\n") == "a␀b␛␡␊"
    assert visible("a\u202eb") == "a<U+202E>b"
    assert visible("two\nlines", keep="\n") == "two\nlines"


def test_bare_addresses_are_no_links() -> None:
    escaped = markdown("https://example.org, www.example.org and someone@example.org")
    assert "://" not in escaped
    assert "www." not in escaped
    assert not re.search(r"\w@", escaped)


@given(hostile)
def test_a_slug_is_a_safe_file_name(text: str) -> None:
    assert re.fullmatch(r"[a-z0-9-]{0,40}", slug(text))


def test_a_slug_keeps_what_a_name_says() -> None:
    assert slug("Mistral vs. Llama 3 / ../etc") == "mistral-vs-llama-3-etc"
