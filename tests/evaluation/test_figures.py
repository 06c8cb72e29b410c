"""What the figures draw of intervals."""

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
