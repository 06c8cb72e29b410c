"""The examples in the docstrings of the texts hold."""

import doctest
from types import ModuleType

import pytest

from ur4rec.text import config, requests, sentences, snapshots
from ur4rec.text.leaks import title_mentions


@pytest.mark.parametrize(
    "module", [config, requests, sentences, snapshots, title_mentions], ids=lambda one: one.__name__
)
def test_examples(module: ModuleType) -> None:
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0
