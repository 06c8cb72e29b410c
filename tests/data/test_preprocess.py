"""From files to the artifact: formats, filters, splits, determinism, and the real data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ur4rec.config_section import ConfigError
from ur4rec.data.config import DataConfig
from ur4rec.data.errors import DataError, SourceError
from ur4rec.data.input_files import digest_data
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.sequences import load_sequences
from ur4rec.data.sources import fetch
from ur4rec.data.summary import exclusion_table
from ur4rec.storage.artifacts import ArtifactError, sha256_file
from ur4rec.storage.inputs import ChangedInputError

FILES = [
    "item_map.json",
    "items.parquet",
    "test_sequences.npy",
    "train_sequences.npy",
    "user_map.json",
    "val_sequences.npy",
]


def make_frame(num_users: int = 30, num_items: int = 20, rows: int = 600) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "user_id": generator.integers(1, num_users + 1, rows),
            "item_id": generator.integers(1, num_items + 1, rows) * 7,
            "timestamp": generator.integers(0, 300, rows),
            "rating": generator.integers(1, 6, rows),
        }
    )
    return frame.drop_duplicates(["user_id", "item_id", "timestamp"])


def make_items() -> pd.DataFrame:
    ids = np.arange(1, 21) * 7
    return pd.DataFrame(
        {
            "item_id": ids,
            "title": [f"Film, {item}" for item in ids],
            "genres": "A|B",
            "year": 1990,
            "description": "é\n",
        }
    )


def test_csv_and_parquet_give_the_same_bytes(tmp_path: Path) -> None:
    for suffix, write in ((".csv", pd.DataFrame.to_csv), (".parquet", pd.DataFrame.to_parquet)):
        folder = tmp_path / suffix[1:]
        folder.mkdir()
        write(make_frame(), folder / f"interactions{suffix}", index=False)
        write(make_items(), folder / f"items{suffix}", index=False)
        preprocess_sequences(folder, folder / "sequences", DataConfig())
    csv, parquet = (load_sequences(tmp_path / kind / "sequences") for kind in ("csv", "parquet"))
    assert csv.digest == parquet.digest
    assert list(csv.items.loc[1]) == ["7", "Film, 7", 1990, "A|B", "é\n"]


def test_sequences_are_those_of_a_slow_implementation(tmp_path: Path) -> None:
    frame = make_frame()
    frame.to_csv(tmp_path / "interactions.csv", index=False)
    preprocess_sequences(tmp_path / "interactions.csv", tmp_path / "sequences", DataConfig())
    sequences = load_sequences(tmp_path / "sequences")
    histories = sequences.histories("full")
    for user in range(1, sequences.num_users + 1):
        mine = frame[frame["user_id"] == int(sequences.user_ids[user])].sort_values("timestamp", kind="stable")
        rows = slice(histories.offsets[user], histories.offsets[user + 1])
        assert [int(sequences.item_ids[item]) for item in histories.items[rows]] == mine["item_id"].tolist()
        assert histories.timestamps[rows].tolist() == mine["timestamp"].tolist()


def test_maps_go_from_original_id_to_index_in_natural_order(tmp_path: Path) -> None:
    make_frame().to_csv(tmp_path / "interactions.csv", index=False)
    manifest = preprocess_sequences(tmp_path / "interactions.csv", tmp_path / "sequences", DataConfig())
    item_map = json.loads((tmp_path / "sequences" / "item_map.json").read_text())
    assert item_map == {str(item * 7): item for item in range(1, 21)}
    assert manifest.details["id_types"] == {"user_id": "integer", "item_id": "integer"}


def test_manifest_tells_where_every_row_went(tmp_path: Path) -> None:
    make_frame().to_csv(tmp_path / "interactions.csv", index=False)
    config = DataConfig(dataset_name="toy", min_rating=2, min_seq_len=12, split="time", time_split_quantile=0.5)
    manifest = preprocess_sequences(tmp_path / "interactions.csv", tmp_path / "sequences", config)
    details, sequences = manifest.details, load_sequences(tmp_path / "sequences")
    assert sorted(manifest.files) == FILES
    assert details["dataset_name"] == "toy"
    assert set(details["excluded_rows"]) == {"below_min_rating", "user_below_min_seq_len", "after_target"}
    assert details["rows"]["read"] == sequences.num_interactions + sum(details["excluded_rows"].values())
    assert details["num_users"] + details["excluded_users"]["user_below_min_seq_len"] == 30
    assert manifest.inputs == {"interactions": sha256_file(tmp_path / "interactions.csv")}
    assert exclusion_table(manifest)[0][0] == "interactions left out: below min rating"


def test_same_input_same_bytes_in_any_folder(tmp_path: Path) -> None:
    make_frame().to_csv(tmp_path / "interactions.csv", index=False)
    manifests = [
        preprocess_sequences(tmp_path / "interactions.csv", tmp_path / name, DataConfig()) for name in ("one", "two")
    ]
    assert manifests[0].files == manifests[1].files
    assert manifests[0].details == manifests[1].details


def test_data_that_changed_since_their_digest_was_taken_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "plays.csv"
    make_frame().to_csv(file, index=False)
    digest = digest_data(str(file))
    preprocess_sequences(file, tmp_path / "sequences", DataConfig(), data_digest=digest)
    make_frame(num_users=29).to_csv(file, index=False)
    with pytest.raises(ChangedInputError, match=r"plays\.csv: has changed since the run began; start another run"):
        preprocess_sequences(file, tmp_path / "others", DataConfig(), data_digest=digest)
    assert not (tmp_path / "others").exists()


def test_order_of_rows_in_the_file_matters_within_a_timestamp_only(tmp_path: Path) -> None:
    rows = ["u,a,5", "u,b,5", "u,c,5", "u,d,1"]
    for name, lines in (("as_is", rows), ("turned", rows[::-1])):
        (tmp_path / f"{name}.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(lines))
        preprocess_sequences(tmp_path / f"{name}.csv", tmp_path / name, DataConfig())
    as_is, turned = (load_sequences(tmp_path / name).histories("full").items.tolist() for name in ("as_is", "turned"))
    assert as_is == [4, 1, 2, 3]
    assert turned == [4, 3, 2, 1]


def test_min_rating_keeps_the_limit_itself(tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_text("user_id,item_id,timestamp,rating\nu,a,1,4\nu,b,2,4.0\nu,c,3,5\nu,d,4,3.9\n")
    manifest = preprocess_sequences(tmp_path / "i.csv", tmp_path / "s", DataConfig(min_rating=4))
    assert load_sequences(tmp_path / "s").item_ids == ("", "a", "b", "c")
    assert manifest.details["excluded_rows"] == {"below_min_rating": 1}


def test_k_core_drops_rare_items_too(tmp_path: Path) -> None:
    common = [f"{user},{item},{time}" for user in "xyz" for time, item in enumerate("abc")]
    (tmp_path / "i.csv").write_text("\n".join(["user_id,item_id,timestamp", *common, "x,rare,9", "one,a,1"]))
    manifest = preprocess_sequences(tmp_path / "i.csv", tmp_path / "s", DataConfig(k_core=True))
    assert load_sequences(tmp_path / "s").item_ids == ("", "a", "b", "c")
    assert manifest.details["excluded_rows"] == {"outside_k_core": 2}
    assert manifest.details["excluded_users"] == {"outside_k_core": 1}


def test_time_split_counts_what_it_leaves_out(tmp_path: Path) -> None:
    """Sorted times 1 2 3 4 5 6 7 8 9: the median 5 is the cut; `new` starts after it."""
    rows = ["old,a,1", "old,b,2", "old,c,5", "old,d,9", "mid,a,3", "mid,b,4", "new,a,6", "new,b,7", "new,e,8"]
    (tmp_path / "i.csv").write_text("user_id,item_id,timestamp\n" + "\n".join([*rows, "mid,c,5"]))
    config = DataConfig(split="time", time_split_quantile=0.5)
    manifest = preprocess_sequences(tmp_path / "i.csv", tmp_path / "s", config)
    sequences = load_sequences(tmp_path / "s")
    assert sequences.user_ids == ("", "mid", "old")
    assert sequences.item_ids == ("", "a", "b", "c", "d")
    assert sequences.train.tolist() == [[1, 1, 3], [2, 1, 1]]
    assert sequences.val.tolist() == [[1, 2, 4], [2, 2, 2]]
    assert sequences.test.tolist() == [[1, 3, 5], [2, 3, 5]]
    assert manifest.details["cut_s"] == 5
    assert manifest.details["excluded_rows"] == {"user_without_history_before_cut": 3, "after_target": 1}
    assert manifest.details["excluded_users"] == {"user_without_history_before_cut": 1}


def test_drop_last_runs_the_protocol_so_many_steps_earlier(tmp_path: Path) -> None:
    """Without their newest row, `a` has p q r, `b` has p q (too few) and `c` has none; nobody is left with s or t."""
    rows = ["a,p,1", "a,q,2", "a,r,3", "a,s,9", "b,p,1", "b,t,8", "b,q,2", "c,s,5"]
    (tmp_path / "i.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows))
    manifest = preprocess_sequences(tmp_path / "i.csv", tmp_path / "s", DataConfig(drop_last=1))
    sequences = load_sequences(tmp_path / "s")
    assert (sequences.user_ids, sequences.item_ids) == (("", "a"), ("", "p", "q", "r"))
    assert (sequences.train.tolist(), sequences.val.tolist(), sequences.test.tolist()) == (
        [[1, 1, 1]],
        [[1, 2, 2]],
        [[1, 3, 3]],
    )
    assert manifest.config["drop_last"] == 1
    assert manifest.details["excluded_rows"] == {"newest_dropped": 3, "user_below_min_seq_len": 2}
    assert manifest.details["excluded_users"] == {"newest_dropped": 1, "user_below_min_seq_len": 1}
    assert manifest.details["rows"] == {"read": 8, "train": 1, "val": 1, "test": 1}


def test_the_rolled_back_test_is_the_validation_of_the_whole_protocol(tmp_path: Path) -> None:
    make_frame().to_csv(tmp_path / "interactions.csv", index=False)
    whole, earlier = (tmp_path / "whole", tmp_path / "earlier")
    preprocess_sequences(tmp_path / "interactions.csv", whole, DataConfig())
    preprocess_sequences(tmp_path / "interactions.csv", earlier, DataConfig(drop_last=1))
    assert load_sequences(earlier).item_ids == load_sequences(whole).item_ids
    assert load_sequences(earlier).test.tolist() == load_sequences(whole).val.tolist()


def test_equal_times_are_dropped_from_the_end_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_text("user_id,item_id,timestamp\nu,a,5\nu,b,5\nu,c,5\nu,d,5\nu,e,1\n")
    preprocess_sequences(tmp_path / "i.csv", tmp_path / "s", DataConfig(drop_last=2))
    assert load_sequences(tmp_path / "s").item_ids == ("", "a", "b", "e")


def test_drop_last_counts_what_min_rating_has_left(tmp_path: Path) -> None:
    rows = "u,a,1,5\nu,b,2,5\nu,c,3,5\nu,d,4,5\nu,e,5,1\n"
    (tmp_path / "i.csv").write_text("user_id,item_id,timestamp,rating\n" + rows)
    preprocess_sequences(tmp_path / "i.csv", tmp_path / "s", DataConfig(drop_last=1, min_rating=3))
    assert load_sequences(tmp_path / "s").item_ids == ("", "a", "b", "c")


def test_drop_last_belongs_to_leave_one_out() -> None:
    with pytest.raises(ConfigError, match=r"drop_last: .*leave_one_out.*time_split_quantile, got 1"):
        DataConfig.parse({"drop_last": 1, "split": "time"})
    assert DataConfig.parse({"drop_last": 0, "split": "time"}).drop_last == 0


@pytest.mark.parametrize(
    "config", [{"min_rating": 6}, {"min_seq_len": 100}, {"min_seq_len": 100, "k_core": True}, {"drop_last": 99}]
)
def test_filters_that_leave_nothing_are_an_error(config: dict[str, object], tmp_path: Path) -> None:
    make_frame().to_csv(tmp_path / "interactions.csv", index=False)
    with pytest.raises(
        DataError, match=r"interactions\.csv: no train interaction is left of \d+ rows \(\d+ .*\); lower"
    ):
        preprocess_sequences(tmp_path / "interactions.csv", tmp_path / "sequences", DataConfig.parse(config))


@pytest.mark.parametrize(
    "values", [{"min_seq_len": 2}, {"time_split_quantile": 1}, {"split": "random"}, {"min_len": 3}, {"drop_last": -1}]
)
def test_values_out_of_range_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        DataConfig.parse(values)


def test_folder_without_interactions(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file interactions\.csv or interactions\.parquet"):
        preprocess_sequences(tmp_path, tmp_path / "sequences", DataConfig())


def test_folder_with_both_formats(tmp_path: Path) -> None:
    make_frame().to_csv(tmp_path / "interactions.csv", index=False)
    make_frame().to_parquet(tmp_path / "interactions.parquet")
    with pytest.raises(DataError, match=r"holds both interactions\.csv and interactions\.parquet; name the file"):
        preprocess_sequences(tmp_path, tmp_path / "sequences", DataConfig())


@pytest.mark.parametrize(("name", "separator"), [("u.data", "\t"), ("ratings.dat", "::")])
def test_folder_with_original_files_is_read(name: str, separator: str, tmp_path: Path) -> None:
    rows = [("1", str(item), "5", f"88125094{item}") for item in range(1, 5)]
    (tmp_path / name).write_text("".join(separator.join(row) + "\n" for row in rows))
    manifest = preprocess_sequences(tmp_path, tmp_path / "sequences", DataConfig())
    assert manifest.details["rows"] == {"read": 4, "train": 2, "val": 1, "test": 1}


def test_altered_folder_with_manifest_is_refused(tmp_path: Path) -> None:
    make_frame().to_csv(tmp_path / "interactions.csv", index=False)
    preprocess_sequences(tmp_path / "interactions.csv", tmp_path / "sequences", DataConfig())
    (tmp_path / "manifest.json").write_bytes((tmp_path / "sequences" / "manifest.json").read_bytes())
    with pytest.raises(ArtifactError, match="named in the manifest but missing"):
        preprocess_sequences(tmp_path, tmp_path / "again", DataConfig())


@pytest.mark.ml100k
def test_movielens_100k(tmp_path: Path) -> None:
    try:
        folder = fetch("ml-100k")
    except SourceError as error:
        pytest.skip(str(error))
    manifest = preprocess_sequences(folder, tmp_path / "sequences", DataConfig())
    sequences = load_sequences(tmp_path / "sequences")
    assert (sequences.num_users, sequences.num_items, sequences.num_interactions) == (943, 1682, 100_000)
    assert manifest.details["rows"] == {"read": 100_000, "train": 98_114, "val": 943, "test": 943}
    assert exclusion_table(manifest) == []
    assert sequences.item_ids[1682] == "1682"
    assert list(sequences.items.loc[1]) == ["1", "Toy Story (1995)", 1995, "Animation|Children's|Comedy", ""]
    assert sequences.items["title"][267] == "unknown"
    assert sequences.items["year"].isna().sum() == 1
