import pytest
import torch

from ur4rec.models.dropout import Dropout


@pytest.mark.parametrize(("rate", "levels"), [(0.3, 77), (0.5, 128), (0.1, 26), (1e-6, 1), (0.9999, 255)])
def test_a_share_of_the_values_is_dropped_and_the_others_make_up_for_it(rate: float, levels: int) -> None:
    torch.manual_seed(0)
    values = torch.ones(1000, 1003, requires_grad=True)
    dropped = Dropout(rate)(values)
    share = levels / 256
    assert (dropped == 0).double().mean().item() == pytest.approx(share, abs=0.0015)
    assert dropped[dropped > 0].unique().item() == pytest.approx(1 / (1 - share))
    assert dropped.double().mean().item() == pytest.approx(1, abs=4 * (share / (1 - share) / values.numel()) ** 0.5)
    (gradient,) = torch.autograd.grad(dropped.sum(), values)
    assert torch.equal(gradient, dropped)


def test_every_value_is_dropped_alike_and_alone() -> None:
    torch.manual_seed(0)
    kept = (Dropout(0.25)(torch.ones(20_000, 64)) > 0).double()
    assert torch.allclose(kept.mean(dim=0), torch.tensor(0.75).double(), atol=0.015)
    correlations = kept.T.corrcoef() - torch.eye(64)
    assert correlations.abs().max() < 0.035  # 64 values share eight draws


def test_a_seed_and_a_state_of_the_generator_draw_the_same_again() -> None:
    dropout, values = Dropout(0.4), torch.rand(3, 5)
    torch.manual_seed(7)
    first = dropout(values)
    state = torch.get_rng_state()
    second = dropout(values)
    torch.manual_seed(7)
    assert torch.equal(dropout(values), first)
    torch.set_rng_state(state)
    assert torch.equal(dropout(values), second)
    assert not torch.equal(first > 0, second > 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(0,), (1,), (7, 0, 2), (9,), (3, 5, 7)])
def test_every_shape_and_number_format_stays(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    dropped = Dropout(0.5)(torch.ones(shape, dtype=dtype))
    assert dropped.shape == shape
    assert dropped.dtype == dtype
    assert set(dropped.flatten().tolist()) <= {0.0, 2.0}


def test_nothing_is_dropped_outside_of_training_or_without_a_rate() -> None:
    values = torch.rand(5, 8)
    assert torch.equal(Dropout(0.5).eval()(values), values)
    state = torch.get_rng_state()
    assert torch.equal(Dropout(0.0)(values), values)
    assert torch.equal(torch.get_rng_state(), state)
