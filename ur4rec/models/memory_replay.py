"""Replays of whole histories, many users at once, at a cost that follows the sum of the histories.

Where the trigger does not look at the memory, the updates are found first. What lies between two of them is summed in
one call, and only the GRU goes from update to update. With `drift_threshold` it goes from interaction to interaction.

Each of these steps waits for the one before it, so one user with far more of them than all others would set the time.
But a GRU forgets: after enough updates its state is the same, whatever it was before.

* Where the updates are known, the newest ones of a long user, the tail, are read from several states at once. Where all
  end in the same state, so does the whole history. Where they do not, the tail grows, at last to the whole history.
* With `drift_threshold` a state far back may also decide that there was no update since. So the whole of a long history
  is read, in pieces side by side, until each piece begins with the state that the one before it ends with.

Dimensions: B users, R interactions, K updates, N rows of the item table, D item width, E memory width, M memory slots,
S starts of a tail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from operator import itemgetter

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from ur4rec.models.config import MemoryConfig, UpdateTrigger
from ur4rec.models.user_memory import USERS_AT_ONCE, MemoryState, Runs, UserMemory

LONG = 1024
"""Updates, or interactions with `drift_threshold`, of a long user; fewer are read one by one from the beginning."""
TAILS = (64, 256, 1024, 4096)
"""Updates of the tails that are tried, apart from those that fill the slots."""
NUM_STARTS = 8
"""States that a tail is read from: zero, and corners of the cube that every state lies in."""
TOLERANCE = 1e-6
"""Largest difference of two states that count as the same."""
UPDATES_AT_ONCE = 1 << 14
"""Updates whose sums are held together."""
LONG_USERS_AT_ONCE = 64
"""Long users whose pieces are held together."""
PIECE = 128
"""Interactions of a piece of a long history, with `drift_threshold`."""
ROUNDS = 8
"""How often the pieces are read before a history is read from its beginning after all."""
FURTHEST = 128
"""Interactions that are looked through for an update at once."""


@dataclass(frozen=True)
class Updates:
    """Updates of B users, one user's after another's: the rows that each takes in."""

    begins: Int[Tensor, "K"]
    sizes: Int[Tensor, "K"]
    counts: Int[Tensor, "B"]

    def before(self) -> Int[Tensor, "B"]:
        """Return how many updates stand before each user's."""
        return self.counts.cumsum(0) - self.counts


@torch.no_grad()
def replay(memory: UserMemory, item_vectors: Float[Tensor, "N D"], runs: Runs) -> MemoryState:
    """Return the state after reading interactions from an empty memory."""
    state = memory.empty_state(len(runs.lengths))
    for users in torch.split(runs.lengths.argsort(descending=True, stable=True), USERS_AT_ONCE):
        few = _select(runs, users)
        updates = find_updates(memory.config, few)
        known = updates and _UpdateReplay(memory, item_vectors, few, updates)
        _put(state, users, (known or _StepReplay(memory, item_vectors, few))())
    return state


def find_updates(config: MemoryConfig, runs: Runs) -> Updates | None:
    """Return the updates of some users; None where they depend on the states, or time does not run forward."""
    match config.update_trigger:
        case UpdateTrigger.INTERACTION_COUNT:
            size = config.interaction_threshold
            counts = runs.lengths // size
            begins = runs.starts.repeat_interleave(counts) + _count_up(counts) * size
            return Updates(begins, torch.full_like(begins, size), counts)
        case UpdateTrigger.TIME_BASED:
            return _find_elapsed(runs, config.time_threshold_s)
        case UpdateTrigger.DRIFT_THRESHOLD:
            return None
        case UpdateTrigger.EXPLICIT:
            return Updates(runs.starts[:0], runs.starts[:0], torch.zeros_like(runs.lengths))


def _find_elapsed(runs: Runs, threshold_s: int) -> Updates | None:
    place = _count_up(runs.lengths)
    rows = runs.starts.repeat_interleave(runs.lengths) + place
    users = torch.arange(len(runs.lengths), device=rows.device).repeat_interleave(runs.lengths)
    times = runs.timestamps.index_select(0, rows)
    gaps = times.diff(prepend=times[:1]).masked_fill(place == 0, 0)
    if bool((gaps < 0).any()):
        return None
    # One clock for all users: a gap counts for the threshold at most, and between two users lies one of that size.
    never = len(rows)
    threshold_s = min(threshold_s, (1 << 62) // max(never, 1))
    clock = gaps.clamp_max(threshold_s).masked_fill(place == 0, threshold_s).cumsum(0)
    following = torch.searchsorted(clock, clock + threshold_s)
    same_user = torch.cat([users, users.new_tensor([-1])]).index_select(0, following) == users
    following = torch.cat([following.where(same_user, never), following.new_tensor([never])])
    found = [following[:-1][place == 0]]
    while len(found[-1]):  # as many more of each user in every round as all rounds before have found
        more = following.index_select(0, torch.cat(found))
        found.append(more[more < never])
        following = following.index_select(0, following)
    fires = torch.zeros(never + 1, device=rows.device).index_fill_(0, torch.cat(found), 1)[:-1].nonzero().squeeze(1)
    ends, counts = rows[fires] + 1, torch.bincount(users[fires], minlength=len(runs.lengths))
    begins = ends.roll(1).where(_count_up(counts) > 0, runs.starts.repeat_interleave(counts))
    return Updates(begins, ends - begins, counts)


@dataclass(frozen=True)
class _UpdateReplay:
    """Replay of users whose updates are known."""

    memory: UserMemory
    item_vectors: Float[Tensor, "N D"]
    runs: Runs
    updates: Updates

    def __call__(self) -> MemoryState:
        runs, counts = self.runs, self.updates.counts
        ends = torch.cat([self.updates.begins + self.updates.sizes, counts.new_zeros(1)])
        done = ends[(counts.cumsum(0) - 1).clamp_min(0)].where(counts > 0, runs.starts)
        pending = runs.starts + runs.lengths - done
        times = torch.cat([runs.timestamps, runs.timestamps.new_zeros(1)])
        started = runs.starts.where(runs.lengths > 0, len(runs.timestamps))
        return MemoryState(
            history=self._history(),
            memory_size=counts.clamp_max(self.memory.config.max_memory_size),
            interaction_count=pending,
            absorbed=runs.lengths,
            last_update_s=times[torch.where(counts > 0, done - 1, started)],
            pending_sum=self._sum_rows(done, pending),
        )

    def _history(self) -> Float[Tensor, "B M E"]:
        counts = self.updates.counts
        history = self.memory.empty_state(len(counts)).history
        left = counts > 0
        for users, found in _read_tails(counts, self._read_tail):
            history[users], left[users] = found, False
        users = counts.where(left, 0).argsort(descending=True, stable=True)[: int(left.sum())]
        counts, nth = counts[users], _count_up(counts[users])
        which = self.updates.before()[users].repeat_interleave(counts) + nth
        inputs = map(self.memory.input, self._rounds(which[nth.argsort(stable=True)], nth.bincount()))
        history[users] = _fold(self.memory, inputs, history[users, 0], counts)
        return history

    def _read_tail(self, users: Int[Tensor, "B"], steps: int) -> Float[Tensor, "B S M E"]:
        steps += self.memory.config.max_memory_size
        last = self.updates.counts.cumsum(0)[users]
        which = (last - steps) + torch.arange(steps, device=users.device)[:, None]
        inputs = self.memory.input(self._means(which.flatten())).repeat_interleave(NUM_STARTS, dim=0)
        starts = _starts(self.memory).repeat(len(users), 1)
        counts = torch.full_like(users, steps).repeat_interleave(NUM_STARTS)
        histories = _fold(self.memory, torch.split(inputs, len(starts)), starts, counts)
        return histories.view(len(users), NUM_STARTS, *histories.shape[1:])

    def _rounds(self, which: Int[Tensor, "K"], sizes: Int[Tensor, "R"]) -> Iterator[Float[Tensor, "B D"]]:
        """Means of the first updates of all users, of the second, and so on."""
        groups = torch.split(sizes, max(1, UPDATES_AT_ONCE // int(sizes[0]))) if len(sizes) else ()
        for group, few in zip(groups, torch.split(which, [int(group.sum()) for group in groups]), strict=True):
            yield from torch.split(self._means(few), group.tolist())

    def _means(self, which: Int[Tensor, "K"]) -> Float[Tensor, "K D"]:
        sizes = self.updates.sizes[which]
        return self._sum_rows(self.updates.begins[which], sizes) / sizes[:, None]

    def _sum_rows(self, begins: Int[Tensor, "K"], sizes: Int[Tensor, "K"]) -> Float[Tensor, "K D"]:
        """Sums of the item vectors of some rows on, in the order of the rows."""
        rows = begins.repeat_interleave(sizes) + _count_up(sizes)
        return functional.embedding_bag(self.runs.items[rows], self.item_vectors, sizes.cumsum(0) - sizes, mode="sum")


@dataclass(frozen=True)
class _StepReplay:
    """Replay of users, the longest first, where the state says whether an interaction causes an update."""

    memory: UserMemory
    item_vectors: Float[Tensor, "N D"]
    runs: Runs

    def __call__(self) -> MemoryState:
        lengths = self.runs.lengths
        state = self.memory.empty_state(len(lengths))
        short, long = (lengths < LONG).nonzero().squeeze(1), (lengths >= LONG).nonzero().squeeze(1)
        _put(state, short, self._walk(_select(self.runs, short)))
        for few in torch.split(long, LONG_USERS_AT_ONCE) if len(long) else ():
            _put(state, few, self._read_pieces(_select(self.runs, few)))
        return state

    def _read_pieces(self, runs: Runs) -> MemoryState:
        """All pieces of all histories side by side, until each begins where the one before it ends."""
        counts = (runs.lengths - 1) // PIECE + 1
        place, last = _count_up(counts), counts.cumsum(0) - 1
        starts = runs.starts.repeat_interleave(counts) + place * PIECE
        ends = (runs.starts + runs.lengths).repeat_interleave(counts)
        pieces = replace(runs, starts=starts, lengths=(ends - starts).clamp_max(PIECE))
        begin, end = self.memory.empty_state(len(place)), self.memory.empty_state(len(place))
        leads = replace(pieces, starts=starts - PIECE // 2, lengths=torch.full_like(starts, PIECE // 2))
        for few in torch.split((place > 0).nonzero().squeeze(1), USERS_AT_ONCE):  # a first guess
            guess = self._leap(_select(leads, few), begin.map(itemgetter(few)))
            _put(begin, few, replace(guess, absorbed=torch.zeros_like(few)))
        wrong = torch.arange(len(place), device=place.device)
        for _ in range(ROUNDS):
            for few in torch.split(wrong, USERS_AT_ONCE):
                _put(end, few, self._leap(_select(pieces, few), begin.map(itemgetter(few))))
            before = replace(end, absorbed=torch.zeros_like(place)).map(lambda tensor: tensor.roll(1, dims=0))
            wrong = ((place > 0) & ~_equal(begin, before)).nonzero().squeeze(1)
            _put(begin, wrong, before.map(itemgetter(wrong)))
        state = replace(end.map(itemgetter(last)), absorbed=runs.lengths.clone())
        users = torch.unique(torch.searchsorted(last, wrong))  # they remember too long, or update too rarely
        _put(state, users, self._leap(_select(runs, users), self.memory.empty_state(len(users))))
        return state

    def _walk(self, runs: Runs) -> MemoryState:
        """Interaction by interaction, all users together."""
        lengths = runs.lengths
        longest = int(lengths[0]) if len(lengths) else 0
        still_active = torch.bincount(lengths, minlength=longest + 1).flip(0).cumsum(0).flip(0)
        state = self.memory.empty_state(len(lengths))
        active = torch.ones(len(lengths), dtype=torch.bool, device=lengths.device)
        for position, count in enumerate(still_active[1:].tolist()):
            rows = runs.starts[:count] + position
            head = MemoryState(*(tensor[:count] for tensor in state.tensors()))
            vectors = self.item_vectors[runs.items[rows]]
            head = self.memory.step(head, vectors, runs.timestamps[rows], active[:count])
            for whole, part in zip(state.tensors(), head.tensors(), strict=True):
                if part.data_ptr() != whole.data_ptr():
                    whole[:count] = part
        return state

    def _leap(self, runs: Runs, state: MemoryState) -> MemoryState:
        """Update by update, each user at a place of its own."""
        newest, ahead = replace(state, history=state.history[:, :1]).map(torch.clone), 1
        ring, fired = torch.zeros_like(state.history), torch.zeros_like(runs.lengths)
        while len(users := (newest.absorbed < runs.lengths).nonzero().squeeze(1)):
            part = newest.map(itemgetter(users))
            places = part.absorbed[:, None] + torch.arange(ahead, device=users.device)
            active = places < runs.lengths[users, None]
            rows = (runs.starts[users, None] + places).where(active, 0)
            vectors, times = self.item_vectors[runs.items[rows]], runs.timestamps[rows]
            after = self.memory.read_to_update(part, vectors, times, active)
            _put(newest, users, after)
            updated = users[after.interaction_count == 0]
            ring[updated, fired[updated] % ring.shape[1]] = newest.history[updated, 0]
            fired[updated] += 1
            quiet = 2 * len(updated) < len(users)
            mean = float((after.absorbed - part.absorbed).float().mean())
            ahead = min(2 * ahead if quiet else round(mean), FURTHEST)
        ago = _ago(ring.shape[1], fired)[..., None]
        before = state.history.take_along_dim(ago.clamp_min(0), dim=1)
        return replace(newest, history=torch.where(ago < 0, _unroll(ring, fired), before))


def _read_tails(
    counts: Int[Tensor, "B"], read: Callable[[Int[Tensor, "B"], int], Float[Tensor, "B S M E"]]
) -> Iterator[tuple[Int[Tensor, "B"], Float[Tensor, "B M E"]]]:
    """Users whose last updates are enough, and their histories.

    `read` returns the histories after so many updates and some more, from each start.
    """
    users = (counts >= LONG).nonzero().squeeze(1)
    for length in TAILS:
        users = users[counts[users] >= 4 * length]
        if not len(users):
            return
        left = []
        for few in torch.split(users, max(1, UPDATES_AT_ONCE // length)):
            histories = read(few, length)
            same = (histories - histories[:, :1]).abs().flatten(1).amax(1) <= TOLERANCE
            yield few[same], histories[same, 0]
            left.append(few[~same])
        users = torch.cat(left)


def _equal(one: MemoryState, other: MemoryState) -> Bool[Tensor, "B"]:
    pairs = zip(one.tensors(), other.tensors(), strict=True)
    apart = [(left - right).abs().view(len(left), -1).amax(1).double() for left, right in pairs]
    return (torch.stack(apart) <= TOLERANCE).all(0)


def _put(state: MemoryState, users: Tensor, part: MemoryState) -> None:
    for whole, new in zip(state.tensors(), part.tensors(), strict=True):
        whole[users] = new


def _select(runs: Runs, users: Tensor) -> Runs:
    return replace(runs, starts=runs.starts[users], lengths=runs.lengths[users])


def _starts(memory: UserMemory) -> Float[Tensor, "S E"]:
    weight = memory.cell.weight_hh
    corners = torch.randint(0, 2, (NUM_STARTS, weight.shape[1]), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    for row, value in enumerate((0, 1, -1)):
        corners[row] = value
    return corners.to(weight)


def _fold(
    memory: UserMemory, inputs: Iterable[Float[Tensor, "B E"]], state: Float[Tensor, "B E"], counts: Int[Tensor, "B"]
) -> Float[Tensor, "B M E"]:
    """The newest states of users, those with the most updates first, after all updates."""
    slots = memory.config.max_memory_size
    ring = state.new_zeros(slots, *state.shape)
    for step, given in enumerate(inputs):
        state = memory.cell(given, state[: len(given)])
        ring[step % slots, : len(given)] = state
    return _unroll(ring.transpose(0, 1), counts).masked_fill_((_ago(slots, counts) >= 0)[..., None], 0)


def _unroll(ring: Float[Tensor, "B M E"], counts: Int[Tensor, "B"]) -> Float[Tensor, "B M E"]:
    """What went round a ring, newest first; where fewer did than there are slots, anything."""
    users = torch.arange(len(counts), device=counts.device)[:, None]
    return ring[users, (-1 - _ago(ring.shape[1], counts)) % ring.shape[1]]


def _ago(slots: int, counts: Int[Tensor, "B"]) -> Int[Tensor, "B M"]:
    """Slot of each newest state before so many updates; negative where the state came with one of them."""
    return torch.arange(slots, device=counts.device) - counts[:, None]


def _count_up(sizes: Int[Tensor, "B"]) -> Int[Tensor, "R"]:
    """0, 1, … for each size, one after another."""
    return torch.arange(int(sizes.sum()), device=sizes.device) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
