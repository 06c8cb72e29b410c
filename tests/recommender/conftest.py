"""Loads the fixtures that this folder shares with others."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("trained_toys")
