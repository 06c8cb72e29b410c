import dataclasses
import json
import os
import random
import re
from itertools import starmap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ur4rec.data.sequences import Sequences, load_sequences
from ur4rec.storage.artifacts import ArtifactError, write_artifact
from ur4rec.text.artifact import (
    IMPORTED,
    SEQUENCES_DIGEST,
    LeakError,
    Snapshot,
    Texts,
    load_texts,
    write_items,
    write_snapshots,
)
from ur4rec.text.config import TextConfig
from ur4rec.text.generate import generate_text
from ur4rec.text.leaks.check import check_leaks, describe_leaks, write_report

NUM_USERS, NUM_ITEMS, LENGTH = 30, 60, 8


def name(item: object) -> str:
    return f"Planet Story {item}"


@pytest.fixture
def sequences(build_sequences) -> Path:
    """Thirty users with eight of sixty films each, the last two held out; times are distinct."""
    draw = random.Random(0)
    rows = [
        (user, item, 10 * place)
        for user in range(1, NUM_USERS + 1)
        for place, item in enumerate(draw.sample(range(1, NUM_ITEMS + 1), LENGTH))
    ]
    items = pd.DataFrame({"item_id": range(1, NUM_ITEMS + 1), "title": map(name, range(1, NUM_ITEMS + 1))})
    return build_sequences(rows, items)


def histories_of(sequences: Path) -> dict[str, list[str]]:
    """User id → all titles in the order of time."""
    data = load_sequences(sequences)
    full = data.histories("full")
    names = {index: name(item_id) for index, item_id in enumerate(data.item_ids)}
    return {
        data.user_ids[user]: [names[item] for item in full.items[full.offsets[user] : full.offsets[user + 1]].tolist()]
        for user in range(1, data.num_users + 1)
    }


def say(titles: list[str]) -> str:
    return f"The user likes {' and '.join(titles)}."


def test_texts_that_name_the_test_item_are_a_leak(sequences: Path, write_json) -> None:
    texts = write_json({user: say([titles[0], titles[-1]]) for user, titles in histories_of(sequences).items()})
    report = check_leaks(sequences, user_text=texts)
    effect = report.imported
    # Each text names one of its two held-out items and no untouched one.
    assert (effect.num_users, effect.num_texts, effect.num_held_out) == (30, 30, 60)
    assert (effect.held_out_rate, effect.test_rate, effect.validation_rate) == (0.5, 1.0, 0.0)
    assert (effect.control_rate, effect.seen_rate, effect.ratio) == (0.0, 0.0, None)
    assert (effect.difference, effect.difference_ci95) == (0.5, (0.5, 0.5))
    assert not report.passed
    assert re.match(r".*texts0\.json: LEAK\n.*name 50\.00% of what is held out", describe_leaks(report))
    with pytest.raises(LeakError, match=r"texts0\.json: the texts know"):
        report.raise_for_leaks()


def test_texts_of_other_users_are_none(sequences: Path, write_json) -> None:
    leaky = {user: say(titles[-3:]) for user, titles in histories_of(sequences).items()}
    shuffled = list(leaky.values())
    random.Random(1).shuffle(shuffled)
    assert not check_leaks(sequences, user_text=write_json(leaky)).passed
    report = check_leaks(sequences, user_text=write_json(dict(zip(leaky, shuffled, strict=True))))
    # A few texts still name a held-out item of another user by chance: fewer than a leak's, as often as controls.
    assert report.imported.difference_ci95[0] <= 0 <= report.imported.difference_ci95[1]
    assert report.passed
    report.raise_for_leaks()


def test_texts_from_the_prefix_alone_pass(sequences: Path, write_json) -> None:
    texts = write_json({user: say(titles[:-2]) for user, titles in histories_of(sequences).items()})
    report = check_leaks(sequences, user_text=texts)
    assert (report.imported.held_out_rate, report.imported.difference, report.imported.seen_rate) == (0, 0, 1)
    assert report.passed


def test_controls_are_as_popular_and_untouched(build_sequences, write_json) -> None:
    # Items 1 to 4 are chosen by every user; user u alone has items 4 + u and 24 + u (held out, in this order).
    rows = [
        (user, item, place) for user in range(1, 21) for place, item in enumerate([1, 2, 3, 4, 4 + user, 24 + user])
    ]
    items = pd.DataFrame({"item_id": range(1, 45), "title": map(name, range(1, 45))})
    sequences = build_sequences(rows, items)
    everyone = say([name(item) for item in range(5, 45)])
    report = check_leaks(sequences, user_text=write_json({str(user): everyone for user in range(1, 21)}))
    # All 40 items that are held out from someone are named, and all controls are among them: no effect.
    assert (report.imported.held_out_rate, report.imported.control_rate, report.imported.ratio) == (1, 1, 1)
    assert report.imported.ratio_ci95 == (1, 1)
    assert report.passed
    popular = say([name(item) for item in range(1, 5)])
    report = check_leaks(sequences, user_text=write_json({str(user): popular for user in range(1, 21)}))
    assert (report.imported.held_out_rate, report.imported.control_rate, report.imported.seen_rate) == (0, 0, 1)


def test_what_follows_a_declared_as_of_is_held_out_too(sequences: Path, tmp_path: Path) -> None:
    histories = histories_of(sequences)
    path = tmp_path / "users.parquet"
    texts = {user: say(titles[2:4]) for user, titles in histories.items()}
    pd.DataFrame({"user_id": list(texts), "as_of": 2, "text": list(texts.values())}).to_parquet(path)
    effect = check_leaks(sequences, user_text=path).imported
    # Held out are the two interactions after the second, and the validation and test items.
    assert (effect.held_out_rate, effect.validation_rate, effect.test_rate) == (0.5, 0, 0)
    assert effect.is_leak
    pd.DataFrame({"user_id": list(texts), "as_of": 4, "text": list(texts.values())}).to_parquet(path)
    assert check_leaks(sequences, user_text=path).passed


def test_few_users_are_not_judged(sequences: Path, write_json) -> None:
    histories = histories_of(sequences)
    texts = {user: say(histories[user][-2:]) for user in list(histories)[:19]}
    report = check_leaks(sequences, user_text=write_json(texts))
    assert report.imported.held_out_rate == 1
    assert report.passed
    assert "cannot be judged: fewer than 20 users" in describe_leaks(report)
    one = check_leaks(sequences, user_text=write_json(dict([next(iter(texts.items()))])))
    assert one.imported.difference_ci95 == (1, 1)
    assert one.passed


def test_texts_of_the_template_pass_exactly(sequences: Path, tmp_path: Path) -> None:
    generate_text(sequences, tmp_path / "texts", TextConfig(snapshot_base=3))
    report = check_leaks(sequences, texts=tmp_path / "texts")
    # Points 3 and 6 of a prefix of six.
    assert (report.provenance.num_texts, report.provenance.num_violations) == (60, 0)
    assert (report.imported, report.own.held_out_rate, report.passed) == (None, 0, True)
    assert "60 of 60 are written from the training prefix alone (exact)" in describe_leaks(report)


def forge(sequences: Path, folder: Path, points: list[list[int]], sources: list[str]) -> Path:
    data: Sequences = load_sequences(sequences)
    generate_text(sequences, folder, TextConfig(snapshot_base=3))
    texts: Texts = dataclasses.replace(
        load_texts(folder, data), points=np.array(points), snapshots=["Text."] * len(points), sources=sources
    )
    with write_artifact(folder, "generate_text", TextConfig()) as writer:
        snapshots = zip(*texts.points.T.tolist(), texts.snapshots, texts.sources, strict=True)
        write_items(writer.folder, texts.items, data)
        write_snapshots(writer.folder, starmap(Snapshot, snapshots), data)
        writer.details[SEQUENCES_DIGEST] = data.digest
    return folder


def test_own_texts_from_beyond_the_prefix_are_violations(sequences: Path, tmp_path: Path) -> None:
    points = [[1, 6], [2, 7], [3, 0], [4, 7]]
    report = check_leaks(sequences, texts=forge(sequences, tmp_path / "t", points, [*["dashscope"] * 3, IMPORTED]))
    assert (report.provenance.num_texts, report.provenance.num_violations) == (3, 2)
    assert report.provenance.violations == (
        "user '2', as_of 7: expected 1 to 6, the prefix",
        "user '3', as_of 0: expected 1 to 6, the prefix",
    )
    assert re.search(r"own texts: 1 of 3 .*\n  user '2', as_of 7", describe_leaks(report))
    with pytest.raises(LeakError, match="the texts know"):
        report.raise_for_leaks()


def test_own_texts_from_inside_a_group_of_equal_timestamps_are_violations(build_sequences, tmp_path: Path) -> None:
    times = [0, 1, 1, 1, 2, 3, 4, 5]
    sequences = build_sequences([(1, item, time) for item, time in enumerate(times, 1)])
    report = check_leaks(sequences, texts=forge(sequences, tmp_path / "t", [[1, 2], [1, 4]], ["template"] * 2))
    assert report.provenance.violations == ("user '1', as_of 2: inside a group of equal timestamps",)


def test_mixed_folders_are_judged_by_both_rules(sequences: Path, tmp_path: Path, write_json) -> None:
    histories = histories_of(sequences)
    leaky = write_json({user: say(histories[user][-2:]) for user in list(histories)[:25]})
    with pytest.raises(LeakError, match="the texts know what they should not"):
        generate_text(sequences, tmp_path / "texts", TextConfig(snapshot_base=3), user_text=leaky)
    report = check_leaks(sequences, texts=tmp_path / "texts")
    assert (report.provenance.num_texts, report.imported.num_users) == (10, 25)
    assert (report.own.held_out_rate, report.imported.held_out_rate, report.passed) == (0, 1, False)


def test_texts_without_a_title_to_recognise_are_not_judged(build_sequences, write_json) -> None:
    rows = [(1, item, item) for item in range(1, 7)]
    items = pd.DataFrame({"item_id": range(1, 7), "title": ["A", "B", "C", "D", "E", "F"]})
    report = check_leaks(build_sequences(rows, items), user_text=write_json({"1": "Likes F."}))
    assert (report.imported, report.passed) == (None, True)
    assert "cannot be judged: no user has a held-out item" in describe_leaks(report)


def test_the_report_is_written_with_its_verdict(sequences: Path, tmp_path: Path, write_json) -> None:
    texts = write_json({user: say(titles[-2:]) for user, titles in histories_of(sequences).items()})
    write_report(check_leaks(sequences, user_text=texts), tmp_path / "leaks.json")
    written = json.loads((tmp_path / "leaks.json").read_text())
    assert (written["passed"], written["threshold"], written["imported"]["difference"]) == (False, 0.05, 1.0)


@pytest.mark.ml100k
@pytest.mark.skipif("UR4REC_LEAKY_TEXTS" not in os.environ, reason="needs UR4REC_LEAKY_TEXTS and UR4REC_SEQUENCES")
def test_real_leaky_texts_are_flagged_and_shuffled_ones_are_not(tmp_path: Path) -> None:
    sequences, leaky = Path(os.environ["UR4REC_SEQUENCES"]), Path(os.environ["UR4REC_LEAKY_TEXTS"])
    report = check_leaks(sequences, user_text=leaky)
    assert report.imported.test_rate > 0.1
    assert not report.passed
    texts = json.loads(leaky.read_text(encoding="utf-8"))
    shuffled = list(texts.values())
    random.Random(0).shuffle(shuffled)
    path = tmp_path / "shuffled.json"
    path.write_text(json.dumps(dict(zip(texts, shuffled, strict=True))))
    assert check_leaks(sequences, user_text=path).passed


def test_one_input_is_asked_for_and_must_belong_to_the_sequences(sequences: Path, tmp_path: Path, write_json) -> None:
    with pytest.raises(ValueError, match="either a folder of texts or a file"):
        check_leaks(sequences)
    with pytest.raises(ValueError, match="either a folder of texts or a file"):
        check_leaks(sequences, texts=tmp_path, user_text=write_json({"1": "x"}))
    with pytest.raises(ArtifactError, match="not found"):
        check_leaks(sequences, texts=tmp_path / "none")
