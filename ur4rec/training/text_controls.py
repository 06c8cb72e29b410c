"""Controls for the claim that the texts' meaning helps: the same statistics without the meaning.

N items, Q sentences, T text width.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ur4rec.text.embeddings import TextEmbeddings
from ur4rec.training.config import TextControl


def control_text(text: TextEmbeddings, control: TextControl, seed: int) -> TextEmbeddings | None:
    """The embeddings that a control gives to the retriever; who has how many texts, and since when, is unchanged.

    Args:
        text: True embeddings.
        control: Which control; `none` returns them as they are, `absent` returns None.
        seed: Of the permutation or the random vectors.
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
