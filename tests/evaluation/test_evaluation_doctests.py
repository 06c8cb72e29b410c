"""The examples in the docstrings hold."""

import doctest

import pytest

from ur4rec.evaluation import report, slices


@pytest.mark.parametrize("module", [report, slices], ids=lambda module: module.__name__)
def test_examples(module):
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0
