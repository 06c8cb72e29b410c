import random
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
from present import present
from toy_leaks import histories_of, name, say
from toy_sequences import BuildSequences

from ur4rec.text.leaks.check import check_leaks, describe_leaks


def test_texts_of_other_users_are_none(sequences: Path, write_json: Callable[[Mapping[str, object]], Path]) -> None:
    leaky = {user: say(titles[-3:]) for user, titles in histories_of(sequences).items()}
    shuffled = list(leaky.values())
    random.Random(1).shuffle(shuffled)
    assert not check_leaks(sequences, user_text=write_json(leaky)).passed
    report = check_leaks(sequences, user_text=write_json(dict(zip(leaky, shuffled, strict=True))))
    # A few texts still name a held-out item of another user by chance: fewer than a leak's, as often as controls.
    assert present(report.imported).difference_ci95[0] <= 0 <= present(report.imported).difference_ci95[1]
    assert report.passed
    report.raise_for_leaks()


def test_texts_from_the_prefix_alone_pass(sequences: Path, write_json: Callable[[Mapping[str, object]], Path]) -> None:
    texts = write_json({user: say(titles[:-2]) for user, titles in histories_of(sequences).items()})
    report = check_leaks(sequences, user_text=texts)
    assert (
        present(report.imported).held_out_rate,
        present(report.imported).difference,
        present(report.imported).seen_rate,
    ) == (0, 0, 1)
    assert report.passed


def test_controls_are_as_popular_and_untouched(
    build_sequences: BuildSequences, write_json: Callable[[Mapping[str, object]], Path]
) -> None:
    # Items 1 to 4 are chosen by every user; user u alone has items 4 + u and 24 + u (held out, in this order).
    rows = [
        (user, item, place) for user in range(1, 21) for place, item in enumerate([1, 2, 3, 4, 4 + user, 24 + user])
    ]
    items = pd.DataFrame({"item_id": range(1, 45), "title": map(name, range(1, 45))})
    sequences = build_sequences(rows, items)
    everyone = say([name(item) for item in range(5, 45)])
    report = check_leaks(sequences, user_text=write_json({str(user): everyone for user in range(1, 21)}))
    # All 40 items that are held out from someone are named, and all controls are among them: no effect.
    assert (
        present(report.imported).held_out_rate,
        present(report.imported).control_rate,
        present(report.imported).ratio,
    ) == (1, 1, 1)
    assert present(report.imported).ratio_ci95 == (1, 1)
    assert report.passed
    popular = say([name(item) for item in range(1, 5)])
    report = check_leaks(sequences, user_text=write_json({str(user): popular for user in range(1, 21)}))
    assert (
        present(report.imported).held_out_rate,
        present(report.imported).control_rate,
        present(report.imported).seen_rate,
    ) == (0, 0, 1)


def test_what_follows_a_declared_as_of_is_held_out_too(sequences: Path, tmp_path: Path) -> None:
    histories = histories_of(sequences)
    path = tmp_path / "users.parquet"
    texts = {user: say(titles[2:4]) for user, titles in histories.items()}
    pd.DataFrame({"user_id": list(texts), "as_of": 2, "text": list(texts.values())}).to_parquet(path)
    effect = present(check_leaks(sequences, user_text=path).imported)
    # Held out are the two interactions after the second, and the validation and test items.
    assert (effect.held_out_rate, effect.validation_rate, effect.test_rate) == (0.5, 0, 0)
    assert effect.is_leak
    pd.DataFrame({"user_id": list(texts), "as_of": 4, "text": list(texts.values())}).to_parquet(path)
    assert check_leaks(sequences, user_text=path).passed


def test_few_users_are_not_judged(sequences: Path, write_json: Callable[[Mapping[str, object]], Path]) -> None:
    histories = histories_of(sequences)
    texts = {user: say(histories[user][-2:]) for user in list(histories)[:19]}
    report = check_leaks(sequences, user_text=write_json(texts))
    assert present(report.imported).held_out_rate == 1
    assert report.passed
    assert "cannot be judged: fewer than 20 users" in describe_leaks(report)
    one = check_leaks(sequences, user_text=write_json(dict([next(iter(texts.items()))])))
    assert present(one.imported).difference_ci95 == (1, 1)
    assert one.passed


def test_an_item_that_was_chosen_before_is_not_held_out(
    build_sequences: BuildSequences, write_json: Callable[[Mapping[str, object]], Path]
) -> None:
    # User u chooses item u first and last; only the validation item 20 + u is new.
    chosen = {user: [user, 41, 42, 43, 20 + user, user] for user in range(1, 21)}
    rows = [(user, item, place) for user, items in chosen.items() for place, item in enumerate(items)]
    items = pd.DataFrame({"item_id": range(1, 64), "title": map(name, range(1, 64))})
    texts = write_json({str(user): say([name(user)]) for user in range(1, 21)})
    effect = present(check_leaks(build_sequences(rows, items), user_text=texts).imported)
    assert (effect.num_held_out, effect.held_out_rate, effect.test_rate) == (20, 0, None)


def test_items_that_cannot_be_named_are_neither_held_out_nor_controls(
    build_sequences: BuildSequences, write_json: Callable[[Mapping[str, object]], Path]
) -> None:
    # Every second of 60 items has a title of two letters; the others are all named.
    draw = random.Random(2)
    rows = [(user, item, place) for user in range(1, 31) for place, item in enumerate(draw.sample(range(1, 61), 8))]
    titles = [name(item) if item % 2 else "XY" for item in range(1, 61)]
    sequences = build_sequences(rows, pd.DataFrame({"item_id": range(1, 61), "title": titles}))
    everything = say([title for title in titles if title != "XY"])
    effect = present(
        check_leaks(sequences, user_text=write_json({str(user): everything for user in range(1, 31)})).imported
    )
    assert effect.num_held_out < 60
    assert (effect.held_out_rate, effect.control_rate, effect.seen_rate) == (1, 1, 1)
