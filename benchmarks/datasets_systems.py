"""The systems of the benchmark of data sets, each as trainings in processes of their own."""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.datasets_inputs import DIGITS, Dataset, item_vectors
from benchmarks.peer_closed import DENSE, FORMS, READS_TEXT
from benchmarks.peer_exchange import Run
from benchmarks.peer_jobs import Job, identify, run_job
from benchmarks.peer_settings import DATASET_PEERS, Setting
from ur4rec.auto.settle import settle
from ur4rec.config import Config
from ur4rec.experiments.stage_cache import CODE
from ur4rec.models.config import Expert, Part
from ur4rec.storage.artifacts import sha256_file
from ur4rec.storage.code_digest import code_digest
from ur4rec.training.config import StageConfig
from ur4rec.training.stage_names import Stage


@dataclass(frozen=True)
class Ours:
    """A system of ours, and what is other than in the configuration."""

    stage: Stage = Stage.END_TO_END
    """The last stage that it trains."""
    part: Part = Part.FUSED
    """Whose score it is."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    without: Expert | None = None


FULL = "ur4rec"
STAGES = {
    "ur4rec-stage1": Ours(Stage.PRETRAIN_SASREC, Part.SASREC),
    "ur4rec-retriever": Ours(Stage.PRETRAIN_RETRIEVER, Part.RETRIEVER),
    "ur4rec-stage3": Ours(Stage.JOINT_FINETUNE),
    FULL: Ours(),
}
NO_TEXT = {"text_control": "absent", "id_bound": 0.0, "retriever_weight": 0.0, "content_weight": 0.0}
"""No scorer reads texts, and neither does what the gate of the fusion reads of the retriever."""
ABLATIONS = {
    "ur4rec-no-text": Ours(settings=NO_TEXT),
    "ur4rec-shuffled-text": Ours(settings={"text_control": "shuffled"}),
    "ur4rec-no-retriever": Ours(settings={"retriever_weight": 0.0}),
    "ur4rec-no-content": Ours(settings={"content_weight": 0.0}),
    "ur4rec-no-cooccurrence": Ours(settings={"cooccurrence_neighbors": 0}),
    "ur4rec-no-memory": Ours(settings={"max_memory_size": 0}),
    **{f"ur4rec-no-{expert.replace('_', '-')}": Ours(without=expert) for expert in Expert},
}
"""What each part brings is what `FULL` is ahead of these; they are trained where they are named."""
OURS = STAGES | ABLATIONS
PEERS = {peer.name: peer for peer in DATASET_PEERS}
SYSTEMS = (*FORMS, *PEERS, *STAGES)
"""Those that are trained where none is named."""
CLOSED_CODE = ("ur4rec.evaluation.baselines", "ur4rec.training.cooccurrence", "ur4rec.models.text_table")
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What shapes the trainings of every data set."""

    output: Path
    config: Config
    seeds: Sequence[int]
    peers_python: Path = Path(sys.executable)
    threads: int = 1
    limit_s: float = math.inf
    settings: Sequence[str] = ()
    """Of the peers; all by default."""
    quick: bool = False


@dataclass(frozen=True)
class Trained:
    """A training and what came of it."""

    job: Job
    seed: int
    run: Run


@dataclass
class Outcome:
    """A system on a data set."""

    dataset: Dataset
    system: str
    trained: list[Trained] = field(default_factory=list)
    """One a seed, of the setting with the best validation score of the first seed."""
    tried: list[Trained] = field(default_factory=list)
    """The first seed with every setting."""
    error: str = ""
    """Why there is no training."""


def reads_text(system: str) -> bool:
    """Tell whether a system needs text embeddings; the cache of our stages is keyed by them, so all of ours do."""
    return system in OURS or (system in FORMS and issubclass(FORMS[system], READS_TEXT))


def find_obstacle(system: str, dataset: Dataset, options: Options) -> str:
    """Return why a system is left out; empty where it is not."""
    limit = options.config.ease_max_items
    if system in OURS and (expert := OURS[system].without):
        experts = _settle(dataset, options).moe_experts
        return "" if expert in experts and len(experts) > 1 else f"the experts are {', '.join(experts)}"
    if system in FORMS and issubclass(FORMS[system], DENSE) and dataset.data.num_items > limit:
        return f"{dataset.data.num_items:,} items are more than ease_max_items ({limit:,})"
    return ""


def list_jobs(system: str, dataset: Dataset, options: Options, seed: int) -> list[Job]:
    """Return the trainings of a system with one seed: one, or one with every setting that suits the data."""
    if system in FORMS:
        return [_form_job(system, dataset, options)]
    return (
        [_our_job(system, dataset, options, seed)] if system in OURS else [*_peer_jobs(system, dataset, options, seed)]
    )


def _form_job(system: str, dataset: Dataset, options: Options) -> Job:
    module = Path(__file__).with_name("peer_closed.py")
    values = {"form": system, "code": [sha256_file(module), _digest_code(*CLOSED_CODE)]}
    inputs = _limits(options)
    if issubclass(FORMS[system], READS_TEXT):
        values["texts_digest"] = dataset.embeddings_digest
        inputs["texts"] = item_vectors(dataset)
    setting = Setting("chosen", "each parameter tried on validation, in turn")
    return Job(system, setting, "benchmarks.peer_closed", Path(sys.executable), values, inputs)


def _our_job(system: str, dataset: Dataset, options: Options, seed: int) -> Job:
    ours, config = OURS[system], _settle(dataset, options)
    settings = config.to_dict() | dict(ours.settings) | {"seed": seed}
    settings["moe_experts"] = [expert for expert in config.moe_experts if expert is not ours.without]
    values = {"stage": ours.stage, "part": ours.part, "settings": settings, "code": _digest_code(CODE)}
    values["embeddings_digest"] = dataset.embeddings_digest
    inputs = {"sequences": dataset.sequences, "embeddings": dataset.embeddings, "cache": options.output / "stages"}
    paths = {name: str(Path(path or "").absolute()) for name, path in inputs.items()}
    return Job(system, Setting("configured", "ur4rec"), "benchmarks.peer_stages", Path(sys.executable), values, paths)


def _settle(dataset: Dataset, options: Options) -> StageConfig:
    return settle(options.config.narrow(StageConfig), dataset.data)


def _peer_jobs(system: str, dataset: Dataset, options: Options, seed: int) -> Iterator[Job]:
    peer = PEERS[system]
    for setting in peer.settings:
        low, high = setting.mean_lengths
        if low <= dataset.mean_length < high and (not options.settings or setting.name in options.settings):
            values: dict[str, Any] = (
                peer.shared | setting.values | {"seed": seed} | (peer.quick if options.quick else {})
            )
            yield Job(system, setting, peer.module, options.peers_python.absolute(), values, _limits(options))


_digest_code = cache(code_digest)


def _limits(options: Options) -> dict[str, str]:
    return {} if math.isinf(options.limit_s) else {"limit_s": str(options.limit_s)}


def run_system(
    dataset: Dataset, system: str, options: Options, done: Callable[[Job, int], None], tell: Tell
) -> Outcome:
    """Train a system with every seed; a peer's setting is chosen with the first one, on validation.

    Args:
        dataset: Its split is what all are given.
        system: One of `SYSTEMS` or `ABLATIONS`.
        options: Say what is trained, and where the runs are kept.
        done: Called after every training.
        tell: Gets lines of progress.

    Raises:
        BenchmarkError: A training failed.
    """
    outcome = Outcome(dataset, system, error=find_obstacle(system, dataset, options))
    if outcome.error:
        return outcome
    seeds = options.seeds[:1] if system in FORMS else options.seeds
    for number, seed in enumerate(seeds):
        jobs = list_jobs(system, dataset, options, seed)
        if number:
            jobs = [job for job in jobs if job.setting == outcome.trained[0].job.setting]
        runs = []
        for job in jobs:
            runs.append(Trained(job, seed, _train(job, seed, dataset, options, tell)))
            done(job, seed)
        if not runs:
            outcome.error = "no setting of it suits these data"
            break
        outcome.tried = outcome.tried or runs
        outcome.trained.append(max(runs, key=lambda one: one.run.best.ndcg))
    return outcome


def count_trainings(dataset: Dataset, system: str, options: Options) -> int:
    """Return how often `run_system` calls `done`."""
    if find_obstacle(system, dataset, options):
        return 0
    settings = len(list_jobs(system, dataset, options, options.seeds[0]))
    return settings + (len(options.seeds) - 1) * (system not in FORMS and settings > 0)


def _train(job: Job, seed: int, dataset: Dataset, options: Options, tell: Tell) -> Run:
    digest = hashlib.sha256(identify(job, dataset.split, options.threads).encode()).hexdigest()[:DIGITS]
    folder = options.output / "runs" / dataset.key / f"{job.name}-{seed}-{digest}"
    result = folder / "run.npz"
    if result.is_file():
        before = Run.load(result)
        if before.cut_short and before.curve[-1].wall_s < options.limit_s:
            result.unlink()
    return run_job(job, dataset.split, folder, options.threads, resume=True, tell=tell)
