"""`ur4rec text`: generate, encode."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ur4rec.commands.console import (
    ConfigOption,
    DeviceOption,
    OutputOption,
    SequencesArgument,
    SetOption,
    read_config,
    show,
)

text_app = typer.Typer(help="Write and encode texts about users and items.", no_args_is_help=True)


@text_app.command()
def generate(
    sequences: SequencesArgument,
    output: OutputOption = Path("outputs/llm_text"),
    item_text: Annotated[
        Path | None, typer.Option(help="Item texts that exist: JSON, item id → text.", exists=True)
    ] = None,
    user_text: Annotated[
        Path | None,
        typer.Option(
            help="User texts that exist: JSON, user id → text; or Parquet: user_id, as_of, text.", exists=True
        ),
    ] = None,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Write a description of every item and the preference texts of every user.

    For example:

        ur4rec text generate outputs/sequences -o outputs/llm_text

        ur4rec text generate outputs/sequences --item-text item_descriptions.json
    """
    from ur4rec.text.config import TextConfig
    from ur4rec.text.generate import generate_text

    section = read_config(config, settings).narrow(TextConfig)
    generate_text(sequences, output, section, item_text=item_text, user_text=user_text)
    show(f"texts: {output}")


@text_app.command()
def encode(
    sequences: SequencesArgument,
    texts: Annotated[Path, typer.Argument(help="Texts folder.", exists=True, file_okay=False)],
    output: OutputOption = Path("outputs/text_embeddings"),
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Embed the texts with a frozen sentence encoder.

    For example:

        ur4rec text encode outputs/sequences outputs/llm_text -o outputs/text_embeddings

        ur4rec text encode outputs/sequences outputs/llm_text --set text_model_name=/models/my-encoder
    """
    from ur4rec.text.config import EncodeConfig
    from ur4rec.text.encode import encode_text

    section = read_config(config, settings).narrow(EncodeConfig)
    encode_text(sequences, texts, output, section, device=device)
    show(f"embeddings: {output}")
