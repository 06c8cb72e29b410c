"""New items among all items: the whole system against text cosine and shuffled text, and what it costs the others.

Every item is cold once, as in `benchmarks.cold_items`. In each fold the system is trained up to stage 3 with `auto` on
histories without the fold's items, and without user texts, which name them. Test targets among the cold items and among
the others are ranked in the whole catalogue, with the offset of new items and without it.

T targets.
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
from jaxtyping import Float64, Int64
from rich.table import Table

from benchmarks.cold_items import draw_folds, write_fold
from ur4rec.auto.settle import settle
from ur4rec.columns import ITEM, USER
from ur4rec.commands.console import ConfigOption, SetOption, report_errors, split_settings
from ur4rec.config import Config, load_config
from ur4rec.data.sequences import Sequences, load_sequences
from ur4rec.experiments.stage_cache import obtain_stages, read_inputs
from ur4rec.experiments.workers import Failure, run_all
from ur4rec.models.config import Expert
from ur4rec.ranking.bootstrap import paired_difference
from ur4rec.ranking.metrics import per_user_metrics
from ur4rec.ranking.ranks import Scorer, rank_users
from ur4rec.storage.artifacts import MANIFEST, read_artifact, write_artifact, write_text_atomic
from ur4rec.terminal import PlainConsole
from ur4rec.text.artifact import SEQUENCES_DIGEST
from ur4rec.text.config import EncodeConfig
from ur4rec.text.embeddings import ITEM_DESCRIPTIONS, OFFSETS, PRODUCER, SENTENCES, SNAPSHOTS
from ur4rec.training.checkpoints import load_model
from ur4rec.training.config import StageConfig, TextControl
from ur4rec.training.scoring import ModelScorer
from ur4rec.training.stage_names import Stage

FOLDER = Path("outputs/bench/new_items")
METRIC = "ndcg@10"
CONTROLS = (TextControl.NONE, TextControl.SHUFFLED)
SAMPLES = 10_000
READERS = {"moe_experts": [Expert.ITEM_DESCRIPTION.value]}


@dataclass(frozen=True)
class Task:
    """One training: a fold and a kind of text."""

    fold: int
    cold: tuple[int, ...]
    config: Config
    original: Path
    output: Path

    def __str__(self) -> str:
        return f"fold {self.fold}, {self.config.text_control} text"

    @property
    def file(self) -> Path:
        """Where the ranks go."""
        return self.output / "ranks" / f"{self.config.text_control}_{self.config.seed}_{self.fold}.npz"

    @property
    def sequences(self) -> Path:
        """The fold's histories."""
        return self.output / "folds" / str(self.fold)

    @property
    def embeddings(self) -> Path:
        """The fold's texts."""
        return self.output / "texts" / str(self.fold)


def adopt_item_texts(source: Path, fold: Path, output: Path) -> None:
    """The same vectors of the items, and no user text."""
    manifest = read_artifact(source)
    width = np.load(source / ITEM_DESCRIPTIONS, mmap_mode="r", allow_pickle=False).shape[1]
    none = {
        SENTENCES: np.zeros((0, width), np.float32),
        OFFSETS: np.zeros(1, np.int64),
        SNAPSHOTS: np.zeros((0, 2), np.int64),
    }
    with write_artifact(output, PRODUCER, EncodeConfig.parse(manifest.config), {"sequences": fold}) as writer:
        shutil.copyfile(source / ITEM_DESCRIPTIONS, writer.folder / ITEM_DESCRIPTIONS)
        for name, array in none.items():
            np.save(writer.folder / name, array, allow_pickle=False)
        writer.details |= manifest.details | {SEQUENCES_DIGEST: load_sequences(fold).digest}
        writer.details |= {"snapshots": 0, "sentences": 0}


def run_task(task: Task) -> Path:
    """Trains one system and writes the ranks of the test targets, new items' and the others'."""
    data, original = load_sequences(task.sequences), load_sequences(task.original)
    config = settle(task.config.narrow(StageConfig), data)
    inputs = read_inputs(task.sequences, task.embeddings, "cpu")
    stage = obtain_stages(task.output / "stages", inputs, config, Stage.JOINT_FINETUNE.value)[-1]
    model, seen = load_model(stage.checkpoint), data.histories("test")
    targets = split_targets(original, data, np.array(task.cold))

    def rank(name: str, scorer: Scorer) -> dict[str, np.ndarray]:
        return {f"{name}, {group}": rank_users(scorer, rows, seen, 512) for group, rows in targets.items()}

    scorer = ModelScorer(model, seen)
    ranks = rank("ours", scorer) | rank("cosine", lambda users: scorer.score_parts(users)[:, -1])
    model.fusion.get_buffer("new_item_offset").zero_()
    ranks |= rank("no offset", ModelScorer(model, seen))
    task.file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(task.file, allow_pickle=False, **ranks)
    return task.file


def split_targets(
    original: Sequences, fold: Sequences, cold: Int64[np.ndarray, "C"]
) -> dict[str, Int64[np.ndarray, "T 3"]]:
    """The original test targets of users who have a history in the fold: new items, and the others."""
    targets = original.test[np.isin(original.test[:, USER], fold.train[:, USER])]
    is_new = np.isin(targets[:, ITEM], cold)
    return {"new": targets[is_new], "others": targets[~is_new]}


def list_tasks(original: Path, embeddings: Path, output: Path, base: Config, folds: int) -> Iterator[Task]:
    """Fold by fold, so that a run that is stopped has whole folds."""
    data = load_sequences(original)
    for fold, cold in enumerate(draw_folds(data.num_items, folds)):
        for control in CONTROLS:
            config = Config.parse(base.to_dict() | READERS | {"text_control": control.value})
            task = Task(fold, tuple(cold.tolist()), config, original, output)
            if not (task.sequences / MANIFEST).is_file():
                write_fold(original, task.sequences, cold, base)
            if not (task.embeddings / MANIFEST).is_file():
                adopt_item_texts(embeddings, task.sequences, task.embeddings)
            yield task


def gather(tasks: Sequence[Task], control: TextControl, name: str) -> Float64[np.ndarray, "T"]:
    """The metric of the targets of all folds, one after another."""
    parts = []
    for task in tasks:
        if task.config.text_control is control:
            with np.load(task.file, allow_pickle=False) as arrays:
                parts.append(per_user_metrics(arrays[name])[METRIC])
    return np.concatenate(parts)


def summarize(tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """A row for each system and group of targets; differences are ours minus this, paired over targets."""
    true, shuffled = CONTROLS
    rows = []
    for group in ("new", "others"):
        ours = gather(tasks, true, f"ours, {group}")
        for label, control, name in (
            ("ours", true, "ours"),
            ("without the offset", true, "no offset"),
            ("text cosine alone", true, "cosine"),
            ("shuffled text", shuffled, "ours"),
        ):
            values = gather(tasks, control, f"{name}, {group}")
            row: dict[str, Any] = {"targets": group, "system": label, "count": len(values), METRIC: values.mean()}
            if label != "ours":
                row["ours_minus_this"] = paired_difference(ours, values, SAMPLES).model_dump()
            rows.append(row)
    return rows


def show(rows: list[dict[str, Any]]) -> Table:
    """The table."""
    table = Table(title="new items among all items")
    for head in ("targets", "number", "system", METRIC, "ours minus this"):
        table.add_column(head)
    for row in rows:
        shown = "–"
        if "ours_minus_this" in row:
            difference = row["ours_minus_this"]
            low, high = difference["ci95"]
            shown = f"{difference['value']:+.4f} [{low:+.4f}, {high:+.4f}]"
        table.add_row(row["targets"], str(row["count"]), row["system"], f"{row[METRIC]:.4f}", shown)
    return table


def main(
    sequences: Annotated[Path, typer.Argument(help="Sequences folder.", exists=True)],
    embeddings: Annotated[Path, typer.Argument(help="Text embeddings folder.", exists=True)],
    output: Annotated[Path, typer.Option("--output", "-o")] = FOLDER,
    folds: Annotated[int, typer.Option(min=2)] = 20,
    only_folds: Annotated[int | None, typer.Option(help="Train the first folds only.")] = None,
    jobs: Annotated[int, typer.Option(min=1)] = 2,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Train what is missing and print the table; a run that was stopped goes on."""
    with report_errors():
        base = load_config(config or "auto", split_settings(settings or ()))
        tasks = [task for task in list_tasks(sequences, embeddings, output, base, folds) if _is_used(task, only_folds)]
        missing = [task for task in tasks if not task.file.is_file()]
        for number, (task, outcome) in enumerate(run_all(run_task, missing, jobs), 1):
            failed = f" FAILED: {outcome.error}" if isinstance(outcome, Failure) else ""
            print(f"{number}/{len(missing)} {task}{failed}", flush=True)
        rows = summarize(tasks)
        told = {"dataset": load_sequences(sequences).digest, "seed": base.seed, "folds": folds, "used": only_folds}
        write_text_atomic(output / "new_items.json", json.dumps({**told, "rows": rows}, indent=2))
        PlainConsole(width=140).print(show(rows))


def _is_used(task: Task, only_folds: int | None) -> bool:
    return only_folds is None or task.fold < only_folds


if __name__ == "__main__":
    typer.run(main)
