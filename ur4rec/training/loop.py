"""Trains one stage: epochs, weight averaging, early stopping, the best weights kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from ur4rec.config_section import ConfigSection
from ur4rec.data.sequences import Histories
from ur4rec.evaluation.metrics import metrics_from_ranks
from ur4rec.evaluation.ranking import rank_users
from ur4rec.models.cooccurrence import CooccurrenceConfig, NeighborTables, to_logits
from ur4rec.models.ur4rec_v2_moe import Encoded, Items, Part, UR4RecV2MoE, Window
from ur4rec.models.user_memory import MemoryState
from ur4rec.training.calibration import fit_log_temperature
from ur4rec.training.cooccurrence import fit_fold_tables, user_folds
from ur4rec.training.losses import catalogue_cross_entropy, load_balance, sampled_cross_entropy, scored_cross_entropy
from ur4rec.training.scoring import ModelScorer
from ur4rec.training.windows import Epoch, batches, sample_epoch

SELECTION_METRIC = "ndcg@10"
SCORES_AT_ONCE = 1 << 25
"""Scores of a validation batch."""


class TrainingConfig(ConfigSection):
    """How every stage is trained."""

    batch_size: int = Field(128, ge=1)
    epochs_per_stage: int = Field(60, ge=1)
    patience: int = Field(12, ge=1)
    """Validations without a better score before a stage stops."""
    sasrec_lr: float = Field(4e-3, gt=0)
    retriever_lr: float = Field(4e-3, gt=0)
    finetune_lr_scale: float = Field(0.1, gt=0)
    """Of both learning rates, in the last two stages."""
    weight_decay: float = Field(0.01, ge=0)
    warmup_share: float = Field(0.05, ge=0, lt=1)
    gradient_clip: float = Field(1.0, gt=0)
    ema_decay: float = Field(0.98, ge=0, lt=1)
    """Of the averaged weights that are evaluated and kept; 0 keeps the last ones."""
    random_window_share: float = Field(0.5, ge=0, le=1)
    shuffle_ties: bool = True
    alignment_weight: float = Field(0.0, ge=0)
    """Of a second loss of the retriever, in which every item is its text alone: it aligns what a user wants with what
    the texts say, so that an item without interactions can be found."""
    load_balance_weight: float = Field(0.0, ge=0)
    """Of a loss that grows when the router prefers some experts to others."""
    num_negatives: int = Field(0, ge=0)
    """0: softmax over the whole catalogue at every position; otherwise over this many shared negatives."""
    adaptive_switch_threshold: float = Field(0.01, ge=0)
    adaptive_min_steps: int = Field(20, ge=1)
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = 42


@dataclass
class Alternation:
    """Which module trains in joint fine-tuning: it changes when the loss stops improving.

    >>> alternation = Alternation(("a", "b"), threshold=0.1, min_steps=2)
    >>> [alternation.observe(loss) for loss in (8.0, 6.0, 5.0, 4.0, 4.4, 4.4)]
    ['a', 'a', 'a', 'a', 'a', 'b']
    """

    modules: tuple[str, ...]
    threshold: float
    min_steps: int
    active: int = 0
    previous: float = math.inf
    losses: list[float] = field(default_factory=list)

    def observe(self, loss: float) -> str:
        """Takes the loss of a step; returns the module that trains next."""
        self.losses.append(loss)
        if len(self.losses) == self.min_steps:
            mean = sum(self.losses) / len(self.losses)
            stalled = not math.isinf(self.previous) and (self.previous - mean) / self.previous < self.threshold
            self.previous, self.losses = (math.inf, []) if stalled else (mean, [])
            self.active = (self.active + stalled) % len(self.modules)
        return self.modules[self.active]


@dataclass(frozen=True)
class StagePlan:
    """What a stage trains and what it is judged by."""

    name: str
    part: Part
    trainable: tuple[str, ...]
    """Prefixes of parameter names."""
    alternate: bool = False
    finetune: bool = False
    calibrate: bool = False
    """Whether the temperature of the co-occurrence scorer is fitted first."""


@dataclass
class StageRecord:
    """What happened in a stage; the entries of `history.json`."""

    stage: str
    epochs: int = 0
    best_epoch: int = 0
    seconds: float = 0.0
    validation: dict[str, float] = field(default_factory=dict)
    series: list[dict[str, float]] = field(default_factory=list)


class Trainer:
    """Trains one stage of a model in place; the best averaged weights are left in it.

    Args:
        model: Holds the weights the stage begins with.
        histories: Training prefixes.
        targets: Validation rows `user, item, timestamp_s`, `[V, 3]`.
        plan: What to train.
        config: How to train.
    """

    def __init__(
        self, model: UR4RecV2MoE, histories: Histories, targets: np.ndarray, plan: StagePlan, config: TrainingConfig
    ) -> None:
        self.model, self.histories, self.targets, self.plan, self.config = model, histories, targets, plan, config
        self.device = model.device
        self.generator = np.random.default_rng(config.seed)
        self.trainable = {name: value for name, value in model.named_parameters() if name.startswith(plan.trainable)}
        for name, value in model.named_parameters():
            value.requires_grad_(name in self.trainable)
        self.average = deepcopy(model)
        self.averaged = dict(self.average.named_parameters())
        steps = config.epochs_per_stage * math.ceil((histories.lengths >= 2).sum() / config.batch_size)
        self.optimizer = torch.optim.AdamW(self._groups(), weight_decay=config.weight_decay)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, _warmup_cosine(steps, config.warmup_share))
        self.alternation = Alternation(
            ("sasrec.", "retriever."), config.adaptive_switch_threshold, config.adaptive_min_steps
        )
        self.step = 0
        self.tables = self._fold_tables()
        if plan.calibrate and self.tables is not None:
            self._calibrate(self.tables)

    def run(self, on_epoch: Callable[[dict[str, float]], None]) -> StageRecord:
        """Trains until the epochs or the patience end.

        Args:
            on_epoch: Called with the losses and metrics of every epoch; epoch 0 is the weights it began with.
        """
        record = StageRecord(self.plan.name)
        best: dict[str, Tensor] = {}
        for epoch in range(self.config.epochs_per_stage + 1):
            entry = self._train_epoch() if epoch else {}
            metrics = self.validate()
            if not best or metrics[SELECTION_METRIC] > record.validation[SELECTION_METRIC]:
                record.best_epoch, record.validation = epoch, metrics
                best = {name: value.detach().clone() for name, value in self.averaged.items()}
            record.epochs = epoch
            record.series.append({"epoch": epoch, "step": self.step} | entry | metrics)
            on_epoch(record.series[-1])
            if epoch - record.best_epoch >= self.config.patience:
                break
        with torch.no_grad():
            for name, value in self.model.named_parameters():
                value.copy_(best[name])
        return record

    def validate(self) -> dict[str, float]:
        """Metrics of the averaged weights over the validation targets, whole catalogue, seen items excluded."""
        scorer = ModelScorer(self.average, self.histories, self.plan.part.value)
        batch_size = max(1, SCORES_AT_ONCE // self.model.num_items)
        return metrics_from_ranks(rank_users(scorer, self.targets, self.histories, batch_size))

    def _train_epoch(self) -> dict[str, float]:
        self.model.train()
        config = self.config
        epoch = sample_epoch(
            self.histories,
            self.model.config.max_seq_len,
            self.generator,
            config.random_window_share,
            config.shuffle_ties,
            self.device,
        )
        states = None
        if self.plan.part is not Part.SASREC:
            states = self.model.retriever.replay(epoch.items, epoch.timestamps, epoch.offsets, epoch.starts)
        losses = [self._train_step(epoch, rows, states) for rows in batches(epoch, config.batch_size, self.generator)]
        entry = {"loss": float(np.mean(losses)), "lr": float(self.schedule.get_last_lr()[0])}
        return entry | ({"alternation": float(self.alternation.active)} if self.plan.alternate else {})

    def _train_step(self, epoch: Epoch, rows: Tensor, states: MemoryState | None) -> float:
        window, targets = epoch.window(rows)
        state = None if states is None else states.map(lambda tensor: tensor[rows])
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            loss = self._loss(window, targets, state)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._active_parameters(), self.config.gradient_clip)
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        self._update_average()
        value = loss.item()
        if self.plan.alternate:
            self._switch_to(self.alternation.observe(value))
        return value

    def _loss(self, window: Window, targets: Int[Tensor, "B L"], state: MemoryState | None) -> Tensor:
        part = self.plan.part
        if self.config.num_negatives:
            return self._sampled_loss(window, targets, state)
        items = self.model.items(part, drop_ids=True)
        encoded = self.model.encode(window, state, part, items)
        users, valid = self.model.user_vectors(encoded, part), targets > 0
        extra = self._balance_loss(encoded, valid)
        if self._aligns(items):
            given = self.model.user_vectors(encoded, Part.RETRIEVER)[valid], items.described(), targets[valid]
            extra = extra + self.config.alignment_weight * catalogue_cross_entropy(*given)
        if self.tables is None:
            return extra + catalogue_cross_entropy(users[valid], items.vectors(), targets[valid])
        raw_scores = self._cooccurrence(window, None)
        return extra + scored_cross_entropy(users, items.vectors(), self._factors(encoded), targets, raw_scores)

    def _aligns(self, items: Items) -> bool:
        has_text = items.retriever is not None and items.retriever.description is not None
        return has_text and self.config.alignment_weight > 0

    def _balance_loss(self, encoded: Encoded, valid: Bool[Tensor, "B L"]) -> Tensor:
        if encoded.expert_weights is None or not self.config.load_balance_weight:
            return torch.zeros((), device=self.device)
        return self.config.load_balance_weight * load_balance(encoded.expert_weights, valid)

    def _sampled_loss(self, window: Window, targets: Int[Tensor, "B L"], state: MemoryState | None) -> Tensor:
        """The catalogue of a step is what the step names: inputs, targets and negatives."""
        part, size = self.plan.part, self.model.num_items
        drawn = torch.from_numpy(self.generator.integers(1, size + 1, self.config.num_negatives)).to(self.device)
        zero = drawn.new_zeros(1)
        named = torch.cat([zero, window.items.flatten(), targets.flatten(), drawn])
        rows, local = torch.unique(named, return_inverse=True)
        item_rows, target_rows, negatives = local[1:].split([window.items.numel(), targets.numel(), len(drawn)])
        items = self.model.items(part, rows, drop_ids=True)
        encoded = self.model.encode(replace(window, items=item_rows.view_as(targets)), state, part, items)
        users, vectors, valid = self.model.user_vectors(encoded, part), items.vectors(), targets > 0
        positives, given = target_rows.view_as(targets)[valid], None
        extra = self._balance_loss(encoded, valid)
        if self._aligns(items):
            aligned = self.model.user_vectors(encoded, Part.RETRIEVER)[valid], items.described(), positives, negatives
            extra = extra + self.config.alignment_weight * sampled_cross_entropy(*aligned, size)
        if self.tables is not None:
            columns = drawn.new_zeros(size + 1).scatter_(0, rows, torch.arange(len(rows), device=self.device))
            logits = torch.stack([to_logits(raw) for raw in self._cooccurrence(window, columns)], dim=1)
            given = logits[valid] * self._factors(encoded)[valid][:, None]
        return extra + sampled_cross_entropy(users[valid], vectors, positives, negatives, size, given)

    def _cooccurrence(self, window: Window, columns: Tensor | None) -> Iterator[Tensor]:
        assert self.model.cooccurrence is not None
        return self.model.cooccurrence.scan(window.items, self.tables, user_folds(window.user_ids), columns)

    def _factors(self, encoded: Encoded) -> Float[Tensor, "B L"]:
        assert encoded.fusion_weights is not None
        return self.model.fusion.calibrate_cooccurrence(encoded.fusion_weights)

    def _fold_tables(self) -> NeighborTables | None:
        if self.plan.part is not Part.FUSED or self.model.cooccurrence is None:
            return None
        config = self.model.config.narrow(CooccurrenceConfig)
        return fit_fold_tables(self.histories, self.model.num_items, config, self.device)

    def _calibrate(self, tables: NeighborTables) -> None:
        assert self.model.cooccurrence is not None
        epoch = sample_epoch(self.histories, self.model.config.max_seq_len, self.generator, 0, False, self.device)
        temperature = fit_log_temperature(self.model.cooccurrence, tables, epoch)
        for model in (self.model, self.average):
            model.fusion.get_buffer("cooccurrence_log_temperature").copy_(temperature)

    def _switch_to(self, module: str) -> None:
        for name, value in self.trainable.items():
            value.requires_grad_(name.startswith(module))

    def _active_parameters(self) -> Iterator[nn.Parameter]:
        return (value for value in self.trainable.values() if value.grad is not None)

    @torch.no_grad()
    def _update_average(self) -> None:
        # The first steps average over what there is, so that a short stage is not held at its start.
        decay = min(self.config.ema_decay, self.step / (self.step + 9))
        for name, value in self.trainable.items():
            self.averaged[name].lerp_(value, 1 - decay)

    def _groups(self) -> Iterable[dict[str, object]]:
        scale = self.config.finetune_lr_scale if self.plan.finetune else 1.0
        rates = {
            "sasrec.": self.config.sasrec_lr,
            "retriever.": self.config.retriever_lr,
            "fusion.": self.config.sasrec_lr,
        }
        for prefix, rate in rates.items():
            parameters = [value for name, value in self.trainable.items() if name.startswith(prefix)]
            if parameters:
                yield {"params": parameters, "lr": rate * scale}


def _warmup_cosine(steps: int, warmup_share: float) -> Callable[[int], float]:
    warmup = max(1, round(steps * warmup_share))

    def scale(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))

    return scale


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Seeds torch and turns deterministic algorithms on for a while."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
