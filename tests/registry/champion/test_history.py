"""The way back, worked out by hand, from records and moves by hand."""

import pytest

from ur4rec.registry.champion.history import History, Move, MoveKind, read_history, record_tag
from ur4rec.registry.mlflow_client import RegistryError


def move(version: str, previous: str, steps: int = 0) -> Move:
    kind = MoveKind.ROLLBACK if steps else MoveKind.PROMOTION
    return Move(kind=kind, version=version, previous=previous, at="now", by="ann", steps=steps, token=version)


def history(champion: str, *moves: Move) -> History:
    return History(dict(enumerate(moves, start=1)), champion)


def kinds(found: History) -> list[tuple[str, str]]:
    return [(str(entry.kind), entry.version) for entry in found.entries]


def test_nothing_was_ever_champion() -> None:
    found = history("")
    assert (found.number, found.champions, found.rolled_back, found.entries) == (0, [], set(), [])


def test_rollbacks_shorten_the_way_back() -> None:
    three = (move("1", ""), move("2", "1"), move("3", "2"))
    assert history("3", *three).champions == ["1", "2", "3"]
    back = history("1", *three, move("2", "3", steps=1), move("1", "2", steps=1))
    assert back.champions == ["1"]
    assert back.rolled_back == {"2", "3"}
    assert history("1", *three, move("1", "3", steps=2)).champions == ["1"]


def test_a_version_promoted_again_is_not_rolled_back_any_more() -> None:
    found = history("3", move("1", ""), move("3", "1"), move("1", "3", steps=1), move("3", "1"))
    assert found.rolled_back == set()
    assert found.champions == ["1", "3"]


def test_one_version_champion_twice_is_two_steps() -> None:
    found = history("1", move("1", ""), move("2", "1"), move("1", "2"))
    assert found.champions == ["1", "2", "1"]
    assert history("2", move("1", ""), move("2", "1"), move("1", "2"), move("2", "1", steps=1)).champions == ["1", "2"]


def test_a_move_by_hand_to_another_version_counts_as_a_promotion() -> None:
    found = history("7", move("1", ""), move("2", "5"))
    assert kinds(found) == [("promotion", "1"), ("moved by hand", "5"), ("promotion", "2"), ("moved by hand", "7")]
    assert found.champions == ["1", "5", "2", "7"]


def test_a_move_by_hand_to_an_earlier_champion_counts_as_a_rollback() -> None:
    found = history("1", move("1", ""), move("2", "1"), move("3", "2"))
    assert kinds(found)[-1] == ("moved by hand", "1")
    assert found.champions == ["1"]
    assert found.rolled_back == {"2", "3"}


def test_an_alias_removed_by_hand_is_a_step_of_the_way_back() -> None:
    found = history("", move("1", ""))
    assert kinds(found) == [("promotion", "1"), ("moved by hand", "")]
    assert found.champions == ["1", ""]
    assert found.rolled_back == set()


def test_an_alias_set_by_hand_before_any_promotion_is_the_first_champion() -> None:
    assert history("2", move("2", "1")).champions == ["1", "2"]
    assert history("4").champions == ["4"]


def test_records_are_read_in_the_order_of_their_numbers() -> None:
    tags = {record_tag(10): move("2", "1").model_dump_json(), record_tag(9): move("1", "").model_dump_json()}
    found = read_history("films", tags | {"owner": "ann", "ur4rec.promotion.note": "x"}, "2")
    assert found.number == 10
    assert found.champions == ["1", "2"]


def test_an_altered_record_is_named() -> None:
    with pytest.raises(RegistryError, match=r"films: tag ur4rec\.promotion\.000003 is not the record of a promotion"):
        read_history("films", {record_tag(3): "{}"}, "2")
