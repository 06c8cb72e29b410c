"""Runs the HTTP server until it is told to stop, with a log that faults of callers cannot fill."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import uvicorn

from ur4rec.recommender.recommender import Recommender
from ur4rec.recommender.requests import Request, resolve
from ur4rec.serving.app import create_app
from ur4rec.serving.connections import AT_ONCE, BACKLOG, LIMITS_S, Caller, Connections, Server, count_affordable
from ur4rec.serving.identity import Identity
from ur4rec.serving.microbatches import Microbatches

GRACE_S = 20
"""For answers that are on their way when the server is told to stop."""
WINDOW_S = 60
"""In which one line of a kind is written."""

Kind = tuple[object, ...]


class ServeError(ValueError):
    """The server cannot start; says why."""


def serve(
    recommender: Recommender,
    identity: Identity,
    host: str,
    port: int,
    threads: int,
    announce: Callable[[str], None],
) -> None:
    """Answers calls until SIGTERM or SIGINT, then finishes those it has and returns.

    Args:
        recommender: The loaded model.
        identity: What it is.
        host: Address to listen on.
        port: 0 takes a free one.
        threads: Of one matrix product.
        announce: Gets the address once the server answers calls.

    Raises:
        ServeError: The address cannot be listened on.
        TooFewFilesError: The limit of open files leaves no room for callers.
        KeyboardInterrupt: SIGINT came.
    """
    scoring = ThreadPoolExecutor(1, "score", initializer=torch.set_num_threads, initargs=(threads,))
    with _listen(host, port) as listener, scoring as executor, limited_log():
        executor.submit(_warm_up, recommender).result()
        gc.freeze()  # the model and the libraries stay: a collection that walks through them delays an answer by 50 ms
        app = create_app(recommender, identity, Microbatches(recommender.answer, executor))
        config = uvicorn.Config(
            app,
            http=Caller,
            ws="none",
            loop="asyncio",  # whatever else is installed: it accepts `backlog` connections before it looks at one
            backlog=AT_ONCE,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=int(LIMITS_S["idle"]),
            timeout_graceful_shutdown=GRACE_S,
        )
        server = Server(config, Connections(count_affordable()))
        # In force before uvicorn's own handler and after it, when uvicorn raises what stopped it once more.
        signal.signal(signal.SIGTERM, lambda *_: setattr(server, "should_exit", True))
        found, number = listener.getsockname()[:2]
        announce(f"http://[{found}]:{number}" if ":" in found else f"http://{found}:{number}")
        server.run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        number = error.errno or 0  # below 0: of the resolver
        reason = os.strerror(number) if number > 0 else error.strerror
        raise ServeError(f"{host}:{port}: {reason}; choose another --host or --port") from None
    # Connections inherit it. Without, the body of an answer can wait 40 ms until its headers are acknowledged:
    # asyncio does as much only for sockets that name their protocol, and `create_server` names none.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _warm_up(recommender: Recommender) -> None:
    """One answer of each kind, so that the first caller does not wait for what libraries put off."""
    known = next(iter(recommender.bundle.user_index), None)
    history = [str(recommender.bundle.item_ids[index]) for index in recommender.bundle.fallback_order[:3]]
    requests = [Request(known), Request(known, seq_end=1), Request(history=history), Request()]
    recommender.answer([resolve(request, recommender.bundle) for request in requests[0 if known else 2 :]])


@dataclass
class _Seen:
    since: float
    message: str
    left_out: int = 0


class Repeats(logging.Filter):
    """Lets one record of a kind through in `WINDOW_S`; the next one says how many there were in between.

    A kind is a place in the code, with the place that an exception comes from, so there are never many.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[Kind, _Seen] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        seen = self._seen.get(kind := _kind(record))
        if seen is not None and record.created - seen.since < WINDOW_S:
            seen.left_out += 1
            return False
        message = record.getMessage()
        self._seen[kind] = _Seen(record.created, message.partition("\n")[0])
        if seen is not None and seen.left_out:
            record.msg, record.args = f"{message.rstrip()} ({seen.left_out:,} more of this since the last one)", None
        return True

    def summarise(self) -> list[str]:
        """What was left out and not yet said."""
        return [f"{seen.message} ({seen.left_out:,} more of this)" for seen in self._seen.values() if seen.left_out]


def _kind(record: logging.LogRecord) -> Kind:
    error = record.exc_info[1] if record.exc_info else None
    trace = error.__traceback__ if error else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    origin = (type(error), trace.tb_frame.f_code, trace.tb_lineno) if trace else (type(error),)
    return record.pathname, record.lineno, *origin


@contextmanager
def limited_log() -> Iterator[None]:
    """Warnings and errors go to stderr until the block ends, which says what was left out."""
    handler, repeats = logging.StreamHandler(), Repeats()
    handler.setLevel(logging.WARNING)
    handler.addFilter(repeats)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        for line in repeats.summarise():
            handler.stream.write(f"{line}\n")
