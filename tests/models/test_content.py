import torch
from torch.nn import functional

from ur4rec.models.content import content_items, content_users

TEXTS = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 2.0], [1.0, 1.0]])


def test_the_user_is_the_mean_of_the_history_by_age() -> None:
    sides = content_items(TEXTS)
    users = content_users(torch.tensor([[1, 2, 0]]), sides, 0.5)
    assert torch.allclose(users[0, 0], torch.tensor([1.0, 0.0]))
    # Item 1 is of age 1: half the weight of item 2, whose vector is as long.
    assert torch.allclose(users[0, 1], torch.tensor([0.5, 1.0]) / 1.25**0.5)


def test_the_score_is_a_cosine() -> None:
    sides = content_items(TEXTS)
    user = content_users(torch.tensor([[3]]), sides, 0.7)[0, 0]
    expected = functional.cosine_similarity(TEXTS[3], TEXTS[1:])
    assert torch.allclose(user @ sides[1:].T, expected)
    assert (user @ sides.T)[0] == 0


def test_one_position_alone_is_that_position_among_all() -> None:
    generator = torch.Generator().manual_seed(0)
    sides = content_items(torch.randn(9, 4, generator=generator))
    sides[0] = 0
    items = torch.randint(1, 9, (3, 6), generator=generator)
    items[2, 3:] = 0
    last = torch.tensor([5, 1, 2])
    every, one = content_users(items, sides, 0.8), content_users(items, sides, 0.8, last)
    assert torch.allclose(every[torch.arange(3), last], one[:, 0], atol=1e-6)


def test_later_items_move_no_earlier_position() -> None:
    generator = torch.Generator().manual_seed(0)
    sides = content_items(torch.randn(9, 4, generator=generator))
    items = torch.randint(1, 9, (3, 6), generator=generator)
    changed = items.clone()
    changed[:, 4:] = changed[:, 4:] % 8 + 1
    before, after = content_users(items, sides, 0.8), content_users(changed, sides, 0.8)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])
