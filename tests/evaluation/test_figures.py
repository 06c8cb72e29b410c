"""What the figures draw of intervals."""

import base64
from typing import Any

import pytest
from matplotlib.axes import Axes

from ur4rec.evaluation.figures import plot_slices, plot_systems
from ur4rec.evaluation.results import Slice
from ur4rec.ranking.bootstrap import Estimate

SYSTEMS = {
    "above": {"ndcg@10": Estimate(value=0.2, ci95=(0.25, 0.3))},
    "inside": {"ndcg@10": Estimate(value=0.2, ci95=(0.125, 0.25))},
    "below": {"ndcg@10": Estimate(value=0.2, ci95=(0.1, 0.15))},
}
"""The interval of few users may leave their mean out, on either side."""


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The lengths of all error bars that are drawn."""
    lengths: list[Any] = []
    draw = Axes.errorbar

    def note(self: Axes, *arguments: Any, **options: Any) -> Any:
        lengths.append(options.get("xerr") or options.get("yerr"))
        return draw(self, *arguments, **options)

    monkeypatch.setattr(Axes, "errorbar", note)
    return lengths


def test_a_bar_begins_at_the_mean_where_the_interval_leaves_it_out(drawn: list[Any]) -> None:
    assert plot_systems(SYSTEMS, "ndcg@10").startswith("data:image/svg+xml;base64,")
    ((low, high),) = drawn
    assert low == pytest.approx([0.0, 0.075, 0.1])
    assert high == pytest.approx([0.1, 0.05, 0.0])


def test_so_it_does_in_the_figure_of_the_slices(drawn: list[Any]) -> None:
    part = Slice(name="short", by="history_length", low=1, high=9, num_users=3, test=SYSTEMS, expert_weights={})
    assert plot_slices([part], "ndcg@10").startswith("data:image/svg+xml;base64,")
    assert [low for (low,), _ in drawn] == pytest.approx([0.0, 0.075, 0.1])
    assert [high for _, (high,) in drawn] == pytest.approx([0.1, 0.05, 0.0])


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The labels of every panel of slices."""
    labels: list[list[str]] = []
    draw = Axes.set_xticks

    def note(self: Axes, places: Any, names: Any, *arguments: Any) -> Any:
        labels.append(list(names))
        return draw(self, places, labels[-1], *arguments)

    monkeypatch.setattr(Axes, "set_xticks", note)
    return labels


def make_part(by: str, name: str, low: int, high: int) -> Slice:
    return Slice(by=by, name=name, low=low, high=high, num_users=1234, test=SYSTEMS, expert_weights={})


def test_an_empty_group_keeps_its_place(ticks: list[list[str]]) -> None:
    quarters = [make_part("history_length", name, low, low + 2) for name, low in (("q1", 3), ("q2", 6))]
    counted = [make_part("target_count", "1-4", 1, 4), make_part("target_count", "30+", 33, 90)]
    plot_slices([*quarters, *counted], "ndcg@10")
    assert ticks == [
        ["q1\n3–5\nn=1,234", "q2\n6–8\nn=1,234"],
        ["0\nnone", "1-4\nn=1,234", "5-9\nnone", "10-29\nnone", "30+\nn=1,234"],
    ]


def test_what_another_release_measured_is_drawn_as_well(ticks: list[list[str]]) -> None:
    plot_slices([make_part("age", "old", 60, 90), make_part("target_count", "100+", 100, 200)], "ndcg@10")
    assert [names[0] for names in ticks] == ["old\n60–90\nn=1,234", "0\nnone"]
    assert ticks[1][-1] == "100+\nn=1,234"


def test_three_ways_and_none_are_drawn() -> None:
    ways = [make_part(by, "q1", 1, 2) for by in ("age", "history_length", "target_popularity")]
    for slices in ([], ways[:1], ways):
        assert b"<svg" in base64.b64decode(plot_slices(slices, "ndcg@10").partition("base64,")[2])
