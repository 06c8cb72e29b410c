"""Frozen text embeddings inside the model: one vector per item, several sentences per user snapshot.

Both are kept in the principal components of the item texts, scaled to unit variance (whitened): sentence encoders put
most of their variance into a few directions that all texts share.

Dimensions: B users, L positions, N items, U users, P snapshots, Q sentences, S sentences per snapshot, T width of the
embeddings, C components kept, K snapshots that a window can see.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from ur4rec.models.tensor_files import ResizableBuffers

ROWS_AT_ONCE = 1 << 14
"""Texts that are held in double precision together."""


class TextTable(ResizableBuffers):
    """Looks texts up; empty until `fill` or `load_state_dict`.

    Args:
        components: Width C.
    """

    resizable = ("item_text", "sentences", "sentence_offsets", "as_of", "snapshot_offsets")
    item_text: Tensor
    sentences: Tensor
    sentence_offsets: Tensor
    as_of: Tensor
    snapshot_offsets: Tensor

    def __init__(self, components: int) -> None:
        super().__init__()
        self.components = components
        self.register_buffer("item_text", torch.zeros(0, components, dtype=torch.float16))
        self.register_buffer("sentences", torch.zeros(0, components, dtype=torch.float16))
        self.register_buffer("sentence_offsets", torch.zeros(1, dtype=torch.int64))
        self.register_buffer("as_of", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("snapshot_offsets", torch.zeros(1, dtype=torch.int64))

    def fill(
        self,
        item_text: Float[Tensor, "N1 T"],
        sentences: Float[Tensor, "Q T"],
        sentence_offsets: Int[Tensor, "P1"],
        snapshots: Int[Tensor, "P 2"],
        num_users: int,
        whitening: float = 1.0,
    ) -> None:
        """Takes embeddings in, whitened and kept in half precision.

        Args:
            item_text: One row per item, row 0 for padding.
            sentences: Of all snapshots, one after another.
            sentence_offsets: The sentences of snapshot p are `sentence_offsets[p]:sentence_offsets[p + 1]`.
            snapshots: User index and `as_of` of each snapshot, sorted.
            num_users: U.
            whitening: Power to which the components' standard deviations are taken out.
        """
        whiten = _whitening(item_text[1:], self.components, whitening)
        self.item_text = whiten(item_text).half()
        self.item_text[0] = 0
        self.sentences = whiten(sentences).half()
        self.sentence_offsets, self.as_of = sentence_offsets.clone(), snapshots[:, 1].clone()
        users = torch.arange(num_users + 2, device=snapshots.device)
        self.snapshot_offsets = torch.searchsorted(snapshots[:, 0].contiguous(), users)

    def find_fault(self) -> str:
        """Returns what is wrong with the texts; empty where nothing is."""
        for name, table in (("item_text", self.item_text), ("sentences", self.sentences)):
            if table.shape != (len(table), self.components):
                return f"{name}: expected rows of {self.components} numbers, found {tuple(table.shape)}"
        for name, offsets, end in (
            ("sentence_offsets", self.sentence_offsets, len(self.sentences)),
            ("snapshot_offsets", self.snapshot_offsets, len(self.as_of)),
        ):
            if offsets.dim() != 1 or not len(offsets) or bool((offsets.diff() < 0).any()):
                return f"{name}: expected numbers that rise"
            if offsets[[0, -1]].tolist() != [0, end]:
                return f"{name}: expected 0 to {end}, found {offsets[0]} to {offsets[-1]}"
        if self.as_of.shape != (len(self.sentence_offsets) - 1,) or bool((self.as_of < 1).any()):
            return "as_of: expected a number of interactions for each text"
        return ""

    def items(self, rows: Int[Tensor, "R"] | None = None) -> Float[Tensor, "R C"] | None:
        """Item embeddings, all or some; None where there is no text."""
        if not len(self.item_text):
            return None
        return (self.item_text if rows is None else self.item_text[rows]).float()

    def visible(
        self,
        user_ids: Int[Tensor, "B"],
        targets: Int[Tensor, "B L"],
        valid: Bool[Tensor, "B L"],
        num_snapshots: int | None = None,
    ) -> tuple[Float[Tensor, "B KS C"], Bool[Tensor, "B L KS"]]:
        """Sentences that the score of each target may read: the newest snapshot with `as_of <= target`.

        Args:
            user_ids: Users; those outside 1..U have no text.
            targets: Index, from 0, of the interaction that each position predicts; rises along L.
            valid: Positions that hold an item.
            num_snapshots: K, what `reach` says of these rows and more; by default of these.

        Returns:
            Sentences of the K snapshots in reach of each row, and which of them each position may read.
        """
        newest, first, most = self._find_reach(user_ids, targets, valid)
        snapshots = first[:, None] + torch.arange(most if num_snapshots is None else num_snapshots, device=first.device)
        tokens, present = self._gather(snapshots.clamp_max(len(self.as_of) - 1))
        readable = (snapshots[:, None, :] == newest[:, :, None]) & (newest >= 0)[:, :, None]
        mask = readable[..., None] & present[:, None]
        return tokens.flatten(1, 2), mask.flatten(2, 3)

    def reach(self, user_ids: Int[Tensor, "B"], targets: Int[Tensor, "B L"], valid: Bool[Tensor, "B L"]) -> int:
        """Returns how many snapshots the positions of a row may read, in the row that may read most."""
        return self._find_reach(user_ids, targets, valid)[2]

    def _find_reach(
        self, user_ids: Int[Tensor, "B"], targets: Int[Tensor, "B L"], valid: Bool[Tensor, "B L"]
    ) -> tuple[Int[Tensor, "B L"], Int[Tensor, "B"], int]:
        """Newest snapshot at each position, −1 for none; the first of each row; the most in a row."""
        num_users = len(self.snapshot_offsets) - 2
        known = (user_ids > 0) & (user_ids <= num_users)
        rows = torch.where(known, user_ids, 0).clamp_max(max(num_users, 0))
        begin, end = self.snapshot_offsets[rows], self.snapshot_offsets[(rows + 1).clamp_max(num_users + 1)]
        end = torch.where(known, end, begin)
        newest = self._newest(begin, end, targets)
        first = newest.masked_fill(~valid | (newest < 0), len(self.as_of)).amin(dim=1)
        last = newest.masked_fill(~valid, -1).amax(dim=1)
        return newest, first, int((last - first + 1).clamp_min(0).max()) if len(first) else 0

    def _newest(
        self, begin: Int[Tensor, "B"], end: Int[Tensor, "B"], targets: Int[Tensor, "B L"]
    ) -> Int[Tensor, "B L"]:
        most = int((end - begin).max()) if len(begin) else 0
        candidates = begin[:, None] + torch.arange(most, device=begin.device)
        inside = candidates < end[:, None]
        as_of = self.as_of[candidates.clamp_max(max(len(self.as_of) - 1, 0))] if most else candidates
        count = (inside[:, None] & (as_of[:, None] <= targets[:, :, None])).sum(dim=2)
        return torch.where(count > 0, begin[:, None] + count - 1, -1)

    def _gather(self, snapshots: Int[Tensor, "B K"]) -> tuple[Float[Tensor, "B K S C"], Bool[Tensor, "B K S"]]:
        if snapshots.shape[1] == 0:
            empty = torch.zeros(*snapshots.shape, 0, self.components, device=snapshots.device)
            return empty, empty[..., 0].bool()
        widest = int(self.sentence_offsets.diff().max())
        rows = self.sentence_offsets[snapshots][..., None] + torch.arange(widest, device=snapshots.device)
        present = rows < self.sentence_offsets[snapshots + 1][..., None]
        return self.sentences[rows.clamp_max(len(self.sentences) - 1)].float(), present


def _whitening(
    item_text: Float[Tensor, "N T"], components: int, power: float
) -> Callable[[Float[Tensor, "R T"]], Float[Tensor, "R C"]]:
    """Map onto the principal components of the items, of unit variance in the mean; those beyond the rank are zero.

    A power of 1 gives each of them unit variance (whitening), 0 leaves their proportions as they are. Su et al. 2021,
    "Whitening Sentence Representations for Better Semantics and Faster Retrieval".
    """
    if not len(item_text):
        return lambda embeddings: embeddings.new_zeros(len(embeddings), components)
    mean = item_text.mean(dim=0, dtype=torch.float64)
    covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64)
    for part in torch.split(item_text, ROWS_AT_ONCE):
        centred = part.double() - mean
        covariance.addmm_(centred.T, centred)
    variances, directions = torch.linalg.eigh(covariance / len(item_text))
    variances, directions = variances.flip(0)[:components], directions.flip(1)[:, :components]
    usable = variances > 1e-6 * variances[0].clamp_min(torch.finfo(torch.float64).tiny)
    scale = torch.where(usable, variances.clamp_min(torch.finfo(torch.float64).tiny) ** (-power / 2), 0.0)
    if power < 1:
        scale = scale * (variances * scale.square())[usable].mean().rsqrt()
    basis = functional.pad(directions * scale, (0, components - len(scale))).to(item_text.dtype)
    return lambda embeddings: (embeddings - mean.to(embeddings.dtype)) @ basis
