import pytest
import torch

from ur4rec.config_section import ConfigError
from ur4rec.models.config import SASRecConfig
from ur4rec.models.sasrec import SASRec, align_left

CONFIG = SASRecConfig(sasrec_hidden_dim=8, sasrec_num_blocks=2, max_seq_len=6)


@pytest.fixture
def model() -> SASRec:
    torch.manual_seed(0)
    return SASRec(20, CONFIG).eval()


def test_the_future_does_not_move_the_past(model: SASRec) -> None:
    sequence = torch.tensor([[3, 7, 1, 9, 4, 2]])
    changed = sequence.clone()
    changed[0, 3:] = torch.tensor([11, 12, 13])
    assert torch.equal(model(sequence)[:, :3], model(changed)[:, :3])
    assert not torch.allclose(model(sequence)[:, 3:], model(changed)[:, 3:])


def test_order_matters(model: SASRec) -> None:
    first, second = torch.tensor([[3, 7, 1]]), torch.tensor([[7, 3, 1]])
    assert not torch.allclose(model(first)[:, -1], model(second)[:, -1])


def test_padding_side_does_not_matter(model: SASRec) -> None:
    right = torch.tensor([[3, 7, 1, 0, 0, 0]])
    left = torch.tensor([[0, 0, 0, 3, 7, 1]])
    times = torch.arange(6)[None]
    outputs = []
    for sequence in (left, right):
        aligned, _, lengths = align_left(sequence, times)
        outputs.append(model(aligned)[0, lengths[0] - 1])
    assert torch.equal(outputs[0], outputs[1])


def test_padding_after_a_sequence_changes_nothing(model: SASRec) -> None:
    assert torch.allclose(model(torch.tensor([[3, 7, 1]])), model(torch.tensor([[3, 7, 1, 0, 0, 0]]))[:, :3], atol=1e-6)


def test_gradients_reach_every_parameter(model: SASRec) -> None:
    model.start_from(torch.randn(model.item_embedding.num_embeddings, 128))
    hidden = model(torch.tensor([[3, 7, 1, 9, 4, 2]]))
    (hidden @ model.item_vectors().T).logsumexp(-1).sum().backward()
    assert [name for name, value in model.named_parameters() if value.grad is None or not value.grad.abs().sum()] == []


def test_width_must_divide_into_heads() -> None:
    with pytest.raises(ConfigError, match="sasrec_hidden_dim 9 is not a multiple of sasrec_num_heads 2"):
        SASRecConfig.parse({"sasrec_hidden_dim": 9})
    first, *_ = SASRec(5, SASRecConfig(sasrec_hidden_dim=9, sasrec_num_heads=3)).blocks
    assert first.get_submodule("attention").num_heads == 3


def test_factors_are_the_start_of_the_embeddings_and_part_of_every_vector(model: SASRec) -> None:
    factors = torch.randn(model.item_embedding.num_embeddings, 128)
    model.start_from(factors)
    width = model.config.sasrec_hidden_dim
    assert torch.allclose(model.item_embedding.weight, 0.02 * factors[:, :width])
    expected = model.item_embedding.weight + factors @ model.factor_projection.weight.T
    assert torch.allclose(model.item_vectors(), expected, atol=1e-6)
    assert torch.allclose(model.item_vectors(torch.tensor([3, 1])), expected[[3, 1]], atol=1e-6)
