"""Measures a model's systems beside the baselines, and puts together what `results.json` holds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol as Interface

import numpy as np

from ur4rec.data.sequences import Histories, Sequences, load_sequences
from ur4rec.evaluation.candidates import Candidates, Horizon, write_candidates
from ur4rec.evaluation.caveats import describe_caveats, describe_sample, describe_times
from ur4rec.evaluation.comparison import (
    Baselines,
    estimate_slices,
    estimate_systems,
    later_interactions_share,
    rank_systems,
)
from ur4rec.evaluation.config import CandidateConfig, EvaluationConfig
from ur4rec.evaluation.history import HISTORY, TrainingHistory, read_history
from ur4rec.evaluation.provenance import describe_versions, trace
from ur4rec.evaluation.results import Dataset, Protocol, Results, SampledCandidates
from ur4rec.memory_limits import naming_settings
from ur4rec.ranking.metrics import metrics_from_ranks
from ur4rec.ranking.ranks import Scorer
from ur4rec.storage.artifacts import Manifest, peak_memory_mb, read_artifact

TASK = "evaluate"


class EvaluationError(ValueError):
    """A data set without anything to evaluate on."""


class ModelSystems(Interface):
    """The systems that one training left behind; the first one is the evaluated model."""

    def __call__(self, histories: Histories) -> Mapping[str, Scorer]:
        """Systems by name, ready to score from `histories`."""
        ...

    def expert_weights(self, users: np.ndarray | None = None) -> dict[str, float]:
        """Mean router weight of each expert for the histories of the last call, over all users or some."""
        ...

    def memory_stats(self) -> dict[str, float]:
        """Statistics of the user memories, for the histories of the last call."""
        ...


@naming_settings("eval_batch_size")
def measure(
    sequences: Path,
    checkpoint: Path,
    systems: ModelSystems,
    config: EvaluationConfig,
    upstream: Sequence[Path] = (),
    candidates: Path | None = None,
) -> tuple[Results, TrainingHistory]:
    """Ranks every system on the validation and the test targets.

    Args:
        sequences: Sequences artifact folder.
        checkpoint: Checkpoint artifact folder; its manifest and training history are read here.
        systems: The trained systems, loaded from that folder.
        config: Protocol, baselines and sizes.
        upstream: Further artifact folders, in the order they were made, whose time and memory are reported.
        candidates: Where the sampled protocol writes what it has drawn.

    Raises:
        EvaluationError: There is no test target, or the sampled protocol has nowhere to write.
        ArtifactError: An artifact folder is missing or altered.
        ScoreError: A system returns scores that cannot be ranked.
    """
    started = time.perf_counter()
    data = load_sequences(sequences)
    if len(data.test) == 0:
        raise EvaluationError(f"{sequences}: holds no test target; loosen the filters or choose another split")
    history = read_history(Path(checkpoint) / HISTORY)
    manifests = _read_manifests([sequences, *upstream, checkpoint])
    drawn = _draw(sequences, data, config, candidates)
    ranks, notes = _rank_all(data, systems, config, drawn)
    test, differences = estimate_systems(ranks["test"], config.bootstrap_samples)
    slices = estimate_slices(data, ranks["test"], config.bootstrap_samples, systems.expert_weights)
    origin = trace(manifests, history)
    results = Results(
        dataset=_describe_dataset(data),
        protocol=_describe_protocol(manifests[0], config, drawn),
        config=origin.config | config.to_dict(),
        seeds=origin.seeds,
        test=test,
        validation=history.validation,
        memory=systems.memory_stats(),
        expert_weights=systems.expert_weights(),
        timings_s=origin.timings_s | {TASK: round(time.perf_counter() - started, 3)},
        versions=describe_versions(),
        validation_systems={name: metrics_from_ranks(rank) for name, rank in ranks["validation"].items()},
        differences=differences,
        slices=slices,
        peak_memory_mb=origin.peak_memory_mb | {TASK: peak_memory_mb()},
        notes=[*notes, *describe_sample(data, drawn), *describe_caveats(data), *describe_times(manifests[0])],
    )
    return results, history


def _draw(sequences: Path, data: Sequences, config: EvaluationConfig, folder: Path | None) -> Candidates | None:
    if config.eval_protocol == "full":
        return None
    if folder is None:
        raise EvaluationError("eval_protocol: sampled needs a folder for its candidates; name one")
    return write_candidates(folder, sequences, data, config.narrow(CandidateConfig))


def _rank_all(
    data: Sequences, systems: ModelSystems, config: EvaluationConfig, drawn: Candidates | None
) -> tuple[dict[Horizon, dict[str, np.ndarray]], list[str]]:
    """Ranks by horizon; the test comes last, so that `systems` then describes its state at the test."""
    baselines = Baselines(data, config)

    def systems_at(histories: Histories) -> dict[str, Scorer]:
        return {**systems(histories), **baselines(histories)}

    ranks: dict[Horizon, dict[str, np.ndarray]] = {"validation": {}}
    if len(data.val):
        ranks["validation"] = rank_systems(data, systems_at, "validation", config.eval_batch_size, drawn)
    ranks["test"] = rank_systems(data, systems_at, "test", config.eval_batch_size, drawn)
    return ranks, baselines.notes


def _read_manifests(folders: Sequence[Path]) -> list[Manifest]:
    return [read_artifact(folder) for folder in dict.fromkeys(Path(folder).resolve() for folder in folders)]


def _describe_protocol(manifest: Manifest, config: EvaluationConfig, drawn: Candidates | None) -> Protocol:
    sampled = drawn and SampledCandidates(
        num_candidates=config.num_candidates, seed=config.candidate_seed, sha256=drawn.sha256
    )
    return Protocol(
        split=manifest.config["split"],
        eval_protocol=config.eval_protocol,
        drop_last=manifest.config.get("drop_last", 0),
        candidates=sampled,
    )


def _describe_dataset(data: Sequences) -> Dataset:
    return Dataset(
        name=data.name,
        digest=data.digest,
        num_users=data.num_users,
        num_items=data.num_items,
        num_interactions=data.num_interactions,
        later_interactions_share=later_interactions_share(data),
    )
