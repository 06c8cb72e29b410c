"""`ur4rec serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from ur4rec.commands.console import TrackingOption, show
from ur4rec.registry.mlflow_client import REGISTERED


def serve(
    model: Annotated[
        str, typer.Option("--model", "-m", envvar="UR4REC_MODEL", help="models:/NAME@ALIAS or a bundle.")
    ] = f"{REGISTERED}ur4rec@champion",
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is every network.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8080,
    threads: Annotated[int, typer.Option(min=1, help="Of one matrix product; more help large catalogues only.")] = 1,
    tracking_uri: TrackingOption = None,
) -> None:
    """Answer top-K requests over HTTP until SIGTERM or Ctrl-C.

    For example:

        ur4rec serve --model models:/ur4rec@challenger --port 8080

        curl -s localhost:8080/recommend -d '{"requests": [{"user_id": "1"}], "k": 5}'
    """
    from ur4rec.serving.http_server import serve as run
    from ur4rec.serving.identity import open_served

    with open_served(model, tracking_uri) as (recommender, identity):
        named = f"{model} (version {identity.version})" if identity.version else model
        run(recommender, identity, host, port, threads, lambda address: show(f"serving {named} on {address}"))
    show("stopped")
