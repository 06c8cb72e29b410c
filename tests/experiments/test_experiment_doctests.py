"""The examples in the docstrings hold."""

import doctest

import pytest

from ur4rec.commands import experiments
from ur4rec.experiments import search_space


@pytest.mark.parametrize("module", [search_space, experiments], ids=lambda module: module.__name__)
def test_examples(module):
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0
