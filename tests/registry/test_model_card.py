import pytest
from markdown_views import ODD_NAMES, as_shown, list_tags, read_page, show_markdown
from toy_runs import Trained

from ur4rec.evaluation.results import Results, load_results
from ur4rec.registry.model_card import CUT, LONGEST_DESCRIPTION, fit_description, render_card


@pytest.fixture
def results(trained: Trained) -> Results:
    return load_results(trained.results)


def test_the_card_says_what_how_good_for_whom_and_where_not(results: Results) -> None:
    card = render_card(results, "0.1.0+abc")
    headings = [line for line in card.splitlines() if line.startswith("#")]
    assert headings == [
        f"# {results.model_name} on {results.dataset.name}",
        "## Intended use",
        "## What it was trained and tested on",
        "## Test metrics, with 95 % intervals over users",
        "## NDCG@10 of parts of the users",
        "## Limits",
    ]
    assert f"| data digest | `{results.dataset.digest}` |" in card
    assert f"| protocol | {results.protocol} |" in card
    assert "| code | `0.1.0+abc` |" in card
    assert all(f"* {note}" in card for note in results.notes)


def test_every_system_and_slice_has_a_row_with_its_interval(results: Results) -> None:
    card = render_card(results, "")
    for system, metrics in results.test.items():
        estimate = metrics["ndcg@10"]
        low, high = estimate.ci95
        assert f"| {system} | {estimate.value:.4f} ({low:.4f} to {high:.4f}) |" in card
    assert card.count("| users by history length |") == sum(part.by == "history_length" for part in results.slices)
    assert card.count("| targets by popularity |") == sum(part.by == "target_popularity" for part in results.slices)


def test_a_description_is_no_longer_than_mlflow_keeps(results: Results) -> None:
    card = render_card(results, "")
    assert fit_description(card) == card
    long = render_card(results.model_copy(update={"notes": [f"note {number}" for number in range(500)]}), "")
    fitted = fit_description(long)
    assert len(fitted) <= LONGEST_DESCRIPTION < len(long)
    assert fitted.endswith(CUT)
    assert long.startswith(fitted.removesuffix(CUT) + "\n")


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_full_of_markup_is_shown_as_it_is(results: Results, name: str) -> None:
    data = results.dataset.model_copy(update={"name": name})
    plain = show_markdown(render_card(results, "0.1.0"))
    page = show_markdown(render_card(results.model_copy(update={"dataset": data}), "0.1.0"))
    assert list_tags(page) == list_tags(plain)
    shown = read_page(page)
    assert f"{results.model_name} on {as_shown(name)} Intended use" in shown
    assert f"data {as_shown(name)}: {data.num_users} users" in shown
