"""Evaluates a trained checkpoint: its systems beside the baselines, as `results.json` and `report.html`."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol as Interface

import numpy as np

from ur4rec.data.sequences import Histories, Sequences, load_sequences
from ur4rec.evaluation.baselines import Baselines
from ur4rec.evaluation.candidates import CANDIDATES, Candidates, write_candidates
from ur4rec.evaluation.caveats import describe_caveats, describe_sample, describe_times
from ur4rec.evaluation.comparison import (
    Ranks,
    estimate_lists,
    estimate_slices,
    estimate_systems,
    later_interactions_share,
    rank_systems,
)
from ur4rec.evaluation.config import CandidateConfig, EvaluationConfig
from ur4rec.evaluation.history import HISTORY, TrainingHistory, read_history
from ur4rec.evaluation.provenance import describe_versions, trace
from ur4rec.evaluation.report import render_report
from ur4rec.evaluation.results import Dataset, Protocol, Results, SampledCandidates, format_results
from ur4rec.evaluation.systems import TrainedSystems
from ur4rec.memory_limits import naming_settings
from ur4rec.models.config import Part
from ur4rec.ranking.lists import LIST_METRICS, ListMetric
from ur4rec.ranking.metrics import metrics_from_ranks
from ur4rec.ranking.ranks import Scorer
from ur4rec.storage.artifacts import Manifest, peak_memory_mb, read_artifact, write_texts_atomic
from ur4rec.training.checkpoints import check_dataset, load_model, trained_part
from ur4rec.training.config import Stage

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


def evaluate(
    sequences: Path,
    checkpoint: Path,
    results: Path,
    report: Path,
    config: EvaluationConfig,
    upstream: Sequence[Path] = (),
    candidates: Path | None = None,
) -> Results:
    """Ranks the model, SASRec alone where the system has one, and the baselines, and writes what was found.

    Args:
        sequences: Sequences artifact folder.
        checkpoint: Checkpoint artifact folder of the last stage.
        results: Where `results.json` goes.
        report: Where `report.html` goes.
        config: Protocol, baselines and sizes.
        upstream: Further artifact folders, in the order they were made, whose time and memory are reported.
        candidates: Folder of the sampled protocol; None: `candidates` beside the results.

    Returns:
        What `results.json` holds.

    Raises:
        EvaluationError: There is no test target.
        ArtifactError: An artifact folder is missing or altered.
        CheckpointError: The model was trained on other sequences.
        HistoryError: The checkpoint folder holds no training history.
        ScoreError: A system returns scores that cannot be ranked.
        WriteError: The disk is full, say; both files are as they were.
    """
    candidates = candidates or Path(results).parent / CANDIDATES
    check_dataset(checkpoint, sequences)
    systems = _load_systems(checkpoint)
    outcome, history = measure(sequences, checkpoint, systems, config, upstream, candidates)
    texts = {Path(results): format_results(outcome, results), Path(report): render_report(outcome, history)}
    write_texts_atomic(texts)
    return outcome


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
    baselines = Baselines(data, config)
    ranked = _rank_all(data, systems, baselines, config, drawn)
    test, differences = estimate_systems(ranked.test, config.bootstrap_samples)
    slices = estimate_slices(data, ranked.test, config.bootstrap_samples, systems.expert_weights)
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
        validation_systems={name: metrics_from_ranks(rank) for name, rank in ranked.validation.items()},
        differences=differences,
        lists=estimate_lists(ranked.lists, config.bootstrap_samples),
        slices=slices,
        peak_memory_mb=origin.peak_memory_mb | {TASK: peak_memory_mb()},
        notes=[
            *baselines.notes,
            *describe_sample(data, drawn),
            *describe_caveats(data),
            *describe_times(manifests[0]),
        ],
    )
    return results, history


def _load_systems(checkpoint: Path) -> TrainedSystems:
    """Of a pretraining stage's checkpoint the part that it trains: the whole is not ready before the stages after."""
    model = load_model(checkpoint)
    part = trained_part(checkpoint, model.config)
    name = model.config.system.value if part is model.config.whole else part.value
    has_first = model.sasrec is not None and part is not Part.SASREC
    sasrec = load_model(checkpoint, stage=Stage.PRETRAIN_SASREC) if has_first else None
    return TrainedSystems(model, sasrec, name, part)


def _draw(sequences: Path, data: Sequences, config: EvaluationConfig, folder: Path | None) -> Candidates | None:
    if config.eval_protocol == "full":
        return None
    if folder is None:
        raise EvaluationError("eval_protocol: sampled needs a folder for its candidates; name one")
    return write_candidates(folder, sequences, data, config.narrow(CandidateConfig))


@dataclass(frozen=True)
class _Ranked:
    validation: Ranks
    test: Ranks
    lists: Mapping[str, Sequence[ListMetric]]
    """System → what its lists at the test come to."""


def _rank_all(
    data: Sequences, systems: ModelSystems, baselines: Baselines, config: EvaluationConfig, drawn: Candidates | None
) -> _Ranked:
    """Rank both horizons; the test comes last, so that `systems` then describes its state at the test."""

    def systems_at(histories: Histories) -> dict[str, Scorer]:
        return {**systems(histories), **baselines(histories)}

    lists: dict[str, list[ListMetric]] = defaultdict(lambda: [metric(data) for metric in LIST_METRICS])
    batch_size = config.eval_batch_size
    validation = rank_systems(data, systems_at, "validation", batch_size, drawn) if len(data.val) else {}
    test = rank_systems(data, systems_at, "test", batch_size, drawn, lists.__getitem__)
    return _Ranked(validation, test, lists)


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
