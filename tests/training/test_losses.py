import pytest
import torch
from torch.nn import functional

from ur4rec.training import losses


@pytest.fixture
def problem():
    generator = torch.Generator().manual_seed(0)
    users = torch.randn(7, 4, generator=generator, requires_grad=True)
    items = torch.randn(11, 4, generator=generator, requires_grad=True)
    return users, items, torch.tensor([1, 10, 3, 3, 5, 9, 2])


@pytest.mark.parametrize("elements", [1, 25, 1 << 20])
def test_chunks_give_the_loss_and_gradients_of_one_softmax(problem, elements, monkeypatch):
    users, items, targets = problem
    expected = functional.cross_entropy(users @ items[1:].T, targets - 1)
    gradients = torch.autograd.grad(3 * expected, (users, items))
    monkeypatch.setattr(losses, "CHUNK_ELEMENTS", elements)
    loss = losses.catalogue_cross_entropy(users, items, targets)
    assert torch.allclose(loss, expected, atol=1e-6)
    for one, other in zip(torch.autograd.grad(3 * loss, (users, items)), gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_every_item_once_as_negative_is_the_whole_catalogue(problem):
    users, items, targets = problem
    loss = losses.sampled_cross_entropy(users, items, targets, torch.arange(1, 11), 10)
    assert torch.allclose(loss, losses.catalogue_cross_entropy(users, items, targets), atol=1e-6)
