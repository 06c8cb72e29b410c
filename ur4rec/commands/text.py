"""The commands `ur4rec text`: generate, check, encode."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ur4rec.commands import locations
from ur4rec.commands.console import (
    ConfigOption,
    DeviceOption,
    OptionError,
    OutputOption,
    SequencesArgument,
    SetOption,
    read_config,
    show,
    show_table,
)
from ur4rec.text.provider_table import PROVIDERS

if TYPE_CHECKING:
    from ur4rec.text.config import TextConfig
    from ur4rec.text.estimate import Calls

language_model_option = partial(typer.Option, rich_help_panel="Language model")
ItemTextOption = Annotated[
    Path | None, typer.Option(help="Item texts that exist: JSON, item id → text.", parser=locations.file)
]
UserTextOption = Annotated[
    Path | None,
    typer.Option(
        help="User texts that exist: JSON, user id → text; or Parquet: user_id, as_of, text.", parser=locations.file
    ),
]

text_app = typer.Typer(help="Write and encode texts about users and items.", no_args_is_help=True)


@text_app.command()
def generate(
    sequences: SequencesArgument,
    output: OutputOption = Path("outputs/llm_text"),
    item_text: ItemTextOption = None,
    user_text: UserTextOption = None,
    provider: Annotated[str | None, language_model_option(help=f"{', '.join(PROVIDERS)}.")] = None,
    model: Annotated[str | None, language_model_option(help="Model of the provider, such as qwen-flash.")] = None,
    cache: Annotated[
        str | None,
        language_model_option(help="Folder, gs://bucket/prefix or s3://bucket/prefix that keeps the answers."),
    ] = None,
    estimate: Annotated[
        bool, language_model_option("--estimate", help="Print calls, tokens and price; send nothing.")
    ] = False,
    budget: Annotated[
        float | None, language_model_option(min=0, help="Most to spend, in the currency of the prices.")
    ] = None,
    max_failed_share: Annotated[
        str | None, language_model_option(help="Share of texts that may fall back to the template.")
    ] = None,
    prices: Annotated[
        Path | None, language_model_option(help="YAML table of prices; else the shipped one.", exists=True)
    ] = None,
    config: ConfigOption = None,
    settings: SetOption = None,
) -> None:
    """Write a description of every item and the preference texts of every user.

    The key of a language model is read from the environment, such as DASHSCOPE_API_KEY. Answers are kept: what was paid
    for once is never asked for again, not even after a kill.

    For example:

        ur4rec text generate outputs/sequences -o outputs/llm_text

        ur4rec text generate outputs/sequences --item-text item_descriptions.json

        ur4rec text generate outputs/sequences --provider dashscope --estimate

        ur4rec text generate outputs/sequences --provider dashscope --budget 2 --cache gs://bucket/texts
    """
    from ur4rec.config_section import quote_value
    from ur4rec.text.config import TextConfig
    from ur4rec.text.generate import generate_text

    named = {
        "text_provider": provider,
        "text_model": model,
        "text_cache": cache,
        "text_prices": str(prices) if prices else None,
    }
    values = {
        **{key: quote_value(text) for key, text in named.items() if text is not None},
        "text_max_failed_share": max_failed_share,
        "text_budget": budget,
    }
    overrides = [*(settings or ()), *(f"{key}={value}" for key, value in values.items() if value is not None)]
    section = read_config(config, overrides).narrow(TextConfig)
    if estimate:
        _show_estimate(sequences, section, item_text, user_text)
        return
    generate_text(sequences, output, section, item_text, user_text)
    show(f"texts: {output}")


def _show_estimate(sequences: Path, config: TextConfig, item_text: Path | None, user_text: Path | None) -> None:
    from ur4rec.text.estimate import estimate_texts

    if not config.asks_a_model:
        show(f"the {config.text_provider} provider makes no calls; choose another, as in --provider dashscope")
        return
    found = estimate_texts(sequences, config, item_text, user_text)
    columns = ("texts", "calls", "tokens in", "tokens out", "price")

    def list_cells(calls: Calls) -> tuple[object, ...]:
        price = "price unknown" if calls.cost is None else f"{calls.cost:.4f} {found.currency}"
        return calls.num_texts, calls.num_calls, calls.tokens_in, calls.tokens_out, price

    show_table(f"Estimate for {found.model}, prices as of {found.prices_as_of}", columns, [list_cells(found)])
    by_base = [
        (f"{each.snapshot_base}{note}", *list_cells(each.calls), f"{100 * each.covered_share:.1f} %")
        for note, each in zip(("", ", shipped"), found.users, strict=False)
    ]
    title = "Texts of users alone" + "; shipped: with the shipped run's grid" * (len(found.users) - 1)
    show_table(title, ("snapshot_base", *columns, "users with a text at their test"), by_base)


@text_app.command()
def check(
    sequences: SequencesArgument,
    texts: Annotated[Path | None, typer.Option(help="Texts folder.", parser=locations.folder)] = None,
    user_text: UserTextOption = None,
    report: Annotated[Path | None, typer.Option(help="JSON file to write.", dir_okay=False)] = None,
) -> None:
    """Check that the texts of users know nothing of what the users did later; exit code 2 if they do.

    Our own texts are checked exactly, by what they were written from. Imported texts are checked by how much more often
    they name a user's held-out items than equally popular items that the user never touched.

    For example:

        ur4rec text check outputs/sequences --texts outputs/llm_text

        ur4rec text check outputs/sequences --user-text user_preferences.json --report leaks.json
    """
    from ur4rec.text.leaks.check import check_leaks, describe_leaks, write_report

    if (texts is None) == (user_text is None):
        raise OptionError("pass either --texts FOLDER or --user-text FILE")
    found = check_leaks(sequences, texts, user_text)
    show(describe_leaks(found))
    if report:
        write_report(found, report)
    found.raise_for_leaks()


@text_app.command()
def encode(
    sequences: SequencesArgument,
    texts: Annotated[Path, typer.Argument(help="Texts folder.", parser=locations.folder)],
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
