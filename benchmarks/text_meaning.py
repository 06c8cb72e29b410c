"""Item texts by a language model against the template's, none, and a control: the same texts shuffled.

`python -m benchmarks.text_meaning SEQUENCES ITEM_TEXT` writes and encodes the texts, trains every kind with every seed,
and compares two scores: that of the whole system, and the retriever's own after its stage. Users have the template's
texts throughout; `shuffled` gives every item another item's text and every sentence of a user another sentence.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.seed_by_seed import train_seed_by_seed
from ur4rec.commands.console import report_errors
from ur4rec.commands.experiments import end_with, show_tables
from ur4rec.config import SHIPPED, Config, load_config
from ur4rec.data.sequences import load_sequences
from ur4rec.experiments.ablate import gather_units, list_units, tabulate
from ur4rec.experiments.ablation_table import write_ablation
from ur4rec.experiments.stage_cache import read_inputs
from ur4rec.experiments.variants import Ablation, Variant
from ur4rec.models.config import Part
from ur4rec.storage.artifacts import sha256_file
from ur4rec.text.config import EncodeConfig, TextConfig
from ur4rec.text.encode import encode_text
from ur4rec.text.generate import generate_text
from ur4rec.training.config import TextControl
from ur4rec.training.stage_names import Stage

FOLDER = Path("outputs/bench/text_meaning")
RETRIEVER_SUFFIX = "_retriever"
LANGUAGE_MODEL, TEMPLATE = "language_model", "template"
SCORES = ((Part.FUSED, Stage.END_TO_END), (Part.RETRIEVER, Stage.PRETRAIN_RETRIEVER))


@dataclass(frozen=True)
class Kind:
    """One kind of text: which embeddings, and what is done to them."""

    description: str
    source: str
    control: TextControl = TextControl.NONE


KINDS = {
    LANGUAGE_MODEL: Kind("Item texts by a language model", LANGUAGE_MODEL),
    TEMPLATE: Kind("Item texts by the template", TEMPLATE),
    "shuffled": Kind("Texts by a language model, shuffled", LANGUAGE_MODEL, TextControl.SHUFFLED),
    "absent": Kind("No texts", LANGUAGE_MODEL, TextControl.ABSENT),
}


def make_embeddings(sequences: Path, item_text: Path, folder: Path, config: Config) -> dict[str, Path]:
    """Writes and encodes both sources of texts; equal texts leave what was trained from them in use."""
    embeddings = {}
    for source, file in ((LANGUAGE_MODEL, item_text), (TEMPLATE, None)):
        texts, embeddings[source] = folder / "texts" / source, folder / "embeddings" / source
        generate_text(sequences, texts, config.narrow(TextConfig), file)
        encode_text(sequences, texts, embeddings[source], config.narrow(EncodeConfig))
    return embeddings


def list_variants(part: Part, stage: Stage) -> dict[str, Variant]:
    """One for each kind of text; names tell the two scores apart."""
    suffix = RETRIEVER_SUFFIX if part is Part.RETRIEVER else ""
    return {
        name + suffix: Variant(
            description=kind.description,
            settings={"text_control": kind.control.value} if kind.control is not TextControl.NONE else {},
            part=part,
            stage=stage,
        )
        for name, kind in KINDS.items()
    }


def main(
    sequences: Annotated[Path, typer.Argument(help="Sequences folder.", exists=True, file_okay=False)],
    item_text: Annotated[Path, typer.Argument(help="JSON file, item id → text.", exists=True, dir_okay=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")] = FOLDER,
    seeds: Annotated[int, typer.Option(min=1, help="The seeds 1 to this.")] = 5,
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at once.")] = 2,
    config: Annotated[str, typer.Option("--config", "-c", help="Shipped configuration or YAML file.")] = str(SHIPPED),
) -> None:
    """Train what is missing and print the tables; a run that was stopped goes on."""
    with report_errors():
        base, data = load_config(config), load_sequences(sequences)
        embeddings = make_embeddings(sequences, item_text, output, base)
        inputs = {source: read_inputs(sequences, folder, "cpu") for source, folder in embeddings.items()}
        scores = [list_variants(*score) for score in SCORES]
        every = Ablation(
            {name: variant for each in scores for name, variant in each.items()},
            range(1, seeds + 1),
            reference=LANGUAGE_MODEL,
        )
        units = list_units(output, base, every, lambda name: inputs[KINDS[name.removesuffix(RETRIEVER_SUFFIX)].source])
        finished, failures = train_seed_by_seed(units, every, jobs)
        note = f"Digest of the file of item texts: `{sha256_file(item_text)[:8]}`"
        for (part, _), variants in zip(SCORES, scores, strict=True):
            ablation = Ablation(variants, every.seeds, reference=next(iter(variants)))
            table = tabulate(data, gather_units(finished, ablation), base, ablation, failures, [note])
            (output / part).mkdir(exist_ok=True)
            write_ablation(table, output / part)
            show_tables(table, output / part)
    end_with(failures, f"logs: {output / 'units'}")


if __name__ == "__main__":
    typer.run(main)
