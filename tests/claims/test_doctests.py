"""The examples in the docstrings hold."""

import doctest
from types import ModuleType

import pytest

from ur4rec.commands import experiments
from ur4rec.evaluation import report, slices
from ur4rec.experiments import search_space
from ur4rec.ranking import bootstrap, metrics, ranks
from ur4rec.text import config, requests, sentences, snapshots
from ur4rec.text.leaks import title_mentions
from ur4rec.training import config as training_config
from ur4rec.training import cooccurrence, scoring, trainer, windows

MODULES = (
    *(report, slices, search_space, experiments, bootstrap, metrics, ranks),
    *(config, requests, sentences, snapshots, title_mentions),
    *(training_config, cooccurrence, scoring, trainer, windows),
)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_examples(module: ModuleType) -> None:
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0
