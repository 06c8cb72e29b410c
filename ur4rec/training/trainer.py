"""Trains one stage: epochs, weight averaging, early stopping, the best weights kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from ur4rec.columns import USER
from ur4rec.data.sequences import Histories
from ur4rec.models.config import Part
from ur4rec.models.content import content_users
from ur4rec.models.cooccurrence import NeighborTables, to_logits
from ur4rec.models.dropout import BatchShare, Dropout
from ur4rec.models.retriever_moe_memory import Window
from ur4rec.models.ur4rec_v2_moe import UR4RecV2MoE
from ur4rec.models.user_memory import MemoryState
from ur4rec.ranking.metrics import metrics_from_ranks
from ur4rec.ranking.ranks import Scorer, rank_users
from ur4rec.training.config import TrainingConfig
from ur4rec.training.cooccurrence import fit_fold_tables, fit_log_temperature, user_folds
from ur4rec.training.fusion_fit import fit_fusion, place_new_items
from ur4rec.training.objective import Objective
from ur4rec.training.optimizer import AdamW, WarmupCosine
from ur4rec.training.ranks import ALONE, Ranks
from ur4rec.training.scoring import ExpertUsage, LossMeter, ModelScorer
from ur4rec.training.windows import Epoch, batches, count_windows, sample_epoch

SELECTION_METRIC = "ndcg@10"
VALIDATION_LOSS = "validation_loss"
SCORES_AT_ONCE = 1 << 25
"""Scores of a validation batch."""
USERS_AT_ONCE = 256
"""Users of a validation batch at most: a small catalogue does not make their positions small."""

OnEpoch = Callable[[dict[str, float], ExpertUsage], None]
"""Called with the losses, metrics and statistics of an epoch, and how the experts were used at the validation."""


@dataclass(frozen=True)
class StagePlan:
    """A stage: what it trains and what it is judged by."""

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
    """The course of a stage, as `history.json` tells it."""

    stage: str
    epochs: int = 0
    best_epoch: int = 0
    seconds: float = 0.0
    """Time that all processes took together, where the stage was resumed."""
    validation: dict[str, float] = field(default_factory=dict)
    series: list[dict[str, float]] = field(default_factory=list)


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
    switches: int = 0

    @property
    def module(self) -> str:
        """Which module trains now."""
        return self.modules[self.active]

    def observe(self, loss: float) -> str:
        """Takes the loss of a step; returns the module that trains next."""
        self.losses.append(loss)
        if len(self.losses) == self.min_steps:
            mean = sum(self.losses) / len(self.losses)
            stalled = not math.isinf(self.previous) and (self.previous - mean) / self.previous < self.threshold
            self.previous, self.losses = (math.inf, []) if stalled else (mean, [])
            self.active = (self.active + stalled) % len(self.modules)
            self.switches += stalled
        return self.module

    def describe(self) -> dict[str, float]:
        """Index of the module that trains now, and how often it has changed."""
        return {"alternation": float(self.active), "alternation_switches": float(self.switches)}


@dataclass(frozen=True)
class Memories:
    """Memories before some windows of an epoch."""

    rows: Int[Tensor, "V"]
    """The windows, sorted."""
    states: MemoryState

    def before(self, rows: Int[Tensor, "B"]) -> MemoryState:
        """Returns those of some of the windows."""
        places = torch.searchsorted(self.rows, rows)
        return self.states.map(lambda tensor: tensor[places])


class Trainer:
    """Trains one stage of a model in place; the best averaged weights are left in it.

    Args:
        model: Holds the weights the stage begins with.
        histories: Training prefixes.
        targets: Validation rows `user, item, timestamp_s`, `[V, 3]`.
        plan: What to train.
        config: How to train.
        ranks: The processes that train together, each with a trainer of the same arguments.
    """

    def __init__(
        self,
        model: UR4RecV2MoE,
        histories: Histories,
        targets: np.ndarray,
        plan: StagePlan,
        config: TrainingConfig,
        ranks: Ranks = ALONE,
    ) -> None:
        self.model, self.histories, self.targets, self.plan, self.config = model, histories, targets, plan, config
        self.ranks, self.dropouts = ranks, [part for part in model.modules() if isinstance(part, Dropout)]
        self.device = model.device
        self.generator = np.random.default_rng(config.seed)
        self.trainable = {name: value for name, value in model.named_parameters() if name.startswith(plan.trainable)}
        for name, value in model.named_parameters():
            value.requires_grad_(name in self.trainable)
        self.average = deepcopy(model, {id(tensor): tensor for tensor in self._fixed()})  # what nobody trains is shared
        self.averaged = {name: value for name, value in self.average.named_parameters() if name in self.trainable}
        num_windows = count_windows(histories, model.config.max_seq_len, config.windows_per_user)
        steps = config.epochs_per_stage * math.ceil(num_windows / config.batch_size)
        self.optimizer = AdamW(self.trainable, self._rates(), config.weight_decay)
        self.schedule = WarmupCosine(steps, config.warmup_share)
        self.alternation = Alternation(
            ("sasrec.", "retriever."), config.adaptive_switch_threshold, config.adaptive_min_steps
        )
        self.step = 0
        self.record = StageRecord(plan.name)
        self.best: dict[str, Tensor] = {}
        tables = self._fold_tables()
        if plan.calibrate:
            self._calibrate(tables)
        self.objective = Objective(model, plan.part, tables, config, self.generator, ranks.total)
        if plan.alternate:
            self._switch_to(self.alternation.module)

    def run(self, on_epoch: OnEpoch) -> StageRecord:
        """Trains until the epochs or the patience end; epoch 0 is the weights it began with."""
        self._meet()
        while not self._is_over():
            started = time.perf_counter()
            epoch = len(self.record.series)
            entry = self._train_epoch() if epoch else {}
            self.optimizer.clear_gradients()
            users = np.arange(1 + self.ranks.rank, len(self.histories.lengths), self.ranks.size)
            scorer = ModelScorer(self.average, self.histories, self.plan.part.value, users=users)
            meter = LossMeter(scorer, self.targets)
            metrics = self.validate(meter)
            for counted in (meter, scorer.usage):
                counted.add_up(self.ranks.total)
            if not self.best or metrics[SELECTION_METRIC] > self.record.validation[SELECTION_METRIC]:
                self.record.best_epoch, self.record.validation = epoch, metrics
                self.best = {name: value.detach().clone() for name, value in self.averaged.items()}
            self.record.epochs = epoch
            self.record.seconds += time.perf_counter() - started
            self.record.series.append(
                {"epoch": epoch, "step": self.step}
                | entry
                | {VALIDATION_LOSS: meter.mean()}
                | metrics
                | scorer.statistics(self.ranks.total)
            )
            on_epoch(self.record.series[-1], scorer.usage)
        with torch.no_grad():
            for name, value in self.trainable.items():
                value.copy_(self.best[name])
        return self.record

    def validate(self, scorer: Scorer) -> dict[str, float]:
        """Metrics over the validation targets: whole catalogue, seen items excluded unless the model includes them."""
        batch_size = min(max(1, SCORES_AT_ONCE // self.model.num_items), USERS_AT_ONCE)
        seen = self.histories if self.model.config.excludes_seen else None
        own = (self.targets[:, USER] - 1) % self.ranks.size == self.ranks.rank
        found = np.zeros((len(self.targets), 2), dtype=np.int64)
        found[own] = rank_users(scorer, self.targets[own], seen, batch_size)
        return metrics_from_ranks(self.ranks.total(torch.from_numpy(found)).numpy())

    def state_dict(self) -> dict[str, Any]:
        """All that a later `load_state_dict` needs to go on as if nothing had happened: tensors and plain values."""
        return {
            "weights": {name: value.detach() for name, value in self.trainable.items()},
            "averaged": {name: value.detach() for name, value in self.averaged.items()},
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "alternation": asdict(self.alternation),
            "record": asdict(self.record),
            "step": self.step,
            "random": random_state(self.generator, self.device),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` of a trainer with the same arguments returned."""
        with torch.no_grad():
            for weights, name in ((self.trainable, "weights"), (self.averaged, "averaged")):
                for key, value in weights.items():
                    value.copy_(state[name][key])
        self.best = {name: value.to(self.device) for name, value in state["best"].items()}
        self.optimizer.load_state_dict(state["optimizer"])
        self.alternation = Alternation(**state["alternation"])
        self.record, self.step = StageRecord(**state["record"]), state["step"]
        if self.plan.alternate:
            self._switch_to(self.alternation.module)
        restore_random_state(state["random"], self.generator, self.device)

    def _is_over(self) -> bool:
        epoch, config = len(self.record.series) - 1, self.config
        patience = min(config.patience, config.finetune_patience) if self.plan.finetune else config.patience
        return epoch >= config.epochs_per_stage or epoch - self.record.best_epoch >= patience

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
            config.windows_per_user,
        )
        steps = list(batches(epoch, config.batch_size, self.generator))
        memories = None if self.plan.part is Part.SASREC else self._remember(epoch, steps)
        losses = [self._train_step(epoch, rows, memories) for rows in steps]
        entry = {"loss": float(np.mean(losses)), "lr": self.optimizer.rate * self.schedule(self.step)}
        return entry | (self.alternation.describe() if self.plan.alternate else {})

    def _remember(self, epoch: Epoch, steps: Sequence[Int[Tensor, "B"]]) -> Memories | None:
        """Replays the memories before the windows that this rank computes."""
        rows = torch.cat([self.ranks.share(len(rows)).of(rows) for rows in steps]).sort().values
        states = self.model.retriever.replay(epoch.select(rows).before())
        return None if states is None else Memories(rows, states)

    def _train_step(self, epoch: Epoch, rows: Int[Tensor, "B"], memories: Memories | None) -> float:
        share = self.ranks.share(len(rows))
        own = share.of(rows).contiguous()
        window, targets = epoch.window(own, int(epoch.lengths[rows].max()))
        if self.ranks.size > 1:
            window = self._fit_to_batch(window, epoch, rows, share)
        state = None if memories is None else memories.before(own)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            loss = self.objective(window, targets, state) * self._weigh(epoch, rows, own)
        self.optimizer.clear_gradients()
        loss.backward()
        active = list(self._active_parameters())
        loss = self.ranks.add_gradients(loss.detach(), [value.grad for value in active if value.grad is not None])
        nn.utils.clip_grad_norm_(active, self.config.gradient_clip)
        self.optimizer.step(self.schedule(self.step))
        self.step += 1
        self._update_average()
        value = loss.item()
        if self.plan.alternate:
            self._switch_to(self.alternation.observe(value))
        return value

    def _fit_to_batch(self, window: Window, epoch: Epoch, rows: Int[Tensor, "B"], share: BatchShare) -> Window:
        """Makes some rows of a batch as wide as the whole, so that dropout hits a row alike on whichever rank it is."""
        for dropout in self.dropouts:
            dropout.share = share
        if self.plan.part is Part.SASREC:
            return window
        return replace(window, num_snapshots=self.model.retriever.reach(epoch.window(rows)[0]))

    def _weigh(self, epoch: Epoch, rows: Int[Tensor, "B"], own: Int[Tensor, "b"]) -> float:
        """Share of a batch's targets that this rank has; nothing where it has a row but for company."""
        if self.ranks.size == 1:
            return 1.0
        return float(epoch.lengths[own].sum() / epoch.lengths[rows].sum()) if self.ranks.rank < len(rows) else 0.0

    def _meet(self) -> None:
        """Every rank begins with what the first one holds, be it fresh or from an earlier run."""
        self.ranks.start()
        state = self.ranks.share_out(self.state_dict())
        if self.ranks.rank:
            self.load_state_dict(state)
        self.ranks.copy_first(self._fixed())

    def _fixed(self) -> Iterator[Tensor]:
        yield from self.model.buffers()
        yield from (value for name, value in self.model.named_parameters() if name not in self.trainable)

    def _fold_tables(self) -> NeighborTables | None:
        if self.plan.part is not Part.FUSED or self.model.cooccurrence is None:
            return None
        return fit_fold_tables(self.histories, self.model.num_items, self.model.config, self.device)

    def _calibrate(self, tables: NeighborTables | None) -> None:
        """Fits temperatures of scorers that nobody trains and the weights the fusion begins with; places new items."""
        config, fusion = self.model.config, self.model.fusion  # `average` shares what is set here
        epoch = sample_epoch(self.histories, config.max_seq_len, self.generator, 0, False, self.device)
        if tables is not None:
            temperature = fit_log_temperature(partial(self._scan_cooccurrence, tables), epoch)
            fusion.get_buffer("cooccurrence_log_temperature").copy_(temperature)
        if (items := self.model.items(Part.FUSED).content) is not None:
            fusion.get_buffer("content_log_temperature").copy_(
                fit_log_temperature(partial(self._scan_content, items), epoch)
            )
        if config.fusion_start == "fitted":
            fit_fusion(self.model, self.histories, self.targets)
        if fusion.raises_new_items:
            place_new_items(self.model, self.histories, self.targets)

    def _scan_cooccurrence(self, tables: NeighborTables, window: Window) -> Iterator[Tensor]:
        assert self.model.cooccurrence is not None
        return map(to_logits, self.model.cooccurrence.scan(window.items, tables, user_folds(window.user_ids)))

    def _scan_content(self, items: Tensor, window: Window) -> Iterator[Tensor]:
        users = content_users(window.items, items, self.model.config.content_age_decay)
        return (user @ items.T for user in users.transpose(0, 1))

    def _switch_to(self, module: str) -> None:
        for name, value in self.trainable.items():
            value.requires_grad_(name.startswith(module))

    def _active_parameters(self) -> Iterator[nn.Parameter]:
        return (value for value in self.trainable.values() if value.grad is not None)

    @torch.no_grad()
    def _update_average(self) -> None:
        # The first steps average over what there is, so that a short stage is not held at its start.
        decay = min(self.config.ema_decay, self.step / (self.step + 9))
        torch._foreach_lerp_(list(self.averaged.values()), list(self.trainable.values()), 1 - decay)

    def _rates(self) -> dict[str, float]:
        scale = self.config.finetune_lr_scale if self.plan.finetune else 1.0
        rates = {"fusion.retriever_": self.config.retriever_lr, "fusion.": self.config.sasrec_lr}
        rates |= {"sasrec.": self.config.sasrec_lr, "retriever.": self.config.retriever_lr}
        return {prefix: rate * scale for prefix, rate in rates.items()}


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Seeds torch and turns deterministic algorithms on for a while; nothing reads memory that it has not written."""
    memory: Any = torch.utils.deterministic  # its one attribute is a property of the module, unknown to mypy
    before = torch.get_deterministic_debug_mode(), memory.fill_uninitialized_memory
    torch.manual_seed(seed)
    torch.set_deterministic_debug_mode("error")  # `use_deterministic_algorithms` would load the compiler
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before[0])
        memory.fill_uninitialized_memory = before[1]


def random_state(generator: np.random.Generator, device: torch.device) -> dict[str, Any]:
    """State of numpy's generator and torch's global ones: plain values and tensors."""
    state = {"numpy": generator.bit_generator.state, "torch": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def restore_random_state(state: dict[str, Any], generator: np.random.Generator, device: torch.device) -> None:
    """Goes on where `random_state` was taken."""
    generator.bit_generator.state = state["numpy"]
    torch.set_rng_state(state["torch"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
