from pathlib import Path

import numpy as np
import pytest
from markdown_views import ODD_NAMES, as_shown, list_tags, read_page, show_markdown
from numpy.typing import NDArray

from ur4rec.data.sequences import load_sequences
from ur4rec.evaluation.slices import Group
from ur4rec.experiments.ablation_table import (
    AblationTable,
    Dataset,
    Measured,
    Row,
    cells,
    columns,
    compare,
    describe_few_seeds,
    find_long_tail,
    sections,
    tables,
    write_ablation,
)
from ur4rec.ranking.bootstrap import Estimate


def measured(seeds: tuple[int, ...], validation: list[list[int]], test: list[list[int]]) -> Measured:
    """Of targets without ties."""

    def without_ties(rows: list[list[int]]) -> NDArray[np.int64]:
        return np.array([[[rank, rank] for rank in row] for row in rows])

    return Measured("A system", seeds, without_ties(validation), without_ties(test))


# With one relevant item at rank r, ndcg@10 is 1 at rank 1 and 1 / log2(4) = 0.5 at rank 3, and 0 beyond 10.
FULL = measured((1, 2), [[1, 3], [3, 3]], [[1, 3], [1, 1]])
LESS = measured((1, 2), [[3, 3], [3, 3]], [[3, 3], [3, 3]])
BASELINE = measured((), [[1, 1]], [[1, 20]])


def rows(metric: str = "ndcg@10", **systems: Measured) -> dict[str, Row]:
    return {row.name: row for row in compare(systems, "full", metric, 500)}


def test_means_and_deviations_over_seeds() -> None:
    row = rows(full=FULL)["full"]
    assert row.seeds == [1, 2]
    assert row.validation.mean == pytest.approx((0.75 + 0.5) / 2)
    assert row.test["ndcg@10"].mean == pytest.approx((0.75 + 1.0) / 2)
    assert row.test["ndcg@10"].std == pytest.approx(0.25 / 2**0.5)
    assert (row.test["hit@10"].mean, row.test["hit@10"].std) == (1.0, 0.0)
    assert row.difference is None


def test_ties_count_by_the_mean_over_their_places() -> None:
    tied = Measured("A system", (), np.array([[[1, 2], [1, 1]]]), np.array([[[1, 20], [10, 11]]]))
    row = rows(tied=tied)["tied"]
    assert row.validation.mean == pytest.approx(((1 + 1 / np.log2(3)) / 2 + 1) / 2)
    assert row.test["hit@10"].mean == pytest.approx((10 / 20 + 1 / 2) / 2)


def test_a_difference_is_per_user_over_seeds() -> None:
    """User 1: 0.5 − 1; user 2: 0.5 − (0.5 + 1) / 2. Every resample lies between the two."""
    difference = rows(full=FULL, less=LESS)["less"].difference
    assert difference is not None
    assert difference.value == pytest.approx((-0.5 - 0.25) / 2)
    assert difference.ci95 == pytest.approx((-0.5, -0.25))
    assert difference.excludes_zero


def test_a_system_without_seeds_is_compared_with_the_mean_of_all() -> None:
    row = rows(full=FULL, baseline=BASELINE)["baseline"]
    assert (row.seeds, row.paired_seeds) == ([], [1, 2])
    assert row.test["ndcg@10"].std is None
    assert row.difference is not None
    assert row.difference.value == pytest.approx(((1 - 1) + (0 - 0.75)) / 2)


def test_only_common_seeds_are_paired() -> None:
    less = measured((2, 3), [[3, 3], [3, 3]], [[3, 3], [1, 1]])
    row = rows(full=FULL, less=less)["less"]
    assert row.paired_seeds == [2]
    assert row.difference is not None
    assert row.difference.value == pytest.approx(-0.5)
    assert rows(full=FULL, less=Measured("Less", (3, 4), LESS.validation, LESS.test))["less"].difference is None


def test_fewer_than_five_seeds_are_noted() -> None:
    enough = measured(tuple(range(5)), [[1, 1]] * 5, [[1, 1]] * 5)
    assert describe_few_seeds([*rows(full=enough, baseline=BASELINE).values()]) == []
    (note,) = describe_few_seeds([*rows(full=enough, less=LESS, baseline=BASELINE).values()])
    assert note.endswith("a claim needs at least 5 seeds, and there are fewer of less 2")


def test_without_the_reference_there_is_no_difference() -> None:
    assert rows(less=LESS)["less"].difference is None


def test_another_metric_stands_beside_hit_at_10() -> None:
    row = rows("mrr", full=FULL)["full"]
    assert list(row.test) == ["mrr", "hit@10"]
    assert row.validation.mean == pytest.approx((1 + 1 / 3 + 1 / 3 + 1 / 3) / 4)
    assert list(rows("hit@10", full=FULL)["full"].test) == ["hit@10"]


def test_a_slice_holds_its_targets_only() -> None:
    rare = FULL.limited_to(np.array([False, True]), np.array([False, True]))
    row = rows(full=rare)["full"]
    assert (row.validation.mean, row.test["ndcg@10"].mean) == (0.5, 0.75)


def test_the_long_tail_is_below_ten_training_interactions(sequences: Path) -> None:
    """The test items 15 and 16 have none in training; the validation items 11 to 14 have 16 each, as every item has."""
    data = load_sequences(sequences)
    assert find_long_tail(data, data.test).all()
    counts = np.bincount(data.train[:, 1], minlength=data.num_items + 1)
    assert find_long_tail(data, data.val).tolist() == [counts[item] < 10 for item in data.val[:, 1]]
    assert 0 < find_long_tail(data, data.val).sum() < len(data.val)


def test_cells_say_what_is_known() -> None:
    systems = {"full": FULL, "less": LESS, "baseline": BASELINE}
    table = AblationTable(
        dataset=Dataset(name="toy", digest="d", num_users=2, num_items=3, num_targets=2, num_long_tail=0),
        metric="ndcg@10",
        reference="full",
        config={},
        bootstrap_samples=500,
        rows=compare(systems, "full", "ndcg@10", 500),
        long_tail=[],
        failures={},
        notes=[],
    )
    assert [title for title, _ in sections(table)] == ["toy: all 2 test targets"]
    assert columns(table)[-1] == "difference to full"
    full, less, baseline = map(cells, table.rows)
    assert full == ["full", "2", "0.6250 ± 0.1768", "0.8750 ± 0.1768", "1.0000 ± 0.0000", "–"]
    assert less[-1] == "-0.3750 [-0.5000, -0.2500] *"
    assert baseline[:4] == ["baseline", "–", "1.0000", "0.5000"]


def test_groups_of_targets_are_compared_apart() -> None:
    """The first target is rare, the second popular; the groups hold the differences of their own users."""
    groups = [Group("1-4", 2, 2, np.array([0])), Group("30+", 31, 31, np.array([1]))]
    systems = {"full": FULL, "less": LESS, "other_seeds": Measured("Other", (3, 4), LESS.validation, LESS.test)}
    found = {row.name: row.by_target_count for row in compare(systems, "full", "ndcg@10", 500, groups)}
    assert {name: outcome.num_targets for name, outcome in found["full"].items()} == {"1-4": 1, "30+": 1}
    assert (found["full"]["1-4"].test.mean, found["full"]["30+"].test.mean) == (1.0, 0.75)
    assert {outcome.difference for outcome in (*found["full"].values(), *found["other_seeds"].values())} == {None}
    rare, popular = (outcome.difference for outcome in found["less"].values())
    assert rare == Estimate(value=-0.5, ci95=(-0.5, -0.5))
    assert popular == Estimate(value=-0.25, ci95=(-0.25, -0.25))
    table = AblationTable(
        dataset=Dataset(name="toy", digest="d", num_users=2, num_items=3, num_targets=2, num_long_tail=0),
        metric="ndcg@10",
        reference="full",
        config={},
        bootstrap_samples=500,
        rows=compare(systems, "full", "ndcg@10", 500, groups),
        long_tail=[],
        failures={},
        notes=[],
    )
    (_, title), (_, heads), (_, lines) = zip(*tables(table), strict=True)
    assert title == "toy: test ndcg@10 of full and differences to it, targets by training interactions"
    assert heads == ["variant", "1-4 (1 targets)", "30+ (1 targets)"]
    assert lines == [
        ["full", "1.0000 ± 0.0000", "0.7500 ± 0.3536"],
        ["less", "-0.5000 [-0.5000, -0.5000] *", "-0.2500 [-0.2500, -0.2500] *"],
        ["other_seeds", "–", "–"],
    ]


def test_tables_of_an_older_release_are_read() -> None:
    """Without the outcomes by target count there is no table of them."""
    table = AblationTable(
        dataset=Dataset(name="toy", digest="d", num_users=2, num_items=3, num_targets=2, num_long_tail=0),
        metric="ndcg@10",
        reference="full",
        config={},
        bootstrap_samples=500,
        rows=compare({"full": FULL}, "full", "ndcg@10", 500),
        long_tail=[],
        failures={},
        notes=[],
    )
    content = table.model_dump()
    for row in content["rows"]:
        del row["by_target_count"]
    assert AblationTable.model_validate(content) == table
    assert [title for title, _, _ in tables(table)] == ["toy: all 2 test targets"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_and_errors_are_shown_as_they_are(name: str, tmp_path: Path) -> None:
    """Of the data set, of a variant of one's own, and what a failed one said."""
    full, odd = compare({"full": FULL, "other": LESS}, "full", "ndcg@10", 500)
    table = AblationTable(
        dataset=Dataset(name=name, digest="ab" * 32, num_users=2, num_items=3, num_targets=2, num_long_tail=0),
        metric="ndcg@10",
        reference="full",
        config={},
        bootstrap_samples=500,
        rows=[full, odd.model_copy(update={"name": name, "description": name})],
        long_tail=[],
        failures={"other": name},
        notes=[name],
    )
    write_ablation(table, tmp_path)
    page = show_markdown((tmp_path / "ablation.md").read_text())
    assert list_tags(page) == {"h1", "h2", "table", "thead", "tr", "th", "tbody", "td", "p", "ul", "li", "code"}
    shown = read_page(page)
    for expected in ("{}: all 2 test targets", "{} 2 0.", ": {}.", "{}.", "other: {}"):
        assert expected.format(as_shown(name)) in shown
