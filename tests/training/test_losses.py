import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ur4rec.training import losses

PADDING = torch.tensor([0])


@pytest.fixture
def problem() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    users = torch.randn(7, 4, generator=generator, requires_grad=True)
    items = torch.randn(11, 4, generator=generator, requires_grad=True)
    return users, items, torch.tensor([1, 10, 3, 3, 5, 9, 2])


@pytest.mark.parametrize("elements", [1, 25, 1 << 20])
@pytest.mark.parametrize("left_out", [[0], [0, 4, 7]], ids=str)
def test_chunks_give_the_loss_and_gradients_of_one_softmax(
    problem: tuple[Tensor, Tensor, Tensor], elements: int, left_out: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    users, items, targets = problem
    kept = torch.tensor([row for row in range(11) if row not in left_out])
    expected = functional.cross_entropy(users @ items[kept].T, torch.searchsorted(kept, targets))
    gradients = torch.autograd.grad(3 * expected, (users, items))
    monkeypatch.setattr(losses, "CHUNK_ELEMENTS", elements)
    loss = losses.catalogue_cross_entropy(users, items, targets, torch.tensor(left_out))
    assert torch.allclose(loss, expected, atol=1e-6)
    for one, other in zip(torch.autograd.grad(3 * loss, (users, items)), gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1e4])
def test_the_loss_is_as_exact_as_its_logits(scale: float) -> None:
    generator = torch.Generator().manual_seed(2)
    logits = scale * torch.randn(50, 4001, generator=generator)
    logits[:, 7] = float("-inf")
    targets = torch.randint(8, 4001, (50, 1), generator=generator)
    exact = logits.double()
    expected = exact.logsumexp(dim=1, keepdim=True) - exact.gather(1, targets)
    gradient = exact.softmax(dim=1).scatter_add(1, targets, -torch.ones_like(expected))
    loss, share = losses._loss_and_gradient(logits, targets)
    assert loss.item() == pytest.approx(expected.sum().item(), rel=1e-6)
    assert torch.allclose(share.double(), gradient, atol=1e-6)


@pytest.mark.parametrize("elements", [25, 1 << 20])
def test_products_of_bf16_sum_and_take_exponentials_as_floats(
    problem: tuple[Tensor, Tensor, Tensor], elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "CHUNK_ELEMENTS", elements)
    users, items, targets = problem
    exact = losses.catalogue_cross_entropy(users, items, targets, PADDING)
    with torch.autocast("cpu", torch.bfloat16):
        loss = losses.catalogue_cross_entropy(users, items, targets, PADDING)
    assert loss.dtype == torch.float32
    assert loss.item() != exact.item()
    assert loss.item() == pytest.approx(exact.item(), rel=0.01)
    for one, other in zip(*(torch.autograd.grad(each, (users, items)) for each in (loss, exact)), strict=True):
        assert one.dtype == torch.float32
        assert torch.allclose(one, other, atol=0.01)


@pytest.mark.parametrize("left_out", [[0], [0, 4, 7]], ids=str)
def test_given_scores_are_added_before_the_softmax(problem: tuple[Tensor, Tensor, Tensor], left_out: list[int]) -> None:
    _, items, _ = problem
    generator = torch.Generator().manual_seed(1)
    users = torch.randn(2, 3, 4, generator=generator, requires_grad=True)
    factors = torch.rand(2, 3, generator=generator, requires_grad=True)
    raw = torch.rand(3, 2, 11, generator=generator)
    targets = torch.tensor([[1, 10, 0], [3, 5, 9]])
    kept = torch.tensor([row for row in range(11) if row not in left_out])
    logits = (users @ items.T + factors[..., None] * (raw / 0.01).log1p().transpose(0, 1))[..., kept]
    valid = targets > 0
    expected = functional.cross_entropy(logits[valid], torch.searchsorted(kept, targets[valid]))
    loss = losses.scored_cross_entropy(users, items, factors, targets, torch.tensor(left_out), iter(raw))
    assert torch.allclose(loss, expected, atol=1e-5)
    arguments = users, items, factors
    for one, other in zip(*(torch.autograd.grad(each, arguments) for each in (loss, expected)), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_products_of_bf16_beside_given_scores(problem: tuple[Tensor, Tensor, Tensor]) -> None:
    _, items, _ = problem
    generator = torch.Generator().manual_seed(1)
    users = torch.randn(2, 3, 4, generator=generator, requires_grad=True)
    factors = torch.rand(2, 3, generator=generator, requires_grad=True)
    raw = torch.rand(3, 2, 11, generator=generator)
    targets, arguments = torch.tensor([[1, 10, 0], [3, 5, 9]]), (users, items, factors)
    exact = losses.scored_cross_entropy(*arguments, targets, PADDING, iter(raw))
    with torch.autocast("cpu", torch.bfloat16):
        loss = losses.scored_cross_entropy(*arguments, targets, PADDING, iter(raw))
    assert loss.item() != exact.item()
    assert loss.item() == pytest.approx(exact.item(), rel=0.01)
    for one, other in zip(*(torch.autograd.grad(each, arguments) for each in (loss, exact)), strict=True):
        assert one.dtype == torch.float32
        assert torch.allclose(one, other, atol=0.02)


def test_every_item_once_as_negative_is_the_whole_catalogue(problem: tuple[Tensor, Tensor, Tensor]) -> None:
    users, items, targets = problem
    loss = losses.sampled_cross_entropy(users, items, targets, torch.arange(1, 11), 10)
    assert torch.allclose(loss, losses.catalogue_cross_entropy(users, items, targets, PADDING), atol=1e-6)


def test_experts_used_alike_are_balanced() -> None:
    valid = torch.tensor([[True, True, False]])
    even = torch.tensor([[[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]])
    assert losses.load_balance(even, valid) == 0  # the third expert never has anything to read
    uneven = torch.tensor([[[0.8, 0.2, 0.0], [0.7, 0.3, 0.0], [0.0, 1.0, 0.0]]])
    assert losses.load_balance(uneven, valid).item() == pytest.approx((0.25 / 0.5) ** 2)
