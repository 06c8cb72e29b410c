"""Nothing of a user at or after a target reaches the target's scores, in training and in evaluation.

The data are random, with many equal timestamps; what a test changes is at or after a target, or another user's.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from ur4rec.columns import ITEM
from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.selection import split_by_time
from ur4rec.data.sequences import Histories, Sequences, load_sequences
from ur4rec.evaluation.baselines import Baselines
from ur4rec.evaluation.config import EvaluationConfig
from ur4rec.models.config import CooccurrenceConfig, ModelConfig, Part, System, UpdateTrigger
from ur4rec.models.cooccurrence import NeighborTables, to_logits
from ur4rec.models.retriever_moe_memory import Window
from ur4rec.models.text_table import TextTable
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.models.user_memory import MemoryState
from ur4rec.text.artifact import load_texts
from ur4rec.text.config import TextConfig
from ur4rec.text.embeddings import TextEmbeddings
from ur4rec.text.generate import generate_text
from ur4rec.text.requests import ItemRequest
from ur4rec.text.sentences import split_sentences
from ur4rec.text.snapshots import build_user_requests, compute_grid
from ur4rec.text.template import write_user_text
from ur4rec.training.config import ObjectiveConfig, TrainingConfig
from ur4rec.training.cooccurrence import fit_fold_tables, user_folds
from ur4rec.training.objective import Objective
from ur4rec.training.scoring import ModelScorer
from ur4rec.training.stages import plans_of
from ur4rec.training.start import begin
from ur4rec.training.trainer import Trainer
from ur4rec.training.windows import Epoch, sample_epoch

NUM_USERS, NUM_ITEMS, LONGEST, TEXT_DIM, TRIALS = 20, 30, 14, 6, 3
MOST_SENTENCES = 6
CPU = torch.device("cpu")
Horizon = Literal["validation", "test"]
Prepared = tuple[Horizon, tuple[Sequences, TextEmbeddings], tuple[Sequences, TextEmbeddings]]
"""Horizon, the original data, and with others at and after its targets."""
SMALL: dict[str, Any] = {
    "sasrec_hidden_dim": 8,
    "sasrec_num_blocks": 1,
    "sasrec_item_factors": 6,
    "retriever_output_dim": 8,
    "text_components": 5,
    "max_seq_len": 5,
    "memory_dim": 6,
    "max_memory_size": 3,
    "interaction_threshold": 2,
    "time_threshold_s": 20,
    "cooccurrence_neighbors": 8,
    "cooccurrence_window": 3,
    "cooccurrence_smoothing": 1.0,
}
MEMORIES: list[dict[str, Any]] = [
    {"max_memory_size": 0},
    *({"update_trigger": trigger.value} for trigger in UpdateTrigger),
]
CASES = [
    {"system": System.V2.value},
    *({"system": system.value} | memory for system, memory in product((System.V2_MOE, System.MOE_MEMORY), MEMORIES)),
]
GENRES = ("drama", "comedy", "western", "noir")
ITEM_REQUESTS = [
    ItemRequest(str(item), f"Title {item}", genres=(GENRES[item % 4],)) for item in range(1, NUM_ITEMS + 1)
]


def draw_histories(rng: np.random.Generator, shortest: int = 1) -> Histories:
    """Different items for each user, at times of which a third are those of the interaction before."""
    lengths = np.concatenate([[0], rng.integers(shortest, LONGEST + 1, NUM_USERS)])
    items = [rng.permutation(NUM_ITEMS - 2)[:length] + 1 for length in lengths]
    times = [rng.integers(0, 3, length).cumsum() * 10 for length in lengths]
    return Histories(np.concatenate([[0], lengths.cumsum()]), np.concatenate(items), np.concatenate(times))


def other_items(items: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """As many items that are not among these."""
    return rng.permutation(np.setdiff1d(np.arange(1, NUM_ITEMS + 1), items))[: len(items)]


def change_later(histories: Histories, users: Iterable[int], rng: np.random.Generator) -> Histories:
    """Another item in a random interaction of each user or, of every second one, in all that follow as well.

    The times of the latter change from the next later timestamp on, and stay later than those before.
    """
    items, times = histories.items.copy(), histories.timestamps.copy()
    for user in users:
        begin, end = histories.offsets[user], histories.offsets[user + 1]
        row = rng.integers(begin, end)
        if rng.random() < 0.5:
            items[row] = other_items(items[begin:end], rng)[0]
            continue
        items[row:end] = other_items(items[begin:end], rng)[: end - row]
        is_later = [place == begin or times[place] > times[place - 1] for place in range(row, end)]
        border = row + np.flatnonzero([*is_later, True])[0]
        times[border:end] = times[border : border + 1] + rng.integers(0, 3, end - border).cumsum() * 10
    return replace(histories, items=items, timestamps=times)


def embed(sentence: str) -> NDArray[np.float32]:
    return np.random.default_rng(zlib.crc32(sentence.encode())).normal(size=TEXT_DIM).astype(np.float32)


def embed_texts(points: NDArray[np.int64], texts: Sequence[str]) -> TextEmbeddings:
    """Vectors that differ as soon as a sentence does; all texts have as many, so that dropout draws alike."""
    split = [[*split_sentences(text), *("",) * MOST_SENTENCES][:MOST_SENTENCES] for text in texts]
    sentences = np.array([embed(sentence) for part in split for sentence in part])
    descriptions = np.concatenate([np.zeros((1, TEXT_DIM)), [embed(f"item {item}") for item in range(NUM_ITEMS)]])
    return TextEmbeddings(descriptions.astype(np.float32), sentences, np.cumsum([0, *map(len, split)]), points)


def write_texts(histories: Histories) -> TextEmbeddings:
    """What the offline provider writes from these histories."""
    points = compute_grid(histories, 2)
    requests = build_user_requests(points, histories, ITEM_REQUESTS, [str(user) for user in range(NUM_USERS + 1)])
    return embed_texts(points, [write_user_text(request) for request in requests])


def add_text(model: UR4RecV2MoE, text: TextEmbeddings) -> None:
    arrays = text.item_descriptions, text.sentences, text.offsets, text.snapshots
    descriptions, sentences, offsets, snapshots = (torch.from_numpy(np.asarray(array)) for array in arrays)
    model.retriever.encoder.text.fill(descriptions, sentences, offsets, snapshots, model.num_users)


def unsettle(model: UR4RecV2MoE) -> UR4RecV2MoE:
    """Far from the start, so that everything that is read moves the scores."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.3 * torch.randn(value.shape, generator=generator))
    return model


def assert_same(actual: Tensor, expected: Tensor) -> None:
    assert torch.allclose(actual, expected, rtol=1e-6, atol=1e-6)


# --- Training ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recorded:
    """An epoch as the trainer sampled it, and the scores of the catalogue after each of its inputs."""

    epoch: Epoch
    scores: dict[tuple[int, int], torch.Tensor]
    """By user and index of the input in the user's history."""


Record = Callable[[Histories, dict[str, Any], str, int], Recorded]


class Recorder(Objective):
    """Keeps the scores that are trained on instead of training on them."""

    def __call__(self, window: Window, targets: Tensor, state: MemoryState | None) -> Tensor:
        self.scores = vars(self).get("scores", {})
        items = self.model.items(self.part, drop_ids=True)
        encoded = self.model.encode(window, state, self.part, items)
        scores = self.model.user_vectors(encoded, self.part) @ items.vectors().T
        if self.tables is not None:
            logits = torch.stack([to_logits(raw) for raw in self._cooccurrence(window, None)], dim=1)
            scores = scores + self._factors(encoded)[..., None] * logits
        for row, position in (targets > 0).nonzero().tolist():
            key = int(window.user_ids[row]), int(window.starts[row]) + position
            self.scores[key] = scores[row, position].detach()
        return scores.sum() * 0


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Record:
    """Runs an epoch of the trainer, dropout included, and returns what it scored."""
    sampled: list[Epoch] = []

    def sample(*arguments: Any) -> Epoch:
        sampled.append(sample_epoch(*arguments))
        return sampled[-1]

    monkeypatch.setattr("ur4rec.training.trainer.sample_epoch", sample)

    def run(histories: Histories, case: dict[str, Any], stage: str, seed: int) -> Recorded:
        torch.manual_seed(seed)
        windows = {name: value for name, value in case.items() if name == "windows_per_user"}
        shape = {name: value for name, value in case.items() if name not in windows}
        model = UR4RecV2MoE(NUM_ITEMS, NUM_USERS, **(SMALL | shape))
        add_text(model, write_texts(histories))
        if model.sasrec is not None:
            model.sasrec.start_from(torch.randn(NUM_ITEMS + 1, 8))
        config = TrainingConfig(batch_size=32, weight_decay=0, random_window_share=0.7, seed=seed, **windows)
        plan = plans_of(model.config)[stage]
        trainer = Trainer(unsettle(model), histories, np.empty((0, 3), np.int64), plan, config)
        trainer.objective = Recorder(model, plan.part, trainer.objective.tables, config, trainer.generator)
        trainer._train_epoch()
        return Recorded(sampled[-1], trainer.objective.scores)

    return run


def first_difference(before: Epoch, after: Epoch, histories: Histories, user: int) -> int:
    """Index in the user's history, in the order of the epoch, of the first interaction that is another one."""
    rows = slice(histories.offsets[user], histories.offsets[user + 1])
    differs = (before.items[rows] != after.items[rows]) | (before.timestamps[rows] != after.timestamps[rows])
    return int(differs.nonzero()[0])


def compare(before: Recorded, after: Recorded, histories: Histories, users: Iterable[int]) -> tuple[int, int]:
    """Number of positions that predict at most what differs, and of later ones whose scores have moved."""
    unmoved = moved = 0
    for user in users:
        first = first_difference(before.epoch, after.epoch, histories, user)
        for index in (index for who, index in before.scores if who == user):
            if index < first:
                assert_same(after.scores[user, index], before.scores[user, index])
                unmoved += 1
            else:
                moved += not torch.allclose(after.scores[user, index], before.scores[user, index], atol=1e-4)
    return unmoved, moved


STAGE_CASES = [
    *((case, "end_to_end") for case in CASES),
    ({"system": System.V2_MOE.value}, "pretrain_sasrec"),
    ({"system": System.V2_MOE.value}, "pretrain_retriever"),
    ({"windows_per_user": "all"}, "end_to_end"),
]


@pytest.mark.parametrize(("case", "stage"), STAGE_CASES, ids=str)
def test_training_scores_do_not_depend_on_what_comes_later(record: Record, case: dict[str, Any], stage: str) -> None:
    counts = np.zeros(2, int)
    for seed in range(TRIALS):
        rng = np.random.default_rng(seed)
        histories = draw_histories(rng)
        # Users of one fold: their statistics come from the others, so nothing that is theirs may be in them.
        fold = user_folds(np.arange(1, NUM_USERS + 1)) == seed
        users = [user for user in (np.flatnonzero(fold) + 1).tolist() if histories.lengths[user] >= 2]
        changed = change_later(histories, users, rng)
        before, after = (record(each, case, stage, seed) for each in (histories, changed))
        counts += np.array(compare(before, after, histories, users))
    unmoved, moved = counts
    assert unmoved > 20
    assert moved > 20


def test_ties_are_shuffled_in_training_with_their_group_only(record: Record) -> None:
    """Otherwise the test above would not meet the borders of groups and of windows that it is there for."""
    shuffled = inside = 0
    for seed in range(TRIALS):
        histories = draw_histories(np.random.default_rng(seed))
        epoch = record(histories, {}, "end_to_end", seed).epoch
        shuffled += int((epoch.items.numpy() != histories.items).sum())
        rows = (epoch.offsets + epoch.starts).numpy()[epoch.starts.numpy() > 0]
        inside += int((histories.timestamps[rows] == histories.timestamps[rows - 1]).sum())
        users = np.repeat(np.arange(NUM_USERS + 1), histories.lengths)
        order = np.lexsort((epoch.items, histories.timestamps, users))
        expected = np.lexsort((histories.items, histories.timestamps, users))
        assert np.array_equal(epoch.items[order], histories.items[expected])
        assert np.array_equal(epoch.timestamps, histories.timestamps)
    assert shuffled > 20
    assert inside > 5


@pytest.mark.parametrize("num_negatives", [0, 6])
@pytest.mark.parametrize("case", [{"update_trigger": "drift_threshold"}, {"max_memory_size": 0}], ids=str)
def test_the_loss_of_a_position_does_not_depend_on_later_inputs(case: dict[str, Any], num_negatives: int) -> None:
    rng = np.random.default_rng(0)
    histories = draw_histories(rng, shortest=8)
    torch.manual_seed(0)
    dropped = 0.0 if num_negatives else 0.4  # of the items in play, which are others when the inputs are
    model = unsettle(UR4RecV2MoE(NUM_ITEMS, NUM_USERS, id_dropout=dropped, **(SMALL | case))).train()
    add_text(model, write_texts(histories))
    tables = fit_fold_tables(histories, NUM_ITEMS, model.config.narrow(CooccurrenceConfig), CPU)
    config = ObjectiveConfig(num_negatives=num_negatives, alignment_weight=0.5, load_balance_weight=0.5)
    window, targets = sample_epoch(histories, 5, rng, 0.5, True, CPU).window(torch.arange(NUM_USERS))
    memory = model.retriever.memory

    def loss(position: int, items: Tensor, timestamps: Tensor) -> Tensor:
        torch.manual_seed(1)
        state = None if memory is None else memory.empty_state(NUM_USERS)
        only = torch.zeros_like(targets)
        only[:, position] = targets[:, position]
        objective = Objective(model, Part.FUSED, tables, config, np.random.default_rng(2))
        return objective(Window(window.user_ids, items, timestamps, window.starts), only, state)

    for position in range(4):
        items, times = window.items.clone(), window.timestamps.clone()
        items[:, position + 1 :] = torch.from_numpy(rng.integers(1, NUM_ITEMS + 1, (NUM_USERS, 4 - position)))
        times[:, position + 1 :] += 500
        assert_same(loss(position, items, times), loss(position, window.items, window.timestamps))
        assert abs(loss(4, items, times) - loss(4, window.items, window.timestamps)) > 1e-4


def strongest(tables: NeighborTables, fold: int) -> list[list[tuple[int, float]]]:
    """Neighbours with their strengths, without the empty places."""
    return [
        [pair for pair in zip(items, strengths, strict=True) if pair[1] > 0]
        for items, strengths in zip(tables.neighbors[fold].tolist(), tables.strengths[fold].tolist(), strict=True)
    ]


def test_no_row_of_a_user_is_in_the_table_of_their_fold() -> None:
    config = CooccurrenceConfig(cooccurrence_neighbors=8, cooccurrence_smoothing=1)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        histories, user = draw_histories(rng, shortest=3), int(rng.integers(1, NUM_USERS + 1))
        rows = slice(histories.offsets[user], histories.offsets[user + 1])
        items = histories.items.copy()
        items[rows] = other_items(items[rows], rng)
        tables = [
            fit_fold_tables(each, NUM_ITEMS, config, CPU) for each in (histories, replace(histories, items=items))
        ]
        own = int(user_folds(np.array([user]))[0])
        for fold in range(len(tables[0].neighbors)):
            assert (strongest(tables[0], fold) == strongest(tables[1], fold)) == (fold == own)


def test_only_the_newest_text_from_before_the_target_is_visible() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        users, as_of = rng.integers(1, NUM_USERS + 1, 40), rng.integers(1, LONGEST, 40)
        snapshots = np.unique(np.stack([users, as_of], axis=1), axis=0)
        offsets = np.cumsum([0, *rng.integers(1, 4, len(snapshots))])
        table = TextTable(1)
        arrays = np.eye(2, 1), np.zeros((offsets[-1], 1)), offsets, snapshots
        first, second, third, fourth = map(torch.from_numpy, arrays)
        table.fill(first, second, third, fourth, NUM_USERS)
        table.sentences = torch.arange(offsets[-1])[:, None].half()
        asked = torch.arange(NUM_USERS + 3) - 1  # with nobody and an unknown user
        starts = torch.from_numpy(rng.integers(0, 6, len(asked)))
        targets = starts[:, None] + torch.arange(1, 8)
        tokens, mask = table.visible(asked, targets, torch.ones_like(targets, dtype=torch.bool))
        for row, user in enumerate(asked.tolist()):
            for column, target in enumerate(targets[row].tolist()):
                places = np.flatnonzero((snapshots[:, 0] == user) & (snapshots[:, 1] <= target))
                expected = range(offsets[places[-1]], offsets[places[-1] + 1]) if len(places) else ()
                assert sorted(tokens[row, mask[row, column], 0].int().tolist()) == list(expected)


# --- Evaluation -------------------------------------------------------------------------------------------------------


def draw_interactions(rng: np.random.Generator) -> Histories:
    """Histories of which the last two users know every item, so that the catalogue is always the same.

    The last two items are nobody's but theirs, and at their end.
    """
    drawn = draw_histories(rng, shortest=4)
    cut = drawn.offsets[NUM_USERS - 1]
    items, times = (
        np.concatenate([array[:cut], *tail])
        for array, tail in (
            (drawn.items, 2 * [np.arange(1, NUM_ITEMS + 1)]),
            (drawn.timestamps, 2 * [np.arange(NUM_ITEMS)]),
        )
    )
    ends = cut + NUM_ITEMS * np.arange(1, 3)
    return Histories(np.concatenate([drawn.offsets[:NUM_USERS], ends]), items, times)


def change_rows(
    histories: Histories, rows: NDArray[np.bool_], rng: np.random.Generator, times_too: NDArray[np.bool_]
) -> Histories:
    """Other items in these rows, other times in some of them; everybody's order of times stays."""
    items, times = histories.items.copy(), histories.timestamps.copy()
    users = np.repeat(np.arange(NUM_USERS + 1), histories.lengths)
    for user in range(1, NUM_USERS - 1):
        own, its = users == user, rows & (users == user)
        items[its] = other_items(items[own], rng)[: its.sum()]
        times[its & times_too] += rng.integers(0, 5, int((its & times_too).sum())).cumsum() * 10
    return replace(histories, items=items, timestamps=times)


def places_from_end(histories: Histories) -> NDArray[np.int64]:
    return np.concatenate([np.arange(length)[::-1] for length in histories.lengths])


def leave_one_out_changes(histories: Histories, rng: np.random.Generator) -> dict[Horizon, Histories]:
    """Targets' horizon → the same interactions with others at and after each user's target."""
    place = places_from_end(histories)
    anywhere = np.ones(len(place), dtype=bool)
    return {
        "validation": change_rows(histories, place < 2, rng, anywhere),
        "test": change_rows(histories, place < 1, rng, anywhere),
    }


def time_changes(histories: Histories, rng: np.random.Generator) -> dict[Horizon, Histories]:
    """Likewise; the times change behind the cut only, so that it stays where it is."""
    users = np.repeat(np.arange(NUM_USERS + 1), histories.lengths)
    split = split_by_time(users, histories.timestamps.astype(float), TIME_SPLIT["time_split_quantile"])
    target = split.parts > 0
    after, later = histories.timestamps >= split.cut, histories.timestamps > split.cut
    return {
        "validation": change_rows(histories, target, rng, later),
        "test": change_rows(histories, target & after, rng, later),
    }


TIME_SPLIT: dict[str, Any] = {"split": "time", "time_split_quantile": 0.7}
SPLITS = [({}, leave_one_out_changes), (TIME_SPLIT, time_changes)]


def prepare(folder: Path, histories: Histories, config: dict[str, Any]) -> tuple[Sequences, TextEmbeddings]:
    """The real tasks: a file of interactions, sequences, the offline provider's texts."""
    folder.mkdir()
    users = np.repeat(np.arange(NUM_USERS + 1), histories.lengths)
    columns = {"user_id": users, "item_id": histories.items, "timestamp": histories.timestamps}
    pd.DataFrame(columns).to_csv(folder / "plays.csv", index=False)
    preprocess_sequences(folder / "plays.csv", folder / "sequences", DataConfig(**config))
    generate_text(folder / "sequences", folder / "texts", TextConfig(snapshot_base=2))
    data = load_sequences(folder / "sequences")
    texts = load_texts(folder / "texts", data)
    return data, embed_texts(texts.points, texts.snapshots)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> list[Prepared]:
    """Original data, and with others at and after the targets of a horizon."""
    found = []
    for seed, (config, change) in enumerate(SPLITS):
        rng = np.random.default_rng(seed)
        histories = draw_interactions(rng)
        root = tmp_path_factory.mktemp("causality")
        original = prepare(root / "original", histories, config)
        changes = change(histories, rng)
        found += [(horizon, original, prepare(root / horizon, changed, config)) for horizon, changed in changes.items()]
    return found


def start(data: Sequences, text: TextEmbeddings, case: dict[str, Any]) -> UR4RecV2MoE:
    """The model of a first stage, its statistics counted from the data."""
    torch.manual_seed(0)
    config = ModelConfig.parse(SMALL | case)
    model = begin(next(iter(plans_of(config))), data, config, 0, None, text)
    add_text(model, text)
    return unsettle(model)


def score(
    model: UR4RecV2MoE, data: Sequences, horizon: Horizon, part: Literal["fused", "sasrec", "retriever"] | None = None
) -> Tensor:
    """Scores of every user with a target."""
    targets = data.val if horizon == "validation" else data.test
    return ModelScorer(model, data.histories(horizon), part)(targets[:, 0])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_evaluated_scores_do_not_depend_on_the_target_or_what_comes_later(
    evaluated: list[Prepared], case: dict[str, Any]
) -> None:
    for horizon, original, changed in evaluated:
        models = [start(*prepared, case) for prepared in (original, changed)]
        known = np.isin(np.arange(NUM_ITEMS + 1), original[0].train[:, ITEM])
        assert np.array_equal(models[0].retriever.encoder.get_buffer("is_trained"), known)
        for name, value in models[0].state_dict().items():
            if ".text." not in name:
                assert torch.equal(value, models[1].state_dict()[name]), name
        before, after = score(models[0], original[0], horizon), score(models[1], changed[0], horizon)
        assert_same(after, before)
        if horizon == "validation":  # the change is one that is seen
            assert not torch.allclose(score(models[1], changed[0], "test"), score(models[0], original[0], "test"))


@pytest.mark.parametrize("part", ["sasrec", "retriever"])
def test_evaluated_scores_of_the_parts_do_not_either(
    evaluated: list[Prepared], part: Literal["fused", "sasrec", "retriever"] | None
) -> None:
    for horizon, original, changed in evaluated:
        models = [start(*prepared, {}) for prepared in (original, changed)]
        before, after = (
            score(model, data, horizon, part) for model, (data, _) in zip(models, (original, changed), strict=True)
        )
        assert_same(after, before)
        if horizon == "validation":
            assert not torch.allclose(
                score(models[1], changed[0], "test", part), score(models[0], original[0], "test", part)
            )


def test_the_baselines_do_not_either(evaluated: list[Prepared]) -> None:
    config = EvaluationConfig(baselines=("popularity", "ease", "recency_ease"))
    for horizon, original, changed in evaluated:
        users = (original[0].val if horizon == "validation" else original[0].test)[:, 0]
        before, after = (Baselines(data, config)(data.histories(horizon)) for data, _ in (original, changed))
        for name, scorer in before.items():
            assert_same(after[name](users), scorer(users))
        if horizon == "validation":
            before, after = (Baselines(data, config)(data.histories("test")) for data, _ in (original, changed))
            for name in ("ease", "recency_ease"):  # popularity is that of the training
                assert not torch.allclose(after[name](users), before[name](users))
