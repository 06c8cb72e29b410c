"""Shows a stage in MLflow while it trains, from a thread of its own: training waits for no server, and none ends it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from ur4rec.registry.mlflow_client import open_mlflow
from ur4rec.registry.pipeline_run import FINISHED, KILLED, describe_end, find_pipeline_id, open_stage
from ur4rec.registry.run_log import find_preset_run

if TYPE_CHECKING:
    from mlflow import MlflowClient

RETRY_S = 30.0
"""How long a server that failed is left alone."""
LAST_S, STOPPED_S = 20.0, 5.0
"""How long the end of a stage, and one that is stopped, wait until all is sent."""
LATER = "its curves are logged when the model is registered"
P = ParamSpec("P")
T = TypeVar("T")


def track(run: Callable[Concatenate[str, P], T], stage: str, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a stage, and show in MLflow how it goes where it is a task of a pipeline; MLflow's errors are a line each.

    MLflow's address is that of the environment: a parameter would be part of the cache key.

    Args:
        run: `run_stage`, or what takes its `observe`.
        stage: Name of the stage.
        args: Further arguments of `run`.
        kwargs: The same.
    """
    if not find_pipeline_id() and not find_preset_run(None):
        return run(stage, *args, **kwargs)
    live = LiveStage(stage)
    try:
        outcome = cast(Callable[..., T], run)(stage, *args, **kwargs, observe=live.observe)
    except BaseException as error:
        live.end(*describe_end(error))
        raise
    live.end(FINISHED)
    return outcome


class LiveStage:
    """Sends what a stage tells; what a server that is away has missed is sent when it is back.

    Args:
        stage: Name of the stage.
    """

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._preset = find_preset_run(None)
        self._told: tuple[Mapping[str, Any], Sequence[Mapping[str, float]]] = ({}, [])
        self._outcome: tuple[str, str] | None = None
        self._news, self._over = Event(), Event()
        self._warned = False
        self._thread = Thread(target=self._work, name=f"mlflow {stage}", daemon=True)
        self._thread.start()

    def observe(self, settings: Mapping[str, Any], series: Sequence[Mapping[str, float]]) -> None:
        """Take the settings of the stage and the numbers of all its epochs so far; returns at once."""
        self._told = settings, list(series)
        self._news.set()

    def end(self, status: str, reason: str = "") -> None:
        """Take how the stage ended, and wait a while until MLflow knows."""
        self._outcome = status, reason
        self._over.set()
        self._news.set()
        limit_s = STOPPED_S if status == KILLED else LAST_S
        self._thread.join(limit_s)
        if self._thread.is_alive():
            self._warn(f"no answer within {limit_s:g} s")

    def _work(self) -> None:
        self._news.wait()  # a stage that the system lacks ends without a word
        is_last = self._outcome is not None and self._outcome[0] == FINISHED and not self._told[1]
        while not is_last:
            is_last = self._over.is_set()
            try:
                with open_mlflow() as client:
                    self._follow(client)
                return
            except Exception as error:  # whatever MLflow and what it rests on raise
                self._warn(" ".join(str(error).split()) or type(error).__name__)
                self._news.set()
            if not is_last:
                self._over.wait(RETRY_S)

    def _follow(self, client: MlflowClient) -> None:
        runs = open_stage(client, self._stage, self._preset)
        if runs is None:
            self._warn("this server is not the one that the run was told")
            return
        if runs.link:
            print(f"MLflow: {self._stage}: {runs.link}", flush=True)
        while True:
            self._news.wait()
            self._news.clear()
            outcome = self._outcome  # before what was told, which is then all there is
            runs.log(*self._told)
            if outcome:
                runs.close(*outcome)
                return

    def _warn(self, problem: str) -> None:
        if not self._warned:
            self._warned = True
            print(f"MLflow: {self._stage}: {problem}; {LATER}, training goes on", flush=True)
