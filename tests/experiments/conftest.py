"""Loads the fixtures that this folder shares with the tests of its commands."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("finished_experiments")
