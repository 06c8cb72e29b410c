"""What the router is worth where users need different experts: `python -m benchmarks.router -o outputs/bench/router`.

The variants of `benchmarks/router.yaml` (router, plain average, each expert alone; the retriever's own score after its
stage) on generated users of two audiences (`benchmarks/two_audiences.py`), over all of them and audience by audience,
and the router's weights for each. A run that was stopped goes on.

T targets.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from jaxtyping import Bool

from benchmarks.generated_data import prepare
from benchmarks.seed_by_seed import train_seed_by_seed
from benchmarks.two_audiences import AUDIENCES, Settings, generate
from ur4rec.columns import USER
from ur4rec.commands.console import report_errors, show_table
from ur4rec.commands.experiments import end_with, show_tables
from ur4rec.config import Config, load_config
from ur4rec.data.sequences import Sequences, load_sequences
from ur4rec.experiments.ablate import gather_units, list_units, tabulate
from ur4rec.experiments.ablation_table import Row, cells, columns, compare, write_ablation
from ur4rec.experiments.stage_cache import obtain_stages, read_inputs
from ur4rec.experiments.units import Unit
from ur4rec.experiments.variants import Ablation, load_variants
from ur4rec.ranking.ranks import rank_users
from ur4rec.storage.artifacts import write_text_atomic
from ur4rec.training.checkpoints import load_model
from ur4rec.training.config import StageConfig
from ur4rec.training.scoring import ModelScorer

VARIANTS = Path(__file__).with_name("router.yaml")
REFERENCE = "router"
TRAINING: dict[str, Any] = {
    "max_seq_len": 20,
    "max_memory_size": 0,
    "batch_size": 64,
    "id_dropout": 0.3,
}
"""A window that holds every history, no memory, and items whose IDs are often hidden, since most are rare."""


def find_audience(data: Sequences, targets: np.ndarray, audience: str) -> Bool[np.ndarray, "T"]:
    """Which targets are of users of an audience."""
    belongs = np.array([user.startswith(f"{audience}-") for user in data.user_ids])
    found: np.ndarray = belongs[targets[:, USER]]
    return found


def weigh_experts(units: list[Unit], data: Sequences) -> dict[str, dict[str, float]]:
    """Audience → mean router weight of each expert at the test, over the seeds."""
    history = data.histories("test")
    found: dict[str, list[dict[str, float]]] = {audience: [] for audience in AUDIENCES}
    for unit in units:
        trained = obtain_stages(unit.cache, unit.inputs, unit.config.narrow(StageConfig), unit.variant.stage)[-1]
        scorer = ModelScorer(load_model(trained.checkpoint), history, unit.variant.part.value)
        rank_users(scorer, data.test, history, unit.config.eval_batch_size)
        for audience, weights in found.items():
            weights.append(scorer.expert_weights(data.test[find_audience(data, data.test, audience), USER]))
    return {
        audience: {name: float(np.mean([each[name] for each in weights])) for name in weights[0]}
        for audience, weights in found.items()
    }


def main(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")] = Path("outputs/bench/router"),
    seeds: Annotated[int, typer.Option(min=1, help="The seeds 1 to this.")] = 5,
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at once.")] = 2,
    users: Annotated[int, typer.Option(min=20)] = Settings().num_users,
    epochs: Annotated[int, typer.Option(min=1, help="At most, in each stage.")] = Config().epochs_per_stage,
) -> None:
    """Train what is missing and print the tables; a run that was stopped goes on."""
    with report_errors():
        settings = Settings(num_users=users)
        sequences, embeddings = prepare(output / "two_audiences", partial(generate, settings), {})
        base = load_config(None, TRAINING | {"epochs_per_stage": epochs})
        data, inputs = load_sequences(sequences), read_inputs(sequences, embeddings, "cpu")
        ablation = Ablation(load_variants(VARIANTS), range(1, seeds + 1), reference=REFERENCE)
        units = list_units(output, base, ablation, lambda _: inputs)
        finished, failures = train_seed_by_seed(units, ablation, jobs)
        measured = gather_units(finished, ablation)
        table = tabulate(data, measured, base, ablation, failures, [])
        write_ablation(table, output)
        show_tables(table, output)
        groups: dict[str, list[Row]] = {}
        for audience in AUDIENCES:
            masks = [find_audience(data, targets, audience) for targets in (data.val, data.test)]
            limited = {name: system.limited_to(*masks) for name, system in measured.items()}
            groups[audience] = compare(limited, REFERENCE, ablation.metric, base.bootstrap_samples)
            show_table(f"audience: {audience}", columns(table), [cells(row) for row in groups[audience]])
        weights = weigh_experts([unit for unit in finished if unit.name == REFERENCE], data)
        show_table(
            "router weights",
            ("audience", *weights[AUDIENCES[0]]),
            [(audience, *of.values()) for audience, of in weights.items()],
        )
        content = {
            "dataset": data.digest,
            "settings": asdict(settings),
            "groups": {audience: [row.model_dump() for row in rows] for audience, rows in groups.items()},
            "expert_weights": weights,
        }
        write_text_atomic(output / "audiences.json", json.dumps(content, indent=2) + "\n")
        end_with(failures, f"logs: {output / 'units'}")


if __name__ == "__main__":
    typer.run(main)
