"""Items without interactions, found by their text alone: true text against shuffled and random text.

Every item is cold once: in each fold a share of the catalogue is taken out of all histories, the retriever (items and
memory, no SASRec, no user text) is trained without it, and the test targets among the cold items are ranked, among the
fold's other cold items that their user never touched and among the whole catalogue. What differs between true and
shuffled text is the meaning; whatever else text brings, both have.

T targets, S seeds.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from jaxtyping import Int64
from rich.table import Table

from ur4rec.columns import ITEM, USER
from ur4rec.commands.console import report_errors
from ur4rec.config import SHIPPED, Config, load_config
from ur4rec.data import sequences as files
from ur4rec.data.config import DataConfig
from ur4rec.data.sequences import Histories, load_sequences
from ur4rec.evaluation.results import HEADLINE_METRICS
from ur4rec.experiments.stage_cache import StageInputs, obtain_stages, read_inputs
from ur4rec.experiments.workers import Failure, run_all
from ur4rec.ranking.bootstrap import paired_difference
from ur4rec.ranking.metrics import per_user_metrics
from ur4rec.ranking.ranks import rank_users
from ur4rec.storage.artifacts import MANIFEST, read_artifact, write_artifact, write_text_atomic
from ur4rec.terminal import PlainConsole
from ur4rec.text.artifact import SEQUENCES_DIGEST
from ur4rec.text.config import EncodeConfig
from ur4rec.text.embeddings import PRODUCER
from ur4rec.training.checkpoints import load_model
from ur4rec.training.config import StageConfig, TextControl
from ur4rec.training.scoring import ModelScorer

FOLDER = Path("outputs/bench/cold_items")
RANKS = "tied_ranks"  # not "ranks": older files hold one averaged rank a target
STAGE = "pretrain_retriever"
SETTINGS = {"system": "UR4RecMoEMemory", "alignment_weight": 1.0, "epochs_per_stage": 20, "patience": 20}
CONTROLS = (TextControl.NONE, TextControl.SHUFFLED, TextControl.RANDOM)
SAMPLES = 10_000


@dataclass(frozen=True)
class Task:
    """One training: a fold, a kind of text, a seed."""

    fold: int
    cold: tuple[int, ...]
    config: Config
    sequences: Path
    original: Path
    embeddings: Path
    cache: Path
    file: Path

    def __str__(self) -> str:
        return f"fold {self.fold}, {self.config.text_control} text, seed {self.config.seed}"


def draw_folds(num_items: int, num_folds: int) -> list[Int64[np.ndarray, "C"]]:
    """Every item in one fold.

    >>> sorted(np.concatenate(draw_folds(7, 3)).tolist())
    [1, 2, 3, 4, 5, 6, 7]
    """
    order = np.random.default_rng(0).permutation(num_items) + 1
    return [np.sort(order[fold::num_folds]) for fold in range(num_folds)]


def write_fold(source: Path, output: Path, cold: Int64[np.ndarray, "C"], config: Config) -> None:
    """The same data set without the cold items in any history; of the test targets only the cold ones.

    A user whose training interactions were all with cold items has no target.
    """
    details = read_artifact(source).details
    rows = {name: np.load(source / name, allow_pickle=False) for name in (files.TRAIN, files.VAL, files.TEST)}
    kept = {name: np.isin(each[:, ITEM], cold, invert=name != files.TEST) for name, each in rows.items()}
    users = np.unique(rows[files.TRAIN][kept[files.TRAIN], USER])
    with write_artifact(output, files.PRODUCER, config.narrow(DataConfig), {"sequences": source}) as writer:
        for name in (files.USER_MAP, files.ITEM_MAP, files.ITEMS):
            shutil.copyfile(source / name, writer.folder / name)
        for name, each in rows.items():
            np.save(writer.folder / name, each[kept[name] & np.isin(each[:, USER], users)], allow_pickle=False)
        writer.details |= details


def adopt_embeddings(source: Path, fold: Path, output: Path) -> None:
    """The same vectors for the users and items of a fold, which are those of the whole data set."""
    manifest = read_artifact(source)
    with write_artifact(output, PRODUCER, EncodeConfig.parse(manifest.config), {"sequences": fold}) as writer:
        for name in manifest.files:
            (writer.folder / name).symlink_to(source.resolve() / name)
        writer.details |= manifest.details | {SEQUENCES_DIGEST: load_sequences(fold).digest}


def cold_candidates(
    targets: Int64[np.ndarray, "T 3"], cold: Int64[np.ndarray, "C"], touched: Histories
) -> Int64[np.ndarray, "T C1"]:
    """Each target, then the cold items that its user never touched; 0 elsewhere."""
    rows, positions = touched.find_rows(targets[:, USER])
    is_touched = np.zeros((len(targets), cold.max() + 1), dtype=bool)
    items = touched.items[positions]
    is_touched[rows[items <= cold.max()], items[items <= cold.max()]] = True
    return np.concatenate([targets[:, [ITEM]], np.where(is_touched[:, cold], 0, cold)], axis=1)


def run_task(task: Task) -> Path:
    """Trains one retriever and writes the ranks of the fold's targets."""
    inputs: StageInputs = read_inputs(task.sequences, task.embeddings, "cpu")
    stage = obtain_stages(task.cache, inputs, task.config.narrow(StageConfig), STAGE)[-1]
    data = load_sequences(task.sequences)
    seen, touched = data.histories("test"), load_sequences(task.original).histories("full")
    scorer = ModelScorer(load_model(stage.checkpoint), seen)
    candidates = cold_candidates(data.test, np.array(task.cold), touched)
    among = np.maximum((candidates > 0).sum(axis=1), 1)
    ranks = {
        "cold": rank_users(scorer, data.test, seen, 512, candidates),
        "catalogue": rank_users(scorer, data.test, seen, 512),
        "users": data.test[:, USER],
        "chance": np.minimum(10 / among, 1),
    }
    task.file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(task.file, allow_pickle=False, **ranks)
    shutil.rmtree(stage.folder)  # hundreds of trainings; the ranks are what counts
    return task.file


def list_tasks(
    sequences: Path,
    embeddings: Path,
    output: Path,
    controls: Sequence[TextControl],
    seeds: int,
    folds: int,
    base: Config,
) -> Iterator[Task]:
    """Fold by fold, so that a run that is stopped has whole folds."""
    data = load_sequences(sequences)
    for fold, cold in enumerate(draw_folds(data.num_items, folds)):
        folder = output / "folds" / str(fold)
        texts = output / "texts" / str(fold)
        if not (folder / MANIFEST).is_file():
            write_fold(sequences, folder, cold, base)
        if not (texts / MANIFEST).is_file():
            adopt_embeddings(embeddings, folder, texts)
        for seed in range(1, seeds + 1):
            for control in controls:
                config = Config.parse(base.to_dict() | SETTINGS | {"text_control": control.value, "seed": seed})
                file = output / RANKS / f"{control.value}_{seed}_{fold}.npz"
                yield Task(fold, tuple(cold.tolist()), config, folder, sequences, texts, output / "stages", file)


def gather(output: Path, control: TextControl, seeds: int, folds: int, among: str) -> np.ndarray:
    """Ranks of every seed, `[S, T, 2]`, the targets of all folds one after another; or another array of the files."""
    return np.stack(
        [
            np.concatenate(
                [_load(output / RANKS / f"{control.value}_{seed}_{fold}.npz", among) for fold in range(folds)]
            )
            for seed in range(1, seeds + 1)
        ]
    )


def _load(file: Path, name: str) -> np.ndarray:
    with np.load(file, allow_pickle=False) as arrays:
        values: np.ndarray = arrays[name]
    return values


def summarize(output: Path, controls: Sequence[TextControl], seeds: int, folds: int) -> list[dict[str, Any]]:
    """A row for each kind of text and set of candidates; differences are true text minus this, paired over users."""
    rows = []
    for among in ("cold", "catalogue"):
        values = {
            control: {
                metric: np.mean(
                    [per_user_metrics(rank)[metric] for rank in gather(output, control, seeds, folds, among)], 0
                )
                for metric in HEADLINE_METRICS
            }
            for control in controls
        }
        for control in controls:
            row: dict[str, Any] = {"text": control.value, "among": among, "targets": len(values[control]["mrr"])}
            row |= {metric: float(value.mean()) for metric, value in values[control].items()}
            if control is not TextControl.NONE and TextControl.NONE in values:
                row["true_minus_this"] = {
                    metric: paired_difference(values[TextControl.NONE][metric], value, SAMPLES).model_dump()
                    for metric, value in values[control].items()
                }
            rows.append(row)
    return rows


def show(rows: list[dict[str, Any]], chance: float) -> Table:
    """The table."""
    table = Table(title=f"cold items; hit@10 by chance among the cold: {chance:.3f}")
    for head in ("text", "ranked among", "targets", *HEADLINE_METRICS, "true text minus this, ndcg@10"):
        table.add_column(head)
    for row in rows:
        difference = row.get("true_minus_this", {}).get("ndcg@10")
        shown = "–"
        if difference:
            low, high = difference["ci95"]
            shown = f"{difference['value']:+.4f} [{low:+.4f}, {high:+.4f}]"
        name = "true" if row["text"] == "none" else row["text"]
        means = (f"{row[metric]:.4f}" for metric in HEADLINE_METRICS)
        table.add_row(name, row["among"], str(row["targets"]), *means, shown)
    return table


def main(
    sequences: Annotated[Path, typer.Argument(help="Sequences folder.", exists=True)],
    embeddings: Annotated[Path, typer.Argument(help="Text embeddings folder.", exists=True)],
    output: Annotated[Path, typer.Option("--output", "-o")] = FOLDER,
    seeds: Annotated[int, typer.Option(min=1)] = 5,
    folds: Annotated[int, typer.Option(min=2)] = 20,
    only_folds: Annotated[int | None, typer.Option(help="Train the first folds only.")] = None,
    text: Annotated[list[TextControl] | None, typer.Option(help="none is the true text.")] = None,
    jobs: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    """Train what is missing and print the table; a run that was stopped goes on."""
    controls = text or CONTROLS
    base = load_config(SHIPPED)
    used = folds if only_folds is None else only_folds
    with report_errors():
        tasks = list_tasks(sequences, embeddings, output, controls, seeds, folds, base)
        missing = [task for task in tasks if task.fold < used and not task.file.is_file()]
        for number, (task, outcome) in enumerate(run_all(run_task, missing, jobs), 1):
            failed = f" FAILED: {outcome.error}" if isinstance(outcome, Failure) else ""
            print(f"{number}/{len(missing)} {task}{failed}", flush=True)
        rows = summarize(output, controls, seeds, used)
        chance = gather(output, controls[0], 1, used, "chance").mean()
        settings = {"settings": SETTINGS, "seeds": seeds, "folds": folds, "folds_used": used, "chance_hit@10": chance}
        digest = load_sequences(sequences).digest
        write_text_atomic(
            output / "cold_items.json", json.dumps({"dataset": digest, **settings, "rows": rows}, indent=2)
        )
        PlainConsole(width=140).print(show(rows, float(chance)))


if __name__ == "__main__":
    typer.run(main)
