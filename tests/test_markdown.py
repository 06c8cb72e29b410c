import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_views import ODD_NAMES, as_shown, list_tags, read_page, show_markdown

from ur4rec import markdown
from ur4rec.markdown import escape_markdown, make_code_span, make_table

MARKUP = st.text(st.sampled_from("ab1 \\`*_[]()<>|~#&;:@!\n-/"), min_size=1).map(lambda text: f"x{text}x")


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_is_shown_as_it_is_in_a_heading_a_cell_and_a_list(name: str) -> None:
    escaped = escape_markdown(name)
    page = show_markdown(f"# of {escaped}\n\n* {escaped}\n\n{make_table(('name',), [(escaped,)])}\n")
    assert list_tags(page) == {"h1", "ul", "li", "table", "thead", "tr", "th", "tbody", "td"}
    assert read_page(page) == " ".join(["of", as_shown(name), as_shown(name), "name", as_shown(name)])


@given(MARKUP)
def test_nothing_of_a_name_is_markup(name: str) -> None:
    page = show_markdown(f"Text {escape_markdown(name)}.")
    assert list_tags(page) == {"p"}
    assert read_page(page) == f"Text {as_shown(name)}."


@given(MARKUP)
def test_nothing_of_a_name_is_markup_in_a_table(name: str) -> None:
    page = show_markdown(make_table(("name", "value"), [(escape_markdown(name), "1")]))
    assert list_tags(page) == {"table", "thead", "tr", "th", "tbody", "td"}
    assert read_page(page) == f"name value {as_shown(name)} 1"


@given(MARKUP)
def test_code_is_shown_as_it_is(name: str) -> None:
    page = show_markdown(f"The {make_code_span(name)}.")
    assert list_tags(page) == {"p", "code"}
    assert read_page(page).replace(" ", "") == f"The{name}.".replace(" ", "").replace("\n", "")


def test_the_examples_hold() -> None:
    assert doctest.testmod(markdown) == (0, 2)
