"""Evaluates a trained checkpoint: its systems beside the baselines, as `results.json` and `report.html`."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol as Interface

import numpy as np

from ur4rec.data.sequences import Histories, Sequences, load_sequences
from ur4rec.evaluation.baselines import Baselines
from ur4rec.evaluation.candidates import CANDIDATES, Candidates, Horizon, write_candidates
from ur4rec.evaluation.caveats import describe_caveats, describe_sample, describe_stages, describe_texts, describe_times
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
from ur4rec.evaluation.report import render_comparison, render_report
from ur4rec.evaluation.results import Dataset, Protocol, Results, SampledCandidates, format_results
from ur4rec.evaluation.systems import TrainedSystems
from ur4rec.memory_limits import naming_settings
from ur4rec.models.config import Part
from ur4rec.ranking.lists import LIST_METRICS, ListMetric
from ur4rec.ranking.metrics import metrics_from_ranks
from ur4rec.ranking.ranks import Scorer
from ur4rec.storage.artifacts import Manifest, peak_memory_mb, read_artifact, write_texts_atomic
from ur4rec.training.checkpoints import check_dataset, load_model, trained_part
from ur4rec.training.stage_names import Stage

TASK = "evaluate"


class EvaluationError(ValueError):
    """A data set without anything to evaluate on."""


class ModelSystems(Interface):
    """The systems that one training left behind; the first one is the evaluated model."""

    @property
    def excludes_seen(self) -> bool:
        """Whether the model is for what is new to a user alone; so are all systems measured then."""
        ...

    def __call__(self, histories: Histories) -> Mapping[str, Scorer]:
        """Systems by name, ready to score from `histories`."""
        ...

    def expert_weights(self, users: np.ndarray | None = None) -> dict[str, float]:
        """Mean router weight of each expert for the histories of the last call, over all users or some."""
        ...

    def memory_stats(self) -> dict[str, int | float]:
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
    comparison: Path | None = None,
) -> Results:
    """Rank the model, SASRec alone where the system has one, and the baselines, and write both files.

    A third one, `comparison`, gets the systems side by side as Markdown.

    Candidates of the sampled protocol go to a folder beside the results unless another is named. Time and memory of
    the `upstream` artifact folders, given in the order they were made, are reported too.

    Raises:
        EvaluationError: There is no test target.
        ArtifactError: An artifact folder is missing or altered.
        CheckpointError: The model was trained on other sequences.
        HistoryError: The checkpoint folder holds no training history.
        ScoreError: A system returns scores that cannot be ranked.
        WriteError: The disk is full, say; both files are as they were.
    """
    check_dataset(checkpoint, sequences)
    systems, folder = _load_systems(checkpoint), candidates or Path(results).parent / CANDIDATES
    outcome, history = measure(sequences, checkpoint, systems, config, upstream, folder)
    texts = {Path(results): format_results(outcome, results), Path(report): render_report(outcome, history)}
    write_texts_atomic(texts | ({Path(comparison): render_comparison(outcome)} if comparison else {}))
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
    """Rank every system on the validation and the test targets, and put together what `results.json` holds.

    Of the checkpoint folder the manifest and the training history are read; `systems` were loaded from it.

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
    folders = dict.fromkeys(Path(folder).resolve() for folder in (sequences, *upstream, checkpoint))
    manifests = [manifest for manifest in map(read_artifact, folders) if manifest.files]  # else no stage of the system
    drawn = _draw(sequences, data, config, candidates)
    baselines = Baselines(data, config, systems.excludes_seen)
    ranks, lists = _rank_all(data, systems, baselines, config, drawn)
    test, differences = estimate_systems(ranks["test"], config.bootstrap_samples)
    origin = trace(manifests, history)
    results = Results(
        dataset=_describe_dataset(data),
        protocol=_describe_protocol(manifests[0], config, drawn, systems.excludes_seen),
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
        lists=estimate_lists(lists, config.bootstrap_samples),
        slices=estimate_slices(data, ranks["test"], config.bootstrap_samples, systems.expert_weights),
        peak_memory_mb=origin.peak_memory_mb | {TASK: peak_memory_mb()},
        notes=[
            *baselines.notes,
            *describe_sample(data, drawn),
            *describe_caveats(data, systems.excludes_seen),
            *describe_stages(history),
            *describe_times(manifests[0]),
            *describe_texts(manifests),
        ],
    )
    return results, history


def _load_systems(checkpoint: Path) -> TrainedSystems:
    """Load what is ready: a pretraining stage's checkpoint has only the part that the stage trains."""
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


def _rank_all(
    data: Sequences, systems: ModelSystems, baselines: Baselines, config: EvaluationConfig, drawn: Candidates | None
) -> tuple[dict[Horizon, Ranks], Mapping[str, Sequence[ListMetric]]]:
    """Rank both horizons; the test comes last, so that `systems` then describes its state at the test.

    Returns:
        Horizon → system → ranks; system → what its lists at the test come to.
    """

    def systems_at(histories: Histories) -> dict[str, Scorer]:
        return {**systems(histories), **baselines(histories)}

    lists: dict[str, list[ListMetric]] = defaultdict(lambda: [metric(data) for metric in LIST_METRICS])
    ranks: dict[Horizon, Ranks] = {"validation": {}}
    given = config.eval_batch_size, drawn, systems.excludes_seen
    if len(data.val):
        ranks["validation"] = rank_systems(data, systems_at, "validation", *given)
    ranks["test"] = rank_systems(data, systems_at, "test", *given, lists.__getitem__)
    return ranks, lists


def _describe_protocol(
    manifest: Manifest, config: EvaluationConfig, drawn: Candidates | None, excludes_seen: bool
) -> Protocol:
    sampled = drawn and SampledCandidates(
        num_candidates=config.num_candidates, seed=config.candidate_seed, sha256=drawn.sha256
    )
    return Protocol(
        split=manifest.config["split"],
        eval_protocol=config.eval_protocol,
        seen_items="excluded" if excludes_seen else "included",
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
