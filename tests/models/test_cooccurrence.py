from typing import Any

import pytest
import torch

from ur4rec.models.config import CooccurrenceConfig
from ur4rec.models.cooccurrence import FLOOR, CooccurrenceScorer, NeighborTables, to_logits


def tables(num_tables: int = 1, seed: int = 0, num_items: int = 9, neighbors: int = 3) -> NeighborTables:
    generator = torch.Generator().manual_seed(seed)
    shape = (num_tables, num_items + 1, neighbors)
    strengths = torch.rand(shape, generator=generator)
    strengths[:, 0] = 0
    return NeighborTables(torch.randint(1, num_items + 1, shape, generator=generator), strengths)


def make(**fields: Any) -> CooccurrenceScorer:
    scorer = CooccurrenceScorer(9, CooccurrenceConfig(**fields))
    scorer.fill(tables())
    return scorer


def dense(table: NeighborTables, number: int = 0) -> torch.Tensor:
    matrix = torch.zeros(10, 10)
    for item in range(1, 10):
        for neighbor, strength in zip(table.neighbors[number, item], table.strengths[number, item], strict=True):
            matrix[item, neighbor] += strength
    return matrix


def test_a_score_is_the_decayed_sum_over_the_history() -> None:
    matrix = dense(tables())
    expected = matrix[4] + 0.5 * matrix[7] + 0.25 * matrix[2]
    logits = make(cooccurrence_age_decay=0.5).last(torch.tensor([[2, 7, 4, 0, 0]]))
    assert torch.allclose(logits[0], (1 + expected / FLOOR).log(), atol=1e-5)


def test_every_position_reads_itself_and_what_came_before() -> None:
    items = torch.tensor([[2, 7, 4, 3], [5, 5, 1, 0]])
    scorer = make()
    for position, raw in enumerate(scorer.scan(items)):
        assert torch.allclose(to_logits(raw), scorer.last(items[:, : position + 1]), atol=1e-6)


def test_rows_read_their_own_table() -> None:
    several = tables(num_tables=2, seed=3)
    raw = next(make().scan(torch.tensor([[4], [4]]), several, torch.tensor([1, 0])))
    assert torch.allclose(raw, torch.stack([dense(several, 1)[4], dense(several, 0)[4]]))


def test_columns_pick_items_out() -> None:
    items = torch.tensor([[2, 7, 4]])
    columns = torch.zeros(10, dtype=torch.int64)
    columns[torch.tensor([3, 8])] = torch.tensor([1, 2])
    picked = [raw.clone() for raw in make().scan(items, columns=columns)]
    whole = [raw.clone() for raw in make().scan(items)]
    for some, every in zip(picked, whole, strict=True):
        assert torch.allclose(some[:, 1:], every[:, [3, 8]])


def test_the_state_dictionary_holds_the_table() -> None:
    empty = CooccurrenceScorer(9, CooccurrenceConfig())
    empty.load_state_dict(make().state_dict())
    items = torch.tensor([[2, 7, 4]])
    assert torch.equal(empty.last(items), make().last(items))


@pytest.mark.parametrize("decay", [0.5, 1.0])
def test_what_was_never_beside_the_history_scores_zero(decay: float) -> None:
    logits = make(cooccurrence_age_decay=decay).last(torch.tensor([[4]]))
    never = dense(tables())[4] == 0
    assert not logits[0, never].any()
    assert (logits[0, ~never] > 0).all()
