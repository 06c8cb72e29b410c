import numpy as np
import torch
from torch.nn import functional
from toy_trainer import Data, make

from ur4rec.training.scoring import ModelScorer


def test_items_are_compared_part_by_part_without_what_all_have_in_common(data: Data) -> None:
    model = make(content_weight=0.5)
    with torch.no_grad():
        model.get_parameter("sasrec.item_embedding.weight")[1:] += 3.0  # common to all, and of another length
    scorer = ModelScorer(model, data[0])
    sides = scorer.sides
    assert sides.retriever is not None
    parts = [sides.sasrec, sides.retriever.vectors(), sides.content]
    expected = torch.zeros(2, model.num_items + 1)
    for part in parts:
        assert part is not None
        own = part[1:] - part[1:].mean(dim=0)
        expected[:, 1:] += functional.cosine_similarity(own[[3, 7], None], own[None], dim=2) / len(parts)
    found = scorer.compare_items(np.array([4, 8]))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found[[0, 1], [4, 8]], torch.ones(2))
    assert found[:, 1:].min() < 0


def test_a_part_alone_is_compared_alone(data: Data) -> None:
    scorer = ModelScorer(make(), data[0], "sasrec")
    assert scorer.sides.sasrec is not None
    own = scorer.sides.sasrec[1:] - scorer.sides.sasrec[1:].mean(dim=0)
    expected = functional.cosine_similarity(own[:1], own)
    torch.testing.assert_close(scorer.compare_items(np.array([1]))[0, 1:], expected)
