"""Names full of markup, and Markdown as a page shows it."""

import html
import re

from markdown_it import MarkdownIt

ODD_NAMES = (
    "<b>bold</b> & co",
    "<script>shown()</script>",
    "*stars* and _lines_ of a_b_c",
    "a | b \\| c \\",
    "`code` and ``more``",
    "[brackets](http://a.example) ![picture](b) [/x]",
    "# no heading #",
    "two\nlines\n\n- and a list",
    "~~struck~~ &lt; @someone :smile: <!-- hidden -->",
)


def show_markdown(text: str) -> str:
    """The page: HTML passes, as in MLflow's and Kubeflow's views."""
    page: str = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)
    return page


def read_page(page: str) -> str:
    """The words that a page shows."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def list_tags(page: str) -> set[str]:
    return set(re.findall(r"<(\w+)", page))


def as_shown(name: str) -> str:
    return " ".join(name.split())
