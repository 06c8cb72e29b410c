"""A champion trained on an older part of the data, and newer data with more items, in another order."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from present import present
from toy_stages import make_embeddings

from ur4rec.auto.settle import INHERITED
from ur4rec.config import load_config
from ur4rec.config_section import ConfigSection
from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.sequences import Sequences, load_sequences
from ur4rec.data.training_extent import find_unseen
from ur4rec.models.config import ModelConfig
from ur4rec.models.tensor_files import read_tensors
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.recommender.bundle import load_bundle, write_bundle
from ur4rec.registry.warm_start import open_warm_start
from ur4rec.storage.artifacts import REASONS, ArtifactError, read_artifact, write_artifact
from ur4rec.text.embeddings import load_embeddings
from ur4rec.training.checkpoints import find_weights, read_origin, read_shape
from ur4rec.training.config import StageConfig
from ur4rec.training.scoring import ModelScorer
from ur4rec.training.stages import run_stage
from ur4rec.training.start import Previous, begin
from ur4rec.training.trainer import StageRecord, Trainer
from ur4rec.training.warm_start import WarmStart, WarmStartError, check_warm_start

SASREC, RETRIEVER = "pretrain_sasrec", "pretrain_retriever"
NUM_USERS, NUM_OLD, LENGTH, LATER = 24, 20, 12, 4
NEW, COLD = "a new item", "another, which nobody in training has"
SETTINGS = {"sasrec_item_factors": 12, "sasrec_hidden_dim": 8, "max_seq_len": 8, "text_components": 4}


@dataclass(frozen=True)
class World:
    """The two data sets, the champion as a bundle, and texts of the newer items."""

    older: Path
    newer: Path
    bundle: Path
    embeddings: Path

    @property
    def start(self) -> WarmStart:
        start = open_warm_start(str(self.bundle))
        assert start is not None
        return start


def draw_plays(length: int) -> pd.DataFrame:
    """Users who walk through the items from a place of their own, and later come to a new item."""
    rows = []
    for user in range(NUM_USERS):
        items = [f"i{(user + step * (1 + user % 3)) % NUM_OLD}" for step in range(LENGTH)]
        items += [NEW, f"i{(user + 1) % NUM_OLD}", f"i{(user + 2) % NUM_OLD}", COLD if user == 5 else f"i{user % 9}"]
        rows += [(f"u{user}", item, 1_000 + 1_000 * user + 60 * step) for step, item in enumerate(items[:length])]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])


def make_sequences(folder: Path, length: int, order: int = 1, **fields: Any) -> Path:
    folder.mkdir()
    draw_plays(length)[::order].to_csv(folder / "plays.csv", index=False)
    preprocess_sequences(folder / "plays.csv", folder / "sequences", DataConfig(dataset_name="plays", **fields))
    return folder / "sequences"


def make_config(**fields: Any) -> StageConfig:
    return load_config("toy", SETTINGS | fields).narrow(StageConfig)


def train_first(sequences: Path, folder: Path, config: StageConfig, **options: Any) -> StageRecord:
    return run_stage(SASREC, sequences, folder / "checkpoint", folder / "memories", config, device="cpu", **options)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("warm")
    older = make_sequences(folder / "older", LENGTH)
    newer = make_sequences(folder / "newer", LENGTH + LATER, order=-1)
    train_first(older, folder, make_config(epochs_per_stage=10, patience=10, batch_size=8))
    write_bundle(older, folder / "checkpoint", folder / "bundle")
    return World(older, newer, folder / "bundle", make_embeddings(folder / "embeddings", newer, 6))


def start_first(world: World, **fields: Any) -> UR4RecV2MoE:
    """The model that the first stage begins with, before any step."""
    config = make_config(**fields).narrow(ModelConfig)
    return begin(SASREC, load_sequences(world.newer), config, 7, None, warm_start=world.start).eval()


def carried(world: World) -> tuple[Sequences, WarmStart, NDArray[np.int64], NDArray[np.int64]]:
    data, start = load_sequences(world.newer), world.start
    here, there = start.match(data)
    assert len(here) == NUM_OLD
    assert (here != there).any()
    return data, start, here, there


@pytest.mark.parametrize("factors", [12, 5, 0])
def test_known_items_have_the_champions_vectors_whatever_the_factors_are(world: World, factors: int) -> None:
    _, start, here, there = carried(world)
    model = start_first(world, sasrec_item_factors=factors)
    torch.testing.assert_close(
        present(model.sasrec).item_vectors()[here], present(start.model.sasrec).item_vectors()[there], atol=1e-6, rtol=0
    )


def test_before_any_step_sasrec_scores_known_items_as_the_champion_does(world: World) -> None:
    data, start, here, there = carried(world)
    theirs = np.zeros(data.num_items + 1, dtype=np.int64)
    theirs[here] = there
    histories = [here[[3, 9, 4]], here[[11]], here[:8]]
    ours = ModelScorer(start_first(world), data.histories("validation"), "sasrec").score_histories(histories)
    old = load_sequences(world.older).histories("validation")
    expected = ModelScorer(start.model, old, "sasrec").score_histories([theirs[history] for history in histories])
    torch.testing.assert_close(ours[:, here], expected[:, there], atol=1e-5, rtol=1e-5)
    assert expected.std() > 0.1


def test_the_map_of_the_factors_says_what_it_can(world: World) -> None:
    """Fitted anew: what is left for the embeddings is less than what they held before."""
    _, _, here, _ = carried(world)
    sasrec = present(start_first(world).sasrec)
    vectors = sasrec.item_vectors()[here]
    assert sasrec.item_embedding.weight[here].norm() < 0.8 * vectors.norm()


def test_a_new_item_begins_like_its_neighbours_and_one_without_interactions_with_nothing(world: World) -> None:
    data, _, here, _ = carried(world)
    vectors = present(start_first(world).sasrec).item_vectors()
    known = vectors[here].norm(dim=1)
    new = vectors[data.item_ids.index(NEW)].norm()
    assert 0.1 * known.mean() < new < 2 * known.max()
    assert not vectors[data.item_ids.index(COLD)].any()


def test_the_first_stage_that_reads_texts_describes_items_without_interactions(world: World, tmp_path: Path) -> None:
    data, config = load_sequences(world.newer), make_config()
    text = load_embeddings(world.embeddings, data)
    cold, shape = data.item_ids.index(COLD), config.narrow(ModelConfig)
    for name, start in (("cold", None), ("warm", world.start)):
        train_first(world.newer, tmp_path / name, config, warm_start=start)
    warm, scratch = (
        present(begin(RETRIEVER, data, shape, 7, Previous(checkpoint, SASREC), text).sasrec).item_vectors()
        for checkpoint in (tmp_path / "warm/checkpoint", tmp_path / "cold/checkpoint")
    )
    assert not scratch[cold].any()
    assert 0 < warm[cold].norm() < 2 * warm.norm(dim=1).max()
    trained = read_tensors(find_weights(tmp_path / "warm/checkpoint", SASREC))["sasrec.item_embedding.weight"]
    kept = begin(RETRIEVER, data, shape, 7, Previous(tmp_path / "warm/checkpoint", SASREC), None)
    assert torch.equal(present(kept.sasrec).item_embedding.weight, trained)
    others = [row for row in range(len(trained)) if row != cold]
    assert torch.equal(present(kept.sasrec).item_vectors()[others], warm[others])


def test_the_stage_says_where_it_started_and_later_ones_remember(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start, config = world.start, make_config(epochs_per_stage=1)
    train_first(world.newer, tmp_path / "1", config, warm_start=start)
    assert f"warm start: {world.bundle}, 20 of 22 items carried over" in capsys.readouterr().out
    first, second = ((tmp_path / run / "checkpoint", tmp_path / run / "memories") for run in ("1", "2"))
    run_stage(RETRIEVER, world.newer, *second, config, world.embeddings, *first, device="cpu")
    for path in (first[0], second[0]):
        origin = present(read_origin(path))
        assert (origin.name, origin.digest, origin.num_items) == (str(world.bundle), start.digest, NUM_OLD)
        assert read_artifact(path).details["warm_start"]["name"] == str(world.bundle)
    assert read_origin(world.bundle) is None


def test_a_model_has_seen_what_the_one_before_it_has_seen(world: World, tmp_path: Path) -> None:
    """Whatever was trained on later data than its own counts for its own cutoff."""
    start = world.start
    late = replace(start, extent=replace(start.extent, cutoff_s=10**9))
    train_first(world.newer, tmp_path, make_config(epochs_per_stage=1), warm_start=late)
    details = write_bundle(world.newer, tmp_path / "checkpoint", tmp_path / "bundle").details
    assert (details["training_cutoff_s"], details["warm_start"]) == (10**9, str(world.bundle))
    assert load_bundle(tmp_path / "bundle").extent.cutoff_s == 10**9
    assert world.start.extent.cutoff_s == load_sequences(world.older).train[:, 2].max()


@pytest.mark.parametrize(
    ("name", "value"),
    [("sasrec_hidden_dim", 16), ("sasrec_num_blocks", 2), ("sasrec_num_heads", 4), ("max_seq_len", 9)],
)
def test_another_shape_is_refused_by_the_name_of_the_setting(
    world: World, tmp_path: Path, name: str, value: int
) -> None:
    there = getattr(world.start.model.config, name)
    message = rf"bundle: {name}: it has {there}, this configuration has {value}; set {name} to {there}, or train"
    with pytest.raises(WarmStartError, match=message):
        train_first(world.newer, tmp_path, make_config(**{name: value}), warm_start=world.start)
    assert not list(tmp_path.iterdir())


def test_what_is_left_to_the_data_keeps_the_shape_that_training_starts_with(world: World, tmp_path: Path) -> None:
    """In later stages, too, which are not told of the warm start."""
    config = make_config(epochs_per_stage=1, max_seq_len="auto", sasrec_hidden_dim="auto")
    first, second = ((tmp_path / run / "checkpoint", tmp_path / run / "memories") for run in ("1", "2"))
    train_first(world.newer, tmp_path / "1", config, warm_start=world.start)
    run_stage(RETRIEVER, world.newer, *second, config, world.embeddings, *first, device="cpu")
    for path in (first[0], second[0]):
        shape, manifest = read_shape(path), read_artifact(path)
        assert (shape.max_seq_len, shape.sasrec_hidden_dim) == (8, 8)
        assert manifest.details[REASONS] == dict.fromkeys(("max_seq_len", "sasrec_hidden_dim"), INHERITED)


def test_a_system_without_sasrec_and_a_later_stage_are_refused(world: World, tmp_path: Path) -> None:
    config, start = make_config(system="UR4RecMoEMemory"), world.start
    with pytest.raises(WarmStartError, match=r"stage pretrain_retriever: cannot start from .*/bundle, only pretrain"):
        run_stage(RETRIEVER, world.newer, tmp_path / "c", tmp_path / "m", config, world.embeddings, warm_start=start)
    start.model.sasrec = None
    with pytest.raises(WarmStartError, match="which has no SASRec"):
        train_first(world.newer, tmp_path, make_config(), warm_start=start)


def test_a_catalogue_without_a_known_item_is_refused(world: World, tmp_path: Path) -> None:
    start = world.start
    stranger = replace(start, extent=replace(start.extent, item_index={"other": 1}))
    with pytest.raises(WarmStartError, match="it knows none of the 22 items; train from scratch"):
        train_first(world.newer, tmp_path, make_config(), warm_start=stranger)


def check(start: WarmStart, sequences: Path, by_time: bool = False) -> None:
    check_warm_start(start, load_sequences(sequences), make_config().narrow(ModelConfig), by_time)


def test_the_same_data_and_an_older_part_of_them_are_fair(world: World) -> None:
    for sequences in (world.older, world.newer):
        check(world.start, sequences)
        data = load_sequences(sequences)
        assert find_unseen(data, np.concatenate([data.val, data.test]), world.start.extent).all()


def test_a_champion_that_was_trained_on_a_target_is_refused(world: World) -> None:
    """As one that was fitted to all interactions would be."""
    start = world.start
    everything = replace(start, extent=replace(start.extent, lengths=start.extent.histories.lengths))
    message = r"its training has seen 48 of the 48 validation and test targets.*user 'u\d+', item 'i\d+'.*older data"
    with pytest.raises(WarmStartError, match=message):
        check(everything, world.older)
    check(everything, world.newer)  # their targets are later still


def test_a_champion_of_newer_data_is_refused(world: World, tmp_path: Path) -> None:
    rolled_back = make_sequences(tmp_path / "back", LENGTH, drop_last=2)
    with pytest.raises(WarmStartError, match="its training has seen 48 of the 48 validation and test targets"):
        check(world.start, rolled_back)


def test_with_one_cut_for_everybody_no_interaction_may_be_later_than_it(world: World, tmp_path: Path) -> None:
    """Not even of users who take no part in the newer data."""
    data = load_sequences(make_sequences(tmp_path / "cut", LENGTH + LATER, split="time", time_split_quantile=0.9))
    first_s, start = int(data.test[:, 2].min()), world.start
    strangers = replace(start.extent, user_index={}, cutoff_s=first_s)
    config = make_config().narrow(ModelConfig)
    with pytest.raises(WarmStartError, match=rf"up to {first_s} s, and `split: time` tests from {first_s} s on"):
        check_warm_start(replace(start, extent=strangers), data, config, by_time=True)
    check_warm_start(replace(start, extent=replace(strangers, cutoff_s=first_s - 1)), data, config, by_time=True)
    with pytest.raises(WarmStartError, match=r"`split: time` tests from"):
        train_first(tmp_path / "cut/sequences", tmp_path, make_config(), warm_start=replace(start, extent=strangers))


def test_a_killed_stage_goes_on_to_the_same_result_and_another_champion_is_another_state(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, config = world.start, make_config(epochs_per_stage=3, batch_size=8)
    train_first(world.newer, tmp_path / "whole", config, warm_start=start)
    state, step = tmp_path / "state", Trainer._train_step

    def die(self: Trainer, *arguments: Any) -> float:
        if self.step == 5:
            raise InterruptedError
        return step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_train_step", die)
        with pytest.raises(InterruptedError):
            train_first(world.newer, tmp_path / "cut", config, warm_start=start, state=state, resume=True)
    (left,) = state.iterdir()
    other = replace(start, digest="another")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_train_step", die)
        with pytest.raises(InterruptedError):
            train_first(world.newer, tmp_path / "cut", config, warm_start=other, state=state, resume=True)
    assert len(list(state.iterdir())) == 2
    train_first(world.newer, tmp_path / "cut", config, warm_start=start, state=state, resume=True)
    assert not left.exists()
    whole, resumed = (read_tensors(find_weights(tmp_path / name / "checkpoint", SASREC)) for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    # What is finished is found again, and not by a training from scratch.
    before = (tmp_path / "cut/checkpoint/manifest.json").stat().st_mtime_ns
    train_first(world.newer, tmp_path / "cut", config, warm_start=start, resume=True)
    assert (tmp_path / "cut/checkpoint/manifest.json").stat().st_mtime_ns == before
    train_first(world.newer, tmp_path / "cut", config, resume=True)
    assert read_origin(tmp_path / "cut/checkpoint") is None


def test_an_altered_bundle_and_one_of_another_release_are_refused(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.bundle, tmp_path / "bundle")
    with (tmp_path / "bundle/final_model.pt").open("ab") as file:
        file.write(b"!")
    with pytest.raises(ArtifactError, match=r"final_model\.pt: sha256 differs from the manifest"):
        open_warm_start(str(tmp_path / "bundle"))
    with pytest.raises(ArtifactError, match="expected a bundle"):
        open_warm_start(str(world.older))
    state = torch.load(world.bundle / "final_model.pt", weights_only=True)
    rewritten = tmp_path / "rewritten"
    with write_artifact(rewritten, "bundle", ConfigSection()) as writer:
        shutil.copytree(world.bundle, writer.folder, ignore=shutil.ignore_patterns("manifest.json"), dirs_exist_ok=True)
        torch.save(state | {"sasrec.of_another_release": torch.zeros(1)}, writer.folder / "final_model.pt")
        writer.details |= json.loads((world.bundle / "manifest.json").read_text())["details"]
    with pytest.raises(
        WarmStartError, match=r"rewritten: final_model\.pt: sasrec\.of_another_release: .*; train from scratch"
    ):
        open_warm_start(str(rewritten))
