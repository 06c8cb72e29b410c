"""UR4RecV2MoE: SASRec, the mixture-of-experts retriever with memory and a co-occurrence scorer, fused.

Dimensions: B users, L positions, C candidates, D width of SASRec, F width of the retriever, N items, S scorers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ur4rec.models.config import MemoryConfig, ModelConfig, Part
from ur4rec.models.content import content_items, content_users
from ur4rec.models.cooccurrence import CooccurrenceScorer
from ur4rec.models.fusion import Fusion
from ur4rec.models.retriever_moe_memory import RetrieverMoEMemory, Window
from ur4rec.models.sasrec import SASRec, align_left
from ur4rec.models.saved_model import FINAL_MEMORIES, FINAL_MODEL, MODEL_CONFIG, CheckpointError, read_model_config
from ur4rec.models.tensor_files import (
    ResizableBuffers,
    TensorFileError,
    check_tensors,
    read_tensors,
    write_tensors,
)
from ur4rec.models.text_preference_retriever_moe import ItemSide
from ur4rec.models.user_memory import STATE_FIELDS, MemoryState, find_state_fault


@dataclass(frozen=True)
class Items:
    """Item sides of C items, row 0 for padding; a part that was not asked for is None."""

    sasrec: Float[Tensor, "C D"] | None
    retriever: ItemSide | None
    content: Float[Tensor, "C K"] | None = None
    offset: Float[Tensor, "C 1"] | None = None
    """Added to the fused score of an item."""

    def vectors(self) -> Float[Tensor, "C V"]:
        """Returns the sides one beside the other."""
        retriever = None if self.retriever is None else self.retriever.vectors()
        sides = self.sasrec, retriever, self.content, self.offset
        return torch.cat([side for side in sides if side is not None], dim=1)


@dataclass(frozen=True)
class Encoded:
    """User sides of every position (Q = L) or of the last (Q = 1); a part that was not asked for is None."""

    sasrec: Float[Tensor, "B Q D"] | None
    retriever: Float[Tensor, "B Q F"] | None
    expert_weights: Float[Tensor, "B Q X"] | None
    fusion_weights: Float[Tensor, "B Q S"] | None
    state: MemoryState | None
    content: Float[Tensor, "B Q K"] | None = None


class UR4RecV2MoE(nn.Module):
    """The whole recommender.

    Args:
        num_items: N; item 0 is padding.
        num_users: Users with a memory; user 0 is nobody.
        config: Shape; alternatively, or in place of some of its fields, these as keywords.
        memory_config: The fields of the memory.

    Raises:
        ConfigError: A keyword is not a field of `ModelConfig`, or its value is out of range.
    """

    def __init__(
        self,
        num_items: int,
        num_users: int,
        config: ModelConfig | None = None,
        memory_config: MemoryConfig | None = None,
        **fields: Any,
    ) -> None:
        super().__init__()
        config = _join(config, dict(memory_config or ()) | fields).resolve()
        self.config, self.num_items, self.num_users = config, num_items, num_users
        self.sasrec = None if config.whole is Part.RETRIEVER else SASRec(num_items, config)
        self.retriever = RetrieverMoEMemory(num_items, num_users, config.max_seq_len, config, config)
        self.cooccurrence = CooccurrenceScorer(num_items, config) if config.cooccurrence_neighbors else None
        widths = config.sasrec_hidden_dim, config.retriever_output_dim
        self.fusion = Fusion(*widths, self.cooccurrence is not None, config.content_weight > 0, config)

    @property
    def device(self) -> torch.device:
        """The device that holds the weights."""
        return self.fusion.retriever_log_temperature.device

    def items(self, part: Part = Part.FUSED, rows: Int[Tensor, "C"] | None = None, drop_ids: bool = False) -> Items:
        """Item sides of a part's score, of all items or of some rows.

        For training, `drop_ids` lets a share of the items go without its ID in the retriever.
        """
        sasrec = None if part is Part.RETRIEVER or self.sasrec is None else self.sasrec.item_vectors(rows)
        retriever = None if part is Part.SASREC else self.retriever.encoder.item_side(rows, drop_ids)
        texts = self.retriever.encoder.text.items(rows) if self._compares_texts(part) else None
        return Items(sasrec, retriever, None if texts is None else content_items(texts), self._offsets(part, rows))

    def _offsets(self, part: Part, rows: Int[Tensor, "C"] | None) -> Float[Tensor, "C 1"] | None:
        if part is not Part.FUSED or not self.fusion.raises_new_items:
            return None
        is_trained = self.retriever.encoder.get_buffer("is_trained")
        return self.fusion.new_item_offsets(is_trained if rows is None else is_trained[rows])

    def _compares_texts(self, part: Part) -> bool:
        return part is Part.FUSED and self.config.content_weight > 0

    def encode(
        self,
        window: Window,
        state: MemoryState | None,
        part: Part = Part.FUSED,
        items: Items | None = None,
        last: Int[Tensor, "B"] | None = None,
    ) -> Encoded:
        """User sides of every position of a window, or of the `last` of each row alone.

        `state` is the memory before the window, `items` what the method of that name returned for the part.
        """
        items = items or self.items(part)
        sasrec = None
        if self.sasrec is not None and part is not Part.RETRIEVER:
            sasrec = self.sasrec(window.items, items.sasrec, last)
        if items.retriever is None:
            return Encoded(sasrec, None, None, None, state)
        output, state = self.retriever(window, state, items.retriever, last)
        weights = None if sasrec is None else self.fusion.weigh(sasrec, output.vectors)
        content = None
        if items.content is not None:
            content = content_users(window.items, items.content, self.config.content_age_decay, last)
        return Encoded(sasrec, output.vectors, output.expert_weights, weights, state, content)

    def user_vectors(self, encoded: Encoded, part: Part = Part.FUSED) -> Float[Tensor, "B Q V"]:
        """Calibrated user side of a part's score."""
        if part is Part.SASREC:
            assert encoded.sasrec is not None
            return self.fusion.calibrate_sasrec(encoded.sasrec)
        assert encoded.retriever is not None
        if part is Part.RETRIEVER or encoded.sasrec is None:
            return self.fusion.calibrate_retriever(encoded.retriever)
        fused: Tensor = self.fusion(encoded.sasrec, encoded.retriever, encoded.fusion_weights, encoded.content)
        return fused

    def score_last(
        self,
        encoded: Encoded,
        window: Window,
        item_vectors: Float[Tensor, "N1 V"],
        part: Part = Part.FUSED,
    ) -> Float[Tensor, "B N1"]:
        """Scores of the whole catalogue after each row's last item, from what `encode` returned for it alone."""
        scores = self.user_vectors(encoded, part)[:, 0] @ item_vectors.T
        if part is not Part.FUSED or self.cooccurrence is None:
            return scores
        assert encoded.fusion_weights is not None
        factor = self.fusion.calibrate_cooccurrence(encoded.fusion_weights[:, 0])
        return torch.addcmul(scores, factor[:, None], self.cooccurrence.last(window.items))

    def score_parts(self, encoded: Encoded, window: Window, items: Items) -> Float[Tensor, "B S N1"]:
        """Calibrated scores of every scorer of the fusion, before their weights, after each row's last item.

        The offset of new items is no scorer's.

        `encoded` is what `encode` returned for the last item alone, `items` what the method of that name did.
        """
        assert items.retriever is not None
        fusion, parts = self.fusion, []
        for part, sides in ((Part.SASREC, items.sasrec), (Part.RETRIEVER, items.retriever.vectors())):
            assert sides is not None
            parts.append(self.user_vectors(encoded, part)[:, 0] @ sides.T)
        if self.cooccurrence is not None:
            temperature = fusion.get_buffer("cooccurrence_log_temperature")
            parts.append(self.cooccurrence.last(window.items) * (-temperature).exp())
        if self.config.content_weight:
            content = torch.zeros_like(parts[0])
            if encoded.content is not None and items.content is not None:
                content = fusion.calibrate_content(encoded.content)[:, 0] @ items.content.T
            parts.append(content)
        return torch.stack(parts, dim=1)

    def forward(
        self,
        user_ids: Int[Tensor, "B"],
        input_seq: Int[Tensor, "B L"],
        target_items: Int[Tensor, "B C"] | None = None,
        update_memory: bool = False,
        timestamps: Int[Tensor, "B L"] | None = None,
        seq_end: Int[Tensor, "B"] | None = None,
    ) -> tuple[Float[Tensor, "B C"], dict[str, Tensor]]:
        """Scores of the next item.

        Args:
            user_ids: Users outside 1..U get an ephemeral memory from the sequence.
            input_seq: Item indices, oldest first, padded with 0 on either side.
            target_items: Candidates; None scores the whole catalogue (column i is item i, column 0 is padding).
            update_memory: Whether known users' memories keep what they read here.
            timestamps: Seconds, beside `input_seq`; needed by `time_based` only.
            seq_end: How many interactions the user has had by the end of the sequence; by default what the memory has
                read, so nothing is absorbed twice. What lies beyond the memory's cursor is absorbed.

        Raises:
            ValueError: A memory is to be updated that has read something already, and nothing says what is new.
        """
        times = torch.zeros_like(input_seq) if timestamps is None else timestamps
        items, times, lengths = _newest(*align_left(input_seq, times), self.config.max_seq_len)
        memory = self.retriever.memory
        state = None if memory is None else memory.stored_state(user_ids)
        known = (user_ids > 0) & (user_ids <= self.num_users)
        if update_memory and seq_end is None and state is not None:
            _refuse_unplaced(user_ids, state.absorbed)
        cursor = lengths if state is None else torch.where(state.absorbed > 0, state.absorbed, lengths)
        end = torch.where(known, cursor if seq_end is None else seq_end, lengths)
        window = Window(user_ids, items, times, end - lengths)
        sides = self.items(self.config.whole)
        encoded = self.encode(window, state, self.config.whole, sides, (lengths - 1).clamp_min(0))
        scores = self.score_last(encoded, window, sides.vectors(), self.config.whole)
        if update_memory and memory is not None and encoded.state is not None:
            memory.store(user_ids, encoded.state)
        if target_items is not None:
            scores = scores.gather(1, target_items)
        return scores, _explain(encoded)

    def update_memory(
        self, user_ids: Int[Tensor, "B"], representation: Float[Tensor, "B F"], force: bool = False
    ) -> None:
        """Folds a representation (an item vector or a mean of some) into the memories, if triggered or with `force`."""
        self.retriever.update_memory(user_ids, representation, force)

    def load_weights(self, path: Path, state: Mapping[str, Any], prefixes: tuple[str, ...] = ("",)) -> None:
        """Takes a state dictionary over, if it is one of this very model.

        Args:
            path: The file that it was read from.
            state: What the file holds.
            prefixes: Take over only what begins with one of these.

        Raises:
            TensorFileError: A tensor is missing, unknown, or of another shape or type, or a table does not fit the
                model; names it.
        """
        state = dict(state)
        self.retriever.encoder.upgrade(state, "retriever.encoder.")
        taken, own = (
            {name: value for name, value in tensors.items() if name.startswith(prefixes)}
            for tensors in (state, self.state_dict())
        )
        tables = {name: part for name, part in self.named_modules() if isinstance(part, ResizableBuffers)}
        check_tensors(path, taken, own, {f"{name}.{buffer}" for name in tables for buffer in tables[name].resizable})
        self.load_state_dict(taken, strict=False)
        for name, table in tables.items():
            if fault := table.find_fault():
                raise TensorFileError(path, f"{name}.{fault}")

    def get_memory_stats(self, total: Callable[[Tensor], Tensor] = torch.clone) -> dict[str, int | float]:
        """Users and users with a memory, whole numbers, and their mean slots in use and interactions read.

        `total` adds up what the processes count that hold the memories of some users each.
        """
        memory = self.retriever.memory
        sums = torch.zeros(3, dtype=torch.int64, device=self.device)
        if memory is not None:
            used = memory.memory_size > 0
            sums = torch.stack([used.sum(), memory.memory_size[used].sum(), memory.absorbed[used].sum()])
        users, slots, read = total(sums).tolist()
        stats = {"total_users": self.num_users, "users_with_memory": users}
        return {**stats, "avg_memory_size": slots / max(users, 1), "avg_interaction_count": read / max(users, 1)}

    def memory_tensors(self) -> dict[str, Tensor]:
        """The state of every user, a plain dictionary of tensors."""
        memory = self.retriever.memory
        return {} if memory is None else {name: getattr(memory, name) for name in STATE_FIELDS}

    def save_memories(self, path: str | Path) -> None:
        """Writes `memory_tensors` to a file that appears complete or not at all.

        It may be the file they are mapped from.
        """
        path = Path(path)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                write_tensors(file, {name: value.cpu() for name, value in self.memory_tensors().items()})
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def load_memories(self, path: str | Path) -> None:
        """Reads what `save_memories` wrote.

        On the CPU the state stays in the file until it is read: the pages are mapped, and what is written to them
        later is private to this process.

        Raises:
            TensorFileError: The file is damaged, or holds other tensors than this model's memory or such as no memory
                can have; names the first.
        """
        loaded = read_tensors(Path(path), mmap=True)
        expected = self.memory_tensors()
        check_tensors(Path(path), loaded, expected)
        if expected and (fault := find_state_fault(MemoryState(**loaded))):
            raise TensorFileError(Path(path), fault)
        for name in expected:
            loaded[name][0] = 0  # nobody's, and what unknown users begin with
            setattr(self.retriever.memory, name, loaded[name].to(self.device))

    @classmethod
    def from_folder(cls, folder: str | Path, device: str = "cpu") -> UR4RecV2MoE:
        """Returns the model that training left in a folder of outputs, with its memories, ready to score.

        Raises:
            CheckpointError: The folder does not hold such a model, or a part of it is damaged.
            TensorFileError: Weights or memories are damaged, or are not of the model that the folder describes.
        """
        folder = Path(folder)
        content = read_model_config(folder)
        if lacking := [name for name in (FINAL_MODEL, FINAL_MEMORIES) if not (folder / name).is_file()]:
            raise CheckpointError(f"{folder / lacking[0]}: not found; expected the output folder of a whole training")
        config = ModelConfig.parse(content["config"], str(folder / MODEL_CONFIG))
        model = cls(content["num_items"], content["num_users"], config)
        model.load_weights(folder / FINAL_MODEL, read_tensors(folder / FINAL_MODEL))
        model.to(device).load_memories(folder / FINAL_MEMORIES)
        return model.eval()

    @property
    def preference_retriever(self) -> RetrieverMoEMemory:
        """The retriever, by the name that it has in the original code."""
        return self.retriever


def _join(config: ModelConfig | None, fields: dict[str, Any]) -> ModelConfig:
    """Returns a configuration with some fields replaced."""
    if config is not None and not fields:
        return config
    return ModelConfig.parse((dict(config.narrow(ModelConfig)) if config else {}) | fields, "UR4RecV2MoE")


def _refuse_unplaced(user_ids: Int[Tensor, "B"], absorbed: Int[Tensor, "B"]) -> None:
    """Refuses to update the memories of users of whom nothing says which interactions are new."""
    if bool((has_read := absorbed > 0).any()):
        user, count = int(user_ids[has_read][0]), int(absorbed[has_read][0])
        raise ValueError(
            f"update_memory: the memory of user {user} has read {count} interactions; expected seq_end, how many each "
            "user has had by the end of input_seq, because without it nothing there would be new"
        )


def _explain(encoded: Encoded) -> dict[str, Tensor]:
    weights = {"expert_weights": encoded.expert_weights, "fusion_weights": encoded.fusion_weights}
    return {name: value[:, 0] for name, value in weights.items() if value is not None}


def _newest(
    items: Int[Tensor, "B L"], timestamps: Int[Tensor, "B L"], lengths: Int[Tensor, "B"], max_len: int
) -> tuple[Int[Tensor, "B K"], Int[Tensor, "B K"], Int[Tensor, "B"]]:
    """The newest `max_len` items of left-aligned rows."""
    if items.shape[1] <= max_len:
        return items, timestamps, lengths
    kept = lengths.clamp_max(max_len)
    columns = (lengths - kept)[:, None] + torch.arange(max_len, device=items.device)
    return items.gather(1, columns), timestamps.gather(1, columns), kept
