"""The model that a stage begins with: what is counted, what the stage before has learned, and what begins here.

N items, F factors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_array

from ur4rec.columns import ITEM
from ur4rec.data.sequences import Sequences
from ur4rec.models.config import ModelConfig
from ur4rec.models.sasrec import EMBEDDING_STD
from ur4rec.models.tensor_files import TensorFileError, read_tensors
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.text.embeddings import TextEmbeddings
from ur4rec.training.checkpoints import CheckpointError, find_weights, list_held, read_origin
from ur4rec.training.config import TextControl
from ur4rec.training.cooccurrence import count_pairs, fit_table, item_factors
from ur4rec.training.stage_names import Stage
from ur4rec.training.warm_start import WarmStart, continue_sasrec, describe_cold_items


@dataclass(frozen=True)
class Previous:
    """The stage before, and the checkpoint that it wrote."""

    checkpoint: Path
    stage: str


def begin(
    stage: str,
    data: Sequences,
    config: ModelConfig,
    seed: int,
    previous: Previous | None,
    text: TextEmbeddings | None = None,
    warm_start: WarmStart | None = None,
) -> UR4RecV2MoE:
    """Builds the model of a stage.

    Args:
        stage: One of the system's.
        data: Counted from their training prefixes.
        config: Shape.
        seed: Of the item factors.
        previous: None for the system's first stage.
        text: Read by `pretrain_retriever`; None leaves the retriever without texts.
        warm_start: Trained model that `pretrain_sasrec` begins with; None: from scratch.

    Raises:
        CheckpointError: The previous checkpoint holds other tensors than the configuration asks for; names one.
    """
    model = UR4RecV2MoE(data.num_items, data.num_users, config)
    if stage == Stage.END_TO_END:
        assert previous is not None
        _take(model, previous)
        return model
    counts = count_pairs(data.histories("validation"), data.num_items, config)
    _add_statistics(model, data, counts)
    if stage == Stage.PRETRAIN_SASREC:
        model.retriever.memory = None  # it begins with the retriever
        _start_sasrec(model, data, counts, seed, warm_start)
    elif stage == Stage.PRETRAIN_RETRIEVER:
        _start_retriever(model, counts, seed, previous)
        if text is not None:
            add_text(model, text)
        if previous is not None and read_origin(previous.checkpoint):
            describe_cold_items(model)
    else:
        assert previous is not None
        _take(model, previous)
    return model


def _take(model: UR4RecV2MoE, previous: Previous) -> None:
    """Takes over what the stage before leaves; the rest begins here."""
    path = find_weights(previous.checkpoint, previous.stage)
    state = read_tensors(path)
    try:
        model.load_weights(path, state, list_held(previous.stage))
    except TensorFileError as error:
        raise CheckpointError(
            f"{path}: {error.fault}; use the configuration of the stages before, or train them again"
        ) from None


def add_text(model: UR4RecV2MoE, text: TextEmbeddings) -> None:
    """Gives the retriever its texts."""
    arrays = text.item_descriptions, text.sentences, text.offsets, text.snapshots
    tensors = [torch.from_numpy(array.copy()) for array in arrays]
    whitening = model.config.text_whitening
    model.retriever.encoder.text.fill(tensors[0], tensors[1], tensors[2], tensors[3], model.num_users, whitening)


@torch.no_grad()
def _add_statistics(model: UR4RecV2MoE, data: Sequences, counts: csr_array) -> None:
    """Gives the model what is counted, not trained: neighbours, and which items training knows."""
    if model.cooccurrence is not None:
        model.cooccurrence.fill(fit_table(counts, model.config))
    trained = torch.zeros(data.num_items + 1, dtype=torch.bool)
    trained[torch.from_numpy(data.train[:, ITEM].copy())] = True
    model.retriever.encoder.get_buffer("is_trained").copy_(trained)


def _start_sasrec(
    model: UR4RecV2MoE, data: Sequences, counts: csr_array, seed: int, warm_start: WarmStart | None
) -> None:
    assert model.sasrec is not None
    width = max(model.config.sasrec_item_factors, model.config.sasrec_hidden_dim)
    factors = item_factors(counts, width, seed)
    if warm_start is None:
        model.sasrec.start_from(torch.from_numpy(factors))
    else:
        continue_sasrec(model, data, factors, warm_start)


@torch.no_grad()
def _start_retriever(model: UR4RecV2MoE, counts: csr_array, seed: int, previous: Previous | None) -> None:
    """The retriever begins with what SASRec knows about the items; without SASRec, with the item factors, as it did.

    Where ID vectors are bounded it begins with the texts alone.
    """
    embedding = model.retriever.encoder.item_embedding
    if model.config.id_bound:
        embedding.weight.zero_()
        if previous is not None:
            _take(model, previous)
        return
    if previous is None:
        factors = item_factors(counts, embedding.embedding_dim, seed)
        embedding.weight.copy_(torch.from_numpy(factors) * EMBEDDING_STD)
        return
    _take(model, previous)
    assert model.sasrec is not None
    learned = model.sasrec.item_vectors()
    if learned.shape == embedding.weight.shape:
        embedding.weight.copy_(learned)


def control_text(text: TextEmbeddings, control: TextControl, seed: int) -> TextEmbeddings | None:
    """Returns what a control gives to the retriever; who has how many texts, and since when, is unchanged.

    `none` returns the embeddings as they are, `absent` returns None.
    """
    if control is TextControl.NONE:
        return text
    if control is TextControl.ABSENT:
        return None
    generator = np.random.default_rng(seed)
    replaced = _permute if control is TextControl.SHUFFLED else _resample
    descriptions = np.zeros_like(text.item_descriptions)
    descriptions[1:] = replaced(text.item_descriptions[1:], generator)
    return replace(text, item_descriptions=descriptions, sentences=replaced(text.sentences, generator))


def _permute(vectors: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    permuted: np.ndarray = vectors[generator.permutation(len(vectors))]
    return permuted


def _resample(vectors: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    if not len(vectors):
        return vectors
    mean = vectors.mean(axis=0, dtype=np.float64)
    _, singular, directions = np.linalg.svd(vectors - mean, full_matrices=False)
    noise = generator.standard_normal((len(vectors), len(singular))) * singular / len(vectors) ** 0.5
    resampled: np.ndarray = (mean + noise @ directions).astype(vectors.dtype)
    return resampled
