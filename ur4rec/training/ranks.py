"""Processes that train one model together, each a share of every batch: what they add up, and who is missing."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, distributed

from ur4rec.models.dropout import BatchShare

Total = Callable[[Tensor], Tensor]
"""Adds up what the ranks count, as `Ranks.total` does."""
HOST = "127.0.0.1"
GRACE_S = 10.0
"""A rank that does not say by then that it lives is taken for the one that the others have waited for."""


class LostRankError(ValueError):
    """A process that trains has died, hangs or has failed; names its rank."""


class Ranks:
    """What a process does with the others; alone it gets everything back as it is."""

    rank, size = 0, 1

    def start(self) -> None:
        """Meets the others."""

    def share(self, num_rows: int) -> BatchShare:
        """Returns this rank's rows of so many; where it has none, the first, whose `weight` is nothing."""
        return BatchShare(self.rank if self.rank < num_rows else 0, self.size, num_rows)

    def total(self, values: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """Returns the sum over all ranks; its gradient is that of the sum of all ranks' losses."""
        return values

    def add_gradients(self, loss: Float[Tensor, ""], gradients: Sequence[Tensor]) -> Float[Tensor, ""]:
        """Adds the gradients of all ranks up in place; returns the sum of their losses."""
        return loss

    def share_out(self, state: dict[str, Any]) -> dict[str, Any]:
        """Returns the first rank's dictionary of tensors and plain values."""
        return state

    def copy_first(self, tensors: Iterable[Tensor]) -> None:
        """Overwrites tensors with the first rank's."""


ALONE = Ranks()


class ConnectedRanks(Ranks):
    """Ranks that reach each other over sockets: gloo between processors, nccl between GPUs.

    Args:
        rank: Of this process, from 0.
        size: Number of processes.
        port: Of the first rank's store on this machine; 0 makes the store, and `port` then says where.
        device: Where the tensors are.
        timeout_s: How long a rank waits for the others.
    """

    def __init__(self, rank: int, size: int, port: int, device: torch.device, timeout_s: float) -> None:
        self.rank, self.size, self._device = rank, size, device
        self.timeout_s, self._timeout = timeout_s, timedelta(seconds=timeout_s)
        self._store = distributed.TCPStore(  # type: ignore[attr-defined]
            HOST, port, size, rank == 0, self._timeout, wait_for_workers=False
        )
        self.port: int = self._store.port

    def has_come(self, rank: int) -> bool:
        """Tells whether a rank is ready to train."""
        return self._store.check([f"ready/{rank}"])

    def start(self) -> None:
        """Meets the others, once: they must have come or be about to."""
        if distributed.is_initialized():
            return
        self._store.set(f"ready/{self.rank}", "")
        backend = "cpu:gloo,cuda:nccl" if self._device.type == "cuda" else "gloo"
        with self._naming_lost():
            distributed.init_process_group(
                backend, store=self._store, rank=self.rank, world_size=self.size, timeout=self._timeout
            )

    def stop(self) -> None:
        """Leaves the others."""
        if distributed.is_initialized():
            distributed.destroy_process_group()

    def total(self, values: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """Returns the sum over all ranks; its gradient is that of the sum of all ranks' losses."""
        summed: Tensor = _Total.apply(values, self)  # type: ignore[no-untyped-call]
        return summed

    def add_gradients(self, loss: Float[Tensor, ""], gradients: Sequence[Tensor]) -> Float[Tensor, ""]:
        """Adds the gradients of all ranks up in place; returns the sum of their losses."""
        parts = [loss.reshape(1), *gradients]
        flat = torch.cat([part.reshape(-1) for part in parts])
        self.add_up(flat)
        for part, summed in zip(parts, flat.split([part.numel() for part in parts]), strict=True):
            part.copy_(summed.view(part.shape))
        return parts[0][0]

    def share_out(self, state: dict[str, Any]) -> dict[str, Any]:
        """Returns the first rank's dictionary of tensors and plain values."""
        file = io.BytesIO()
        if self.rank == 0:
            torch.save(state, file)
        size = torch.tensor([file.tell()])
        self._broadcast(size)
        content = torch.frombuffer(bytearray(file.getvalue() or int(size)), dtype=torch.uint8)
        self._broadcast(content)
        if self.rank == 0:
            return state
        received: dict[str, Any] = torch.load(
            io.BytesIO(content.numpy().tobytes()), weights_only=True, map_location="cpu"
        )
        return received

    def copy_first(self, tensors: Iterable[Tensor]) -> None:
        """Overwrites tensors with the first rank's."""
        for tensor in tensors:
            if tensor.numel():  # as bytes, for gloo knows no truth values
                content = torch.empty(tensor.numel(), dtype=tensor.dtype, device=tensor.device)
                content = content.copy_(tensor.detach().reshape(-1)).view(torch.uint8)
                self._broadcast(content)
                tensor.detach().copy_(content.view(tensor.dtype).view(tensor.shape))

    def add_up(self, values: Tensor) -> None:
        """Overwrites values by their sum over all ranks."""
        with self._naming_lost():
            distributed.all_reduce(values)

    def _broadcast(self, values: Tensor) -> None:
        with self._naming_lost():
            distributed.broadcast(values, src=0)

    def explain_lost(self, error: RuntimeError) -> LostRankError:
        """Returns the error to raise: it names who does not say to live, as all do for whom the others wait no more."""
        names = ", ".join(f"rank {rank}" for rank in self._find_lost()) or "a rank"
        return LostRankError(f"{names} of {self.size} has died or hangs ({_first_line(error)})")

    @contextmanager
    def _naming_lost(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise self.explain_lost(error) from error

    def _find_lost(self) -> Iterator[int]:
        key, grace = "alive/{}".format, timedelta(seconds=GRACE_S)
        try:
            self._store.set(key(self.rank), "")
        except RuntimeError:
            yield 0  # whose store it is
            return
        for rank in range(self.size):
            try:
                self._store.wait([key(rank)], grace)
            except RuntimeError:
                yield rank


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, ranks: ConnectedRanks) -> Tensor:
        ctx.ranks = ranks
        summed = values.detach().clone()
        ranks.add_up(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, None]:
        summed = outputs[0].clone()
        ctx.ranks.add_up(summed)
        return summed, None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
