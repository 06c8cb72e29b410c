"""Connections to callers: how many there may be, and how long one may let the server wait."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import struct
import time
from collections import deque
from pathlib import Path
from typing import Any, Literal, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

Phase = Literal["head", "idle", "body", "writing"]
LIMITS_S: dict[Phase, float] = {
    "head": 10,
    "idle": 75,  # longer than proxies keep an idle connection, so that none sends a call into one that is being closed
    "body": 25,  # longer than the application waits, which can say what is missing
    "writing": 60,
}
"""What a caller is waited for, and how long. Where there are too many callers, those of the first phase go first."""
MOST = 1024
"""As many as requests that may wait."""
AT_ONCE = 16
"""Connections accepted in one turn of the event loop, and connections that are told why they are turned away."""
RESERVE = 4 * AT_ONCE + 32
"""Files for the latter, for three turns until an accepted connection is counted, and for what libraries open."""
LINGER_S = 2
RESET = struct.pack("ii", 1, 0)
"""Linger, for no second."""
BACKLOG = 2048

logger = logging.getLogger(__name__)


class TooFewFilesError(ValueError):
    """The limit of open files leaves no room for callers."""


def count_affordable() -> int:
    """Connections that the limit of open files has room for; raises the limit as far as it is needed and allowed.

    Raises:
        TooFewFilesError: There is room for none.
    """
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = (MOST**2 if limit == resource.RLIM_INFINITY else limit for limit in limits)
    others = len(list(Path("/dev/fd").iterdir())) + RESERVE
    if soft < others + MOST:
        soft = min(others + MOST, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, limits[1]))
    if soft <= others:
        raise TooFewFilesError(f"the limit of open files is {soft}, expected more than {others}; see ulimit -n")
    return min(soft - others, MOST)


class Connections(ServerState):
    """All that are open.

    Args:
        most: When there are so many, those that the server waits for are closed, and where it waits for none, the new
            one is told to come back later.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self._turned_away: deque[asyncio.Transport] = deque()

    @property
    def callers(self) -> set[Caller]:
        """Of whom none has been turned away."""
        return cast("set[Caller]", self.connections)

    def make_room(self) -> bool:
        """Whether there is a place for one more."""
        if len(self.callers) < self.most:
            return True
        logger.warning("%d connections: closing those that say nothing, else answering 503", self.most)
        order = list(LIMITS_S)
        waiting = [(order.index(phase), caller.since, caller) for caller in self.callers if (phase := caller.phase)]
        waiting.sort(key=lambda found: found[:2])
        for place, _, caller in waiting[: max(1, self.most // 10)]:  # some at once, since finding them takes a while
            if place == waiting[0][0]:
                caller.drop(503)
        return bool(waiting)

    def close_overdue(self) -> None:
        """Closes what has let the server wait too long."""
        now = time.monotonic()
        for caller in list(self.callers):
            state = caller.phase, caller.cycle
            if state != caller.state:
                caller.state, caller.since = state, now
            elif state[0] and now - caller.since > LIMITS_S[state[0]]:
                caller.drop(408)

    def turn_away(self, transport: asyncio.Transport, status: int) -> None:
        """Answers before there is a request; listens on for a moment, since closing would lose the answer."""
        if len(self._turned_away) == AT_ONCE:
            self._turned_away.popleft().abort()
        self._turned_away.append(transport)
        transport.set_protocol(asyncio.Protocol())
        transport.write(REFUSALS[status])
        asyncio.get_running_loop().call_later(LINGER_S, transport.abort)


class Caller(H11Protocol):
    """One connection."""

    server_state: Connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Takes it if there is room."""
        self.state: tuple[Phase | None, Any] = "head", None
        self.since = time.monotonic()
        if self.server_state.make_room():
            super().connection_made(transport)
        else:
            self.server_state.turn_away(transport, 503)

    @property
    def phase(self) -> Phase | None:
        """What the server waits for; None while the caller waits."""
        if self.transport.is_closing() or self.transport.get_write_buffer_size():
            return "writing"
        if self.conn.their_state is h11.SEND_BODY:
            return "body"
        if self.conn.their_state is h11.IDLE:
            return "head" if self.cycle is None or self.conn.trailing_data[0] else "idle"
        return None

    def drop(self, status: int) -> None:
        """Ends the connection; who is still to say what is wanted gets an answer."""
        self.server_state.callers.discard(self)
        if self.phase == "head":
            self.server_state.turn_away(self.transport, status)
            return
        if self.phase == "writing":  # else the system goes on offering what nobody reads
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.transport.abort()


class Server(uvicorn.Server):
    """Uvicorn with `Connections`."""

    def __init__(self, config: uvicorn.Config, connections: Connections) -> None:
        super().__init__(config)
        self.server_state = connections

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens; few are accepted at once, many may wait for it."""
        await super().startup(sockets)
        for listener in sockets or []:
            listener.listen(BACKLOG)

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second."""
        if counter % 10 == 0:
            cast(Connections, self.server_state).close_overdue()
        return await super().on_tick(counter)


def _refusal(status: str, message: str) -> bytes:
    body = f'{{"error":"{message}"}}'
    head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nretry-after: 1\r\nconnection: close"
    return f"HTTP/1.1 {status}\r\n{head}\r\n\r\n{body}".encode()


REFUSALS = {
    408: _refusal("408 Request Timeout", "the request did not come in time"),
    503: _refusal("503 Service Unavailable", "too many connections are open; try again"),
}
