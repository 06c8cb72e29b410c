"""The examples in the docstrings hold."""

import doctest

import pytest

from ur4rec.training import cooccurrence, scoring, stages, trainer, windows


@pytest.mark.parametrize(
    "module", [cooccurrence, scoring, stages, trainer, windows], ids=lambda module: module.__name__
)
def test_examples(module):
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0
