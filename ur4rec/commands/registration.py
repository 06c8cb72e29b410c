"""`ur4rec register`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ur4rec.commands import locations
from ur4rec.commands.console import (
    ConfigOption,
    SequencesArgument,
    SetOption,
    TrackingOption,
    read_config,
    show,
    show_table,
)
from ur4rec.registry.mlflow_client import REGISTERED


def register(
    sequences: SequencesArgument,
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint folder.", parser=locations.folder)],
    memories: Annotated[Path, typer.Argument(help="Memories folder.", parser=locations.folder)],
    outputs: Annotated[
        Path, typer.Option(help="Folder with results.json and report.html; gets registration.json.", file_okay=False)
    ] = Path("outputs/ur4rec_moe"),
    tracking_uri: TrackingOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Log an evaluated model to MLflow and register it as the challenger.

    For example:

        ur4rec register outputs/sequences outputs/ur4rec_moe/stages/end_to_end/{checkpoint,memories}
    """
    from ur4rec.registry.config import RegistryConfig
    from ur4rec.registry.register import register_model

    registration = register_model(
        sequences,
        checkpoint,
        memories,
        outputs / "results.json",
        outputs / "report.html",
        read_config(config, settings).narrow(RegistryConfig),
        outputs / "registration.json",
        tracking_uri=tracking_uri,
    )
    show_table("registered", ("what", "value"), registration.model_dump().items())
    show(f"try it: ur4rec recommend --user USER_ID --model {REGISTERED}{registration.name}@{registration.alias}")
