"""Processes that move the champion: forked, all at once, from one that has imported MLflow."""

import multiprocessing
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from ur4rec.registry.champion import move as promotion_mover
from ur4rec.registry.champion.move import PromotionRefused
from ur4rec.registry.champion.promotion import Promotion, promote, roll_back
from ur4rec.registry.config import RegistryConfig

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["pytest", "mlflow", "ur4rec.registry.champion.promotion", "promoters"])


BUSY_MACHINE_S = 600.0
"""On which the server answers late, and that is not what is tested."""


def start(target: Any, *arguments: Any) -> ForkServerProcess:
    process = CONTEXT.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def promote_version(config: RegistryConfig, uri: str, version: str) -> None:
    promotion_mover.HOLD_LIMIT_S = BUSY_MACHINE_S
    promote(config, version, tracking_uri=uri, patience_s=0)


def roll_back_once(config: RegistryConfig, uri: str, version: str) -> None:
    promotion_mover.HOLD_LIMIT_S = BUSY_MACHINE_S
    roll_back(config, tracking_uri=uri, patience_s=0)


def compete(config: RegistryConfig, uri: str, version: str, line: Barrier, output: Path) -> None:
    """Promotes at the same moment as the others; leaves what came of it in a file."""
    promotion_mover.HOLD_LIMIT_S = BUSY_MACHINE_S
    line.wait()
    try:
        promotion = promote(config, version, tracking_uri=uri, patience_s=BUSY_MACHINE_S)
    except PromotionRefused as refused:
        output.write_text(f"refused {refused}")
    else:
        output.write_text(f"promoted {Promotion.model_validate(promotion).version}")
