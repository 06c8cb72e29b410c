import dataclasses
import json
import os
import random
import re
from collections.abc import Callable, Mapping
from itertools import starmap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from present import present
from toy_leaks import histories_of, say
from toy_sequences import BuildSequences

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


def test_texts_that_name_the_test_item_are_a_leak(
    sequences: Path, write_json: Callable[[Mapping[str, object]], Path]
) -> None:
    texts = write_json({user: say([titles[0], titles[-1]]) for user, titles in histories_of(sequences).items()})
    report = check_leaks(sequences, user_text=texts)
    effect = present(report.imported)
    # Each text names one of its two held-out items and no untouched one.
    assert (effect.num_users, effect.num_texts, effect.num_held_out) == (30, 30, 60)
    assert (effect.held_out_rate, effect.test_rate, effect.validation_rate) == (0.5, 1.0, 0.0)
    assert (effect.control_rate, effect.seen_rate, effect.ratio) == (0.0, 0.0, None)
    assert (effect.difference, effect.difference_ci95) == (0.5, (0.5, 0.5))
    assert not report.passed
    assert re.match(r".*texts0\.json: LEAK\n.*name 50\.00% of what is held out", describe_leaks(report))
    with pytest.raises(LeakError, match=r"texts0\.json: the texts know"):
        report.raise_for_leaks()


def test_texts_of_the_template_pass_exactly(sequences: Path, tmp_path: Path) -> None:
    generate_text(sequences, tmp_path / "texts", TextConfig(snapshot_base=3))
    report = check_leaks(sequences, texts=tmp_path / "texts")
    # Points 3 and 6 of a prefix of six.
    assert (present(report.provenance).num_texts, present(report.provenance).num_violations) == (60, 0)
    assert (report.imported, present(report.own).held_out_rate, report.passed) == (None, 0, True)
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
    assert (present(report.provenance).num_texts, present(report.provenance).num_violations) == (3, 2)
    assert present(report.provenance).violations == (
        "user '2', as_of 7: expected 1 to 6, the prefix",
        "user '3', as_of 0: expected 1 to 6, the prefix",
    )
    assert re.search(r"own texts: 1 of 3 .*\n  user '2', as_of 7", describe_leaks(report))
    with pytest.raises(LeakError, match="the texts know"):
        report.raise_for_leaks()


def test_own_texts_from_inside_a_group_of_equal_timestamps_are_violations(
    build_sequences: BuildSequences, tmp_path: Path
) -> None:
    times = [0, 1, 1, 1, 2, 3, 4, 5]
    sequences = build_sequences([(1, item, time) for item, time in enumerate(times, 1)])
    report = check_leaks(sequences, texts=forge(sequences, tmp_path / "t", [[1, 2], [1, 4]], ["template"] * 2))
    assert present(report.provenance).violations == ("user '1', as_of 2: inside a group of equal timestamps",)


def test_mixed_folders_are_judged_by_both_rules(
    sequences: Path, tmp_path: Path, write_json: Callable[[Mapping[str, object]], Path]
) -> None:
    histories = histories_of(sequences)
    leaky = write_json({user: say(histories[user][-2:]) for user in list(histories)[:25]})
    with pytest.raises(LeakError, match="the texts know what they should not"):
        generate_text(sequences, tmp_path / "texts", TextConfig(snapshot_base=3), user_text=leaky)
    report = check_leaks(sequences, texts=tmp_path / "texts")
    assert (present(report.provenance).num_texts, present(report.imported).num_users) == (10, 25)
    assert (present(report.own).held_out_rate, present(report.imported).held_out_rate, report.passed) == (0, 1, False)


def test_texts_without_a_title_to_recognise_are_not_judged(
    build_sequences: BuildSequences, write_json: Callable[[Mapping[str, object]], Path]
) -> None:
    rows = [(1, item, item) for item in range(1, 7)]
    items = pd.DataFrame({"item_id": range(1, 7), "title": ["A", "B", "C", "D", "E", "F"]})
    report = check_leaks(build_sequences(rows, items), user_text=write_json({"1": "Likes F."}))
    assert (report.imported, report.passed) == (None, True)
    assert "cannot be judged: no user has a held-out item" in describe_leaks(report)


def test_the_report_is_written_with_its_verdict(
    sequences: Path, tmp_path: Path, write_json: Callable[[Mapping[str, object]], Path]
) -> None:
    texts = write_json({user: say(titles[-2:]) for user, titles in histories_of(sequences).items()})
    write_report(check_leaks(sequences, user_text=texts), tmp_path / "leaks.json")
    written = json.loads((tmp_path / "leaks.json").read_text())
    assert (written["passed"], written["threshold"], written["imported"]["difference"]) == (False, 0.05, 1.0)


@pytest.mark.ml100k
@pytest.mark.skipif("UR4REC_LEAKY_TEXTS" not in os.environ, reason="needs UR4REC_LEAKY_TEXTS and UR4REC_SEQUENCES")
def test_real_leaky_texts_are_flagged_and_shuffled_ones_are_not(tmp_path: Path) -> None:
    sequences, leaky = Path(os.environ["UR4REC_SEQUENCES"]), Path(os.environ["UR4REC_LEAKY_TEXTS"])
    report = check_leaks(sequences, user_text=leaky)
    assert present(present(report.imported).test_rate) > 0.1
    assert not report.passed
    texts = json.loads(leaky.read_text(encoding="utf-8"))
    shuffled = list(texts.values())
    random.Random(0).shuffle(shuffled)
    path = tmp_path / "shuffled.json"
    path.write_text(json.dumps(dict(zip(texts, shuffled, strict=True))))
    assert check_leaks(sequences, user_text=path).passed


def test_one_input_is_asked_for_and_must_belong_to_the_sequences(
    sequences: Path, tmp_path: Path, write_json: Callable[[Mapping[str, object]], Path]
) -> None:
    with pytest.raises(ValueError, match="either a folder of texts or a file"):
        check_leaks(sequences)
    with pytest.raises(ValueError, match="either a folder of texts or a file"):
        check_leaks(sequences, texts=tmp_path, user_text=write_json({"1": "x"}))
    with pytest.raises(ArtifactError, match="not found"):
        check_leaks(sequences, texts=tmp_path / "none")
