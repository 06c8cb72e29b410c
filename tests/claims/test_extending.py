"""The examples of the page on extending, each run where it would stand."""

import asyncio
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from ur4rec.data.formats.streams import TextFile
from ur4rec.data.sequences import Sequences
from ur4rec.data.sources import fetch_dataset
from ur4rec.evaluation.baselines import TrainingPrefixes
from ur4rec.models.config import RetrieverConfig
from ur4rec.models.experts import Context
from ur4rec.ranking import metrics
from ur4rec.ranking.lists import find_lists
from ur4rec.storage.objects import Location
from ur4rec.text.requests import ItemRequest, UserRequest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE, re.DOTALL))
"""File → what the page adds to it."""
NEW_FILES = {"ur4rec/text/titles.py", "ur4rec/text/llm/example_client.py", "ur4rec/storage/azure.py"}


def add_to(file: str) -> dict[str, Any]:
    """The names of a module with those of the example."""
    names: dict[str, Any] = {"__name__": "example"}
    if file not in NEW_FILES:
        names |= vars(import_module(file.removesuffix(".py").replace("/", ".")))
    exec(compile("from __future__ import annotations\n" + EXAMPLES[file], file, "exec"), names)
    return names


def ignore(_: int) -> None:
    """No progress to show."""


def evaluate_in(file: str) -> Any:
    """What the expression of an example is."""
    return eval(EXAMPLES[file], dict(vars(import_module(file.removesuffix(".py").replace("/", ".")))))


@pytest.fixture
def data() -> Sequences:
    """Two users; the only interaction that is among the newest tenth is with item 3, and nobody has item 4."""
    train = np.array([(1, 1, 10), (1, 2, 20), (2, 1, 10), (2, 3, 40)])
    val, test = np.array([(1, 3, 30), (2, 2, 50)]), np.array([(1, 4, 35), (2, 4, 70)])
    return Sequences("toy", train, val, test, ("", "a", "b"), ("", *"1234"), pd.DataFrame(), "digest")


def test_every_file_and_page_that_the_page_names_is_there() -> None:
    files = set(re.findall(r"`((?:ur4rec|tests)/[\w/]+\.(?:py|yaml))`", PAGE)) - NEW_FILES
    assert len(files) > 20
    assert {file for file in files if not (ROOT / file).is_file()} == set()
    assert {page for page in re.findall(r"\]\(([\w.]+\.md)", PAGE) if not (ROOT / "docs" / page).is_file()} == set()


def test_baseline(data: Sequences) -> None:
    trending = add_to("ur4rec/evaluation/baselines.py")["Trending"]
    training = TrainingPrefixes(data.histories("validation"), data.num_items)
    assert trending(training, data.histories("test"))(np.array([1, 2])).tolist() == [[0, 0, 0, 1, 0]] * 2


def test_metric_of_a_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = evaluate_in("ur4rec/ranking/metrics.py")
    monkeypatch.setattr(metrics, "RANK_METRICS", (*metrics.RANK_METRICS, metric))
    values = metrics.per_user_metrics(np.array([[1, 1], [3, 3], [2, 3]]))[metric.name]
    assert values == pytest.approx([1.0, 0.64, (0.8 + 0.64) / 2])


def test_metric_of_lists(data: Sequences) -> None:
    cold_share = add_to("ur4rec/ranking/lists.py")["ColdShare"](data)
    cold_share.add(find_lists(torch.tensor([[0.0, 4, 3, 2, 1]]), torch.zeros(1, 5, dtype=torch.bool), length=4))
    assert cold_share.value() == 1 / 4


def test_slice(data: Sequences) -> None:
    groups = evaluate_in("ur4rec/evaluation/slices.py").groups(data, data.test)
    assert [(group.low, group.positions.tolist()) for group in groups] == [(35, [0]), (70, [1])]


def test_provider_of_texts() -> None:
    titles = add_to("ur4rec/text/titles.py")["TitlesProvider"]()
    films = [ItemRequest("1", "Up"), ItemRequest("2", "Heat"), ItemRequest("3", "")]
    users = [UserRequest("u", films, [1, 2, 3])]
    told = [*titles.describe_items(films, ignore), *titles.describe_users(users, ignore)]
    assert [text.text for text in told] == ["Up.", "Heat.", "Item 3.", "Up. Heat. Item 3."]
    assert {text.source for text in told} == {"titles"}


def test_language_model_service() -> None:
    client = add_to("ur4rec/text/llm/example_client.py")["ExampleClient"](None, "sk", 1.0)
    assert client._host == "api.example.com"
    asyncio.run(client.aclose())


def test_expert() -> None:
    expert = add_to("ur4rec/models/experts.py")["HistoryMeanExpert"](RetrieverConfig(retriever_output_dim=2), 3)
    torch.nn.init.eye_(expert.project.weight)
    torch.nn.init.zeros_(expert.project.bias)
    identity, nothing = torch.tensor([[[1.0, 0], [3, 4], [9, 9]]]), torch.zeros(1, 3, 2)
    every = Context(identity, nothing, False, nothing, torch.zeros(1, 3, 3, dtype=torch.bool), None)
    output, available = expert(torch.zeros(1, 3, 2), every)
    assert output[0, :2].tolist() == [[1, 0], [2, 2]]
    assert available.all()
    one = Context(identity, nothing, False, nothing, torch.zeros(1, 1, 3, dtype=torch.bool), torch.tensor([1]))
    assert expert(torch.zeros(1, 1, 2), one)[0].tolist() == [[[2, 2]]]


def test_object_store() -> None:
    with add_to("ur4rec/storage/azure.py")["AzureStore"](Location("az", "bucket", "a")) as store:
        assert str(store.location) == "az://bucket/a"


def test_public_data_set(tmp_path: Path) -> None:
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "plays.tsv").write_text("ann\tsong\t10\nbob\tsong\t20\n")
    folder = fetch_dataset(add_to("ur4rec/data/movielens.py")["PLAYS"], tmp_path / "published", tmp_path / "cache")
    assert (folder / "interactions.csv").read_text() == "user_id,item_id,timestamp\nann,song,10\nbob,song,20"
    assert (folder / "items.csv").read_text() == "item_id,title\nsong,song"


def test_published_file_without_column_names(tmp_path: Path) -> None:
    layout = evaluate_in("ur4rec/data/formats/known_layouts.py")
    path = tmp_path / "plays.log"
    path.write_text("P1\tS7\t1500000000\n")
    assert layout.fits(TextFile(path))
    assert layout.open(TextFile(path)).read(["item_id"]).columns.to_pydict() == {"item_id": ["S7"]}
