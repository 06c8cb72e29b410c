"""Damaged files: does the command that reads one name it?

`python -m benchmarks.damaged_files` makes a small run with everything that it leaves behind, and damages its files one
by one: cut short, emptied, a bit flipped, replaced by text or by another file, each once with the digest that the
manifest has recorded and once with the digest taken again, so that the content alone is wrong. With the digest taken
again come edits of the content: other types, shapes, orders and ranges, missing columns, keys, tensors, NaN. Then the
commands that read the file run, in this process. An outcome is *named* (exit code 2, and the message has the file's
name), *harmless* (the command does not need the file: the result is the same, byte for byte), or one of three faults:
*unnamed* (exit code 2 without the name), *traceback*, *silent* (a result that differs, and no word).

What no check can know is left out: a flipped bit or another file of the same shape under a digest that fits makes
numbers that could have been learned. So with the digest taken again the first byte is flipped, and a file of tensors is
not replaced by another one.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from rich.table import Table
from typer.testing import CliRunner

from benchmarks.generated_data import Tables
from ur4rec.cli import app
from ur4rec.config import load_config
from ur4rec.data.config import DataConfig
from ur4rec.data.preprocess import preprocess_sequences
from ur4rec.data.sequences import load_sequences
from ur4rec.evaluation.candidates import load_candidates, write_candidates
from ur4rec.evaluation.config import CandidateConfig
from ur4rec.evaluation.results import load_results
from ur4rec.local import train_all
from ur4rec.recommender.bundle import write_bundle
from ur4rec.registry.gate.measurements import LoadedModel
from ur4rec.registry.warm_start import open_warm_start
from ur4rec.serving.identity import open_served
from ur4rec.storage.artifacts import MANIFEST, sha256_file, write_text_atomic
from ur4rec.terminal import PlainConsole
from ur4rec.text.config import EncodeConfig, TextConfig
from ur4rec.text.encode import encode_text
from ur4rec.text.generate import generate_text

USERS, ITEMS = 30, 24
SETTINGS = ["epochs_per_stage=1", "bootstrap_samples=100", "snapshot_base=2", "dataset_name=toy"]
TOY = ["--config", "toy", *(part for setting in SETTINGS for part in ("--set", setting))]
NAMED, HARMLESS, UNNAMED, TRACEBACK, SILENT = OUTCOMES = ("named", "harmless", "unnamed", "traceback", "silent")
KEPT, AGAIN = DIGESTS = ("kept", "again")

Damage = Callable[[Path], object]
Read = Callable[[Path, Path, Path], str]
"""Runs a command with the whole run, a copy of one of its folders and a scratch folder; returns what it made."""


@dataclass(frozen=True)
class Reader:
    """A command, and the folder of the run that it reads."""

    name: str
    folder: str
    read: Read


@dataclass(frozen=True)
class Case:
    """One damaged file and the command that reads it."""

    reader: Reader
    file: str
    damage: str
    digest: str

    def __str__(self) -> str:
        return f"{self.reader.name}: {self.reader.folder}/{self.file}, {self.damage}, digest {self.digest}"


class CommandFailed(Exception):
    """A command that ended with another exit code than 0; holds the code and what it said."""


def make_run(folder: Path) -> Path:
    """Everything that is damaged later, under one folder."""
    draw = np.random.default_rng(5)
    rows = [
        (f"u{user:02}", f"i{item:02}", 1_000_000 + 1000 * user + 60 * step)
        for user in range(USERS)
        for step, item in enumerate(draw.permutation(ITEMS)[: draw.integers(5, 13)])
    ]
    items = pd.DataFrame([(f"i{item:02}", f"Title {item}", "Drama|Comedy") for item in range(ITEMS)])
    tables = Tables(
        pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]),
        items.set_axis(["item_id", "title", "genres"], axis=1),
    )
    config = load_config("toy", dict(setting.split("=") for setting in SETTINGS))
    sequences, texts, embeddings = (folder / name for name in ("sequences", "texts", "embeddings"))
    preprocess_sequences(tables.write(folder / "raw"), sequences, config.narrow(DataConfig))
    generate_text(sequences, texts, config.narrow(TextConfig))
    encode_text(sequences, texts, embeddings, config.narrow(EncodeConfig), "cpu")
    run = train_all(sequences, embeddings, folder / "outputs", config, "cpu")
    write_bundle(sequences, run.checkpoint, folder / "bundle")
    write_candidates(folder / "candidates", sequences, load_sequences(sequences), CandidateConfig(num_candidates=5))
    (folder / "results").mkdir()
    shutil.copyfile(folder / "outputs/results.json", folder / "results/results.json")
    shutil.move(folder / "outputs/stages", folder / "stages")
    return folder


def _invoke(*arguments: object) -> str:
    result = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(app, [str(one) for one in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code:
        raise CommandFailed(result.exit_code, result.output)
    return result.output


def _generate(run: Path, folder: Path, scratch: Path) -> str:
    _invoke("text", "generate", folder, "-o", scratch / "made", *TOY)
    return _digest(scratch / "made")


def _encode(run: Path, folder: Path, scratch: Path) -> str:
    _invoke("text", "encode", run / "sequences", folder, "-o", scratch / "made", *TOY)
    return _digest(scratch / "made")


def _train(stage: str, previous: str) -> Read:
    def read(run: Path, folder: Path, scratch: Path) -> str:
        embeddings = folder if previous == "embeddings" else run / "embeddings"
        before = run / "stages/pretrain_sasrec" if previous == "embeddings" else folder
        options = ("--stage", stage, "--previous", before, "-o", scratch / "made", "--device", "cpu", *TOY)
        _invoke("train", run / "sequences", embeddings, *options)
        return sha256_file(scratch / f"made/checkpoint/{stage}_best.pt")

    return read


def _evaluate(run: Path, folder: Path, scratch: Path) -> str:
    _invoke("evaluate", run / "sequences", folder, "-o", scratch / "made", *TOY)
    return json.dumps(json.loads((scratch / "made/results.json").read_text())["test"])


def _outputs(*arguments: object) -> Read:
    return lambda run, folder, scratch: _invoke(*arguments, "--model", folder, "--sequences", run / "sequences")


def _bundle(*arguments: object) -> Read:
    return lambda run, folder, scratch: _invoke(*arguments, "--model", folder)


def _serve(run: Path, folder: Path, scratch: Path) -> str:
    with open_served(str(folder)) as (recommender, _):
        return str(recommender.recommend(["u01", "u02"], k=5).to_csv())


def _judge(run: Path, folder: Path, scratch: Path) -> str:
    data = load_sequences(run / "sequences")
    scores = LoadedModel(folder).scorer(data, data.histories("test"))(np.arange(1, 5))
    return str(scores.tolist())


def _start(run: Path, folder: Path, scratch: Path) -> str:
    start = open_warm_start(str(folder))
    assert start is not None
    return str(sum(tensor.double().sum().item() for tensor in start.model.state_dict().values()))


def _candidates(run: Path, folder: Path, scratch: Path) -> str:
    drawn = load_candidates(folder, load_sequences(run / "sequences"))
    return str((drawn.validation.tolist(), drawn.test.tolist()))


READERS = [
    Reader("text generate", "sequences", _generate),
    Reader(
        "text check", "texts", lambda run, folder, _: _invoke("text", "check", run / "sequences", "--texts", folder)
    ),
    Reader("text encode", "texts", _encode),
    Reader("train", "embeddings", _train("pretrain_retriever", "embeddings")),
    Reader("train", "stages/pretrain_retriever", _train("joint_finetune", "checkpoint")),
    Reader("evaluate", "stages/end_to_end/checkpoint", _evaluate),
    Reader("recommend", "outputs", _outputs("recommend", "--user", "u01")),
    Reader("memory show", "outputs", _outputs("memory", "show", "u01")),
    Reader("recommend", "bundle", _bundle("recommend", "--user", "u01", "--user", "u02")),
    Reader("memory stats", "bundle", _bundle("memory", "stats")),
    Reader("memory show", "bundle", _bundle("memory", "show", "u01")),
    Reader("serve", "bundle", _serve),
    Reader("gate", "bundle", _judge),
    Reader("warm start", "bundle", _start),
    Reader("candidates", "candidates", _candidates),
    Reader("results", "results", lambda run, folder, _: load_results(folder / "results.json").model_dump_json()),
]


def list_cases(run: Path) -> Iterator[Case]:
    """Every damage of every file of every folder, by each of its readers."""
    for reader in READERS:
        for path in _list_files(run / reader.folder):
            has_digest = path.name != MANIFEST and (path.parent / MANIFEST).is_file()
            digests = DIGESTS if has_digest else (KEPT,)
            edits = EDITS.get(path.name, EDITS.get(path.suffix, {}))
            name = path.relative_to(run / reader.folder).as_posix()
            yield from (Case(reader, name, damage, digest) for damage, digest in product(WRECKS, digests))
            yield from (Case(reader, name, damage, digests[-1]) for damage in edits)


def _list_files(folder: Path) -> list[Path]:
    """Files that somebody reads: event logs and reports are for people."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in WANTED)


def try_case(run: Path, case: Case, whole: str) -> tuple[str, str]:
    """Outcome of a case and what was said.

    Args:
        run: The run, which stays as it is.
        case: What to damage.
        whole: What the reader makes of the whole folder.
    """
    with tempfile.TemporaryDirectory(prefix="ur4rec-damaged-") as scratch:
        folder = Path(scratch, Path(case.reader.folder).name)
        shutil.copytree(run / case.reader.folder, folder)
        path = folder / case.file
        damage = WRECKS.get(case.damage) or EDITS.get(path.name, EDITS.get(path.suffix, {}))[case.damage]
        if case.digest == AGAIN and case.damage == FLIPPED:
            damage = _flip_first
        damage(path)
        if case.digest == AGAIN:
            digest_again(path)
        return _read(case, run, folder, whole)


def _read(case: Case, run: Path, folder: Path, whole: str) -> tuple[str, str]:
    try:
        made = read_quietly(case.reader, run, folder)
    except CommandFailed as error:
        code, said = error.args
        return (NAMED if code == 2 and _is_named(folder / case.file, said) else UNNAMED), said
    except Exception as error:  # whatever it is, it is counted
        if isinstance(error, ValueError) and type(error) is not ValueError:  # what a command reports in one line
            return (NAMED if _is_named(folder / case.file, str(error)) else UNNAMED), str(error)
        return TRACEBACK, f"{type(error).__name__}: {error}"
    return (HARMLESS if made == whole else SILENT), ""


def _is_named(path: Path, said: str) -> bool:
    """By its own name, or by the folder that it makes what it is, as a manifest or a configuration does."""
    return path.name in said or str(path.parent) in said.replace("\n", "")


def read_quietly(reader: Reader, run: Path, folder: Path) -> str:
    """What a reader makes of a folder; nothing is printed."""
    with tempfile.TemporaryDirectory(prefix="ur4rec-damaged-") as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            return reader.read(run, folder, Path(scratch)).replace(str(folder), "")


def digest_again(path: Path) -> None:
    """Gives a file the digest that it has now, in the manifest beside it."""
    location = path.parent / MANIFEST
    manifest = json.loads(location.read_text())
    manifest["files"][path.name] = sha256_file(path)
    location.write_text(json.dumps(manifest))


def _digest(folder: Path) -> str:
    return json.dumps(json.loads((folder / MANIFEST).read_text())["files"])


def _flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def _flip_first(path: Path) -> None:
    _flip(path, 0)


def _swap(path: Path) -> None:
    """Another file of the folder in its place; of another kind where it holds tensors."""
    files = [other for other in _list_files(path.parent) if other.parent == path.parent]
    later = files[files.index(path) + 1 :] + files[: files.index(path)]
    others = [other for other in later if path.suffix != ".pt" or other.suffix != ".pt"]
    path.write_bytes(others[0].read_bytes() if others else b"{}")


FLIPPED = "bit flipped"
WANTED = {".npy", ".npz", ".json", ".parquet", ".pt"}
WRECKS: dict[str, Damage] = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3]),
    "emptied": lambda path: path.write_bytes(b""),
    FLIPPED: lambda path: _flip(path, path.stat().st_size // 2),
    "text": lambda path: path.write_bytes(b"Not Found\n"),
    "swapped": _swap,
}


def _array(change: Callable[[Any], Any]) -> Damage:
    return lambda path: np.save(path, change(np.load(path)))


def _arrays(change: Callable[[dict[str, Any]], None]) -> Damage:
    def edit(path: Path) -> None:
        arrays = dict(np.load(path))
        change(arrays)
        np.savez(path, **arrays)

    return edit


def _json(change: Callable[[Any], Any]) -> Damage:
    def edit(path: Path) -> None:
        content = json.loads(path.read_text())
        replaced = change(content)
        path.write_text(json.dumps(content if replaced is None else replaced))

    return edit


def _table(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Damage:
    return lambda path: change(pd.read_parquet(path, dtype_backend="numpy_nullable")).to_parquet(path)


def _tensors(change: Callable[[dict[str, Any]], None]) -> Damage:
    def edit(path: Path) -> None:
        state = torch.load(path, weights_only=True)
        change(state)
        torch.save(state, path)

    return edit


def _with_first(kind: Callable[[torch.Tensor], bool], change: Callable[[torch.Tensor], object]) -> Damage:
    def edit(state: dict[str, Any]) -> None:
        name = next((name for name in state if kind(state[name]) and state[name].numel()), None)
        if name is not None:
            state[name] = change(state[name])
        else:
            state["unknown"] = torch.ones(1)

    return _tensors(edit)


def _fill(value: float) -> Callable[[Any], Any]:
    """The last number replaced, in a type that can hold it."""

    def change(array: Any) -> Any:
        array = array.clone() if isinstance(array, torch.Tensor) else array.copy()
        array[(-1,) * array.ndim] = value
        return array

    return change


def _put(key: str, value: object) -> Damage:
    return _json(lambda content: content.update({key: value}))


def _first_key(change: Callable[[dict[str, Any], str], object]) -> Damage:
    def edit(content: dict[str, Any]) -> None:
        change(content, next(iter(content)))

    return _json(edit)


_MAP = {
    "index twice": _json(lambda content: content.update(dict.fromkeys(list(content)[:2], 1))),
    "entry missing": _first_key(lambda content, key: content.pop(key)),
    "text for a number": _first_key(lambda content, key: content.update({key: "1"})),
    "indices from 0": _json(lambda content: {key: index - 1 for key, index in content.items()}),
    "a list": _json(list),
}
_TEXTS = {
    "entry missing": _first_key(lambda content, key: content.pop(key)),
    "number for a text": _first_key(lambda content, key: content.update({key: 7})),
    "another entry": _put("nobody's", "text"),
    "a list": _json(list),
}
_WHOLE_NUMBERS = {
    "other type": _array(lambda array: array.astype(np.int32)),
    "fractions": _array(lambda array: array.astype(np.float64)),
    "one dimension more": _array(lambda array: array[None]),
    "a column less": _array(lambda array: array[..., :-1]),
    "last row gone, first twice": _array(lambda array: np.concatenate([array[:1], array[:-1]])),
    "reversed": _array(lambda array: array[::-1]),
    "index 0": _array(lambda array: array * (np.arange(array.shape[-1]) != min(1, array.ndim - 1))),
    "negative": _array(lambda array: -array - 1),
    "out of range": _array(lambda array: array + 1_000_000),
}
_FRACTIONS = {
    "other type": _array(lambda array: array.astype(np.float64)),
    "one dimension more": _array(lambda array: array[None]),
    "a row more": _array(lambda array: np.concatenate([array[:1], array])),
    "NaN": _array(_fill(float("nan"))),
    "infinity": _array(_fill(float("inf"))),
}
_TABLE = {
    "column missing": _table(lambda table: table.drop(columns=table.columns[1])),
    "column of another type": _table(lambda table: table.assign(**{table.columns[1]: True})),
    "text of another type": _table(lambda table: table.assign(**{_text_column(table): 7})),
    "a gap": _table(lambda table: table.assign(**{_text_column(table): [None, *table[_text_column(table)][1:]]})),
    "reversed": _table(lambda table: table[::-1]),
    "a row less": _table(lambda table: table[1:]),
    "a row twice": _table(lambda table: pd.concat([table[:1], table])),
}


def _text_column(table: pd.DataFrame) -> str:
    return next(name for name in table.columns if name.endswith("_id"))


_ARRAYS = {
    "array missing": _arrays(lambda arrays: arrays.pop(next(iter(arrays)))),
    "array unknown": _arrays(lambda arrays: arrays.update(more=np.ones(1))),
    "other type": _arrays(lambda arrays: arrays.update({name: arrays[name].astype(np.int32) for name in arrays})),
    "negative": _arrays(lambda arrays: arrays.update({name: -arrays[name] for name in arrays})),
    "reversed": _arrays(lambda arrays: arrays.update({name: arrays[name][::-1] for name in arrays})),
    "cut": _arrays(lambda arrays: arrays.update({name: arrays[name][:-1] for name in arrays})),
}
_TENSORS = {
    "NaN": _with_first(torch.is_floating_point, _fill(float("nan"))),
    "infinity": _with_first(torch.is_floating_point, _fill(float("inf"))),
    "other type": _with_first(torch.is_floating_point, lambda tensor: tensor.double()),
    "other shape": _with_first(torch.is_floating_point, lambda tensor: tensor[..., :-1].clone()),
    "tensor missing": _tensors(lambda state: state.pop(next(iter(state), ""), None)),
    "tensor unknown": _tensors(lambda state: state.update(unknown=torch.ones(1))),
    "negative": _with_first(lambda tensor: tensor.dtype in (torch.int32, torch.int64), lambda tensor: -tensor - 1),
    "a list": _with_first(torch.is_floating_point, lambda tensor: tensor.tolist()),
}
_HISTORY = {
    "no stage": _put("stages", []),
    "stages missing": _first_key(lambda content, key: content.pop(key)),
    "stages of text": _put("stages", ["pretrain_sasrec"]),
}
_MODEL_CONFIG = {
    "number missing": _first_key(lambda content, key: content.pop(key)),
    "number as text": _put("num_items", "24"),
    "number below 1": _put("num_users", 0),
    "other number": _put("num_users", USERS + 1),
    "config of text": _put("config", "toy"),
    "unknown setting": _json(lambda content: content["config"].update(sasrec_width=16)),
}
_MANIFEST = {
    "schema of tomorrow": _put("schema_version", 2),
    "key missing": _first_key(lambda content, key: content.pop("files")),
    "files a list": _put("files", []),
    "no files": _put("files", {}),
    "details of text": _put("details", "toy"),
    "another producer": _put("producer", "somebody"),
}
_RESULTS = {
    "key missing": _first_key(lambda content, key: content.pop(key)),
    "text for a number": _json(lambda content: content["memory"].update(total_users="many")),
    "no system": _put("test", {}),
    "metric of 7": _json(lambda content: next(iter(content["test"].values()))["ndcg@10"].update(value=7)),
    "interval upside down": _json(lambda content: next(iter(content["test"].values()))["mrr"].update(ci95=[1, 0])),
}
EDITS: dict[str, dict[str, Damage]] = {
    "item_map.json": _MAP,
    "user_map.json": _MAP,
    "item_descriptions.json": _TEXTS,
    "user_preferences.json": _TEXTS,
    "history.json": _HISTORY,
    "model_config.json": _MODEL_CONFIG,
    "results.json": _RESULTS,
    MANIFEST: _MANIFEST,
    "item_descriptions.npy": _FRACTIONS,
    "user_preferences.npy": _FRACTIONS,
    ".npy": _WHOLE_NUMBERS,
    ".npz": _ARRAYS,
    ".parquet": _TABLE,
    ".pt": _TENSORS,
}


def tabulate(outcomes: Counter[tuple[str, str]]) -> Table:
    """A row a reader, a column an outcome."""
    table = Table("read by", title="damaged files", title_justify="left")
    for name in ("files damaged", *OUTCOMES):
        table.add_column(name, justify="right")
    for reader in dict.fromkeys(reader for reader, _ in outcomes):
        counts = [outcomes[reader, outcome] for outcome in OUTCOMES]
        table.add_row(reader, str(sum(counts)), *map(str, counts))
    totals = [sum(count for (_, found), count in outcomes.items() if found == outcome) for outcome in OUTCOMES]
    table.add_row("all", str(sum(totals)), *map(str, totals), style="bold")
    return table


def main(
    folder: Annotated[
        Path | None, typer.Argument(help="Where the run is, or is made; by default a temporary folder.")
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Try one case in so many.")] = 1,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="JSON file to write.", dir_okay=False)] = None,
) -> None:
    """Damages, reads and prints a table and every fault; exit code 1 if there is a fault."""
    with tempfile.TemporaryDirectory(prefix="ur4rec-bench-") as temporary:
        run = folder or Path(temporary)
        if not (run / "bundle").is_dir():
            make_run(run)
        wholes = {id(reader): read_quietly(reader, run, run / reader.folder) for reader in READERS}
        tried = [(case, *try_case(run, case, wholes[id(case.reader)])) for case in list(list_cases(run))[::every]]
    outcomes = Counter((f"{case.reader.name} ({case.reader.folder})", outcome) for case, outcome, _ in tried)
    console = PlainConsole(width=140)
    for case, outcome, said in tried:
        if outcome not in (NAMED, HARMLESS):
            console.print(f"{outcome}: {case}: {said}", markup=False)
    console.print(tabulate(outcomes))
    if output:
        report = [{"case": str(case), "outcome": outcome, "said": said} for case, outcome, said in tried]
        write_text_atomic(output, json.dumps(report, indent=1) + "\n")
    raise typer.Exit(any(outcome not in (NAMED, HARMLESS) for _, outcome, _ in tried))


if __name__ == "__main__":
    typer.run(main)
