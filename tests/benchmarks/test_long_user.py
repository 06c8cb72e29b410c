import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from benchmarks import long_user


def test_every_trigger_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_user, "STEPS", 5)
    output = tmp_path / "long_user.json"
    app = typer.Typer()
    app.command()(long_user.main)
    sizes = ["--users", "3", "--length", "4", "--longest", "30", "--items", "20", "--repeats", "1"]
    result = CliRunner().invoke(app, ["-o", str(output), *sizes], catch_exceptions=False)
    assert result.exit_code == 0
    rows = json.loads(output.read_text())["rows"]
    assert [row["trigger"] for row in rows] == ["interaction_count", "drift_threshold", "time_based", "explicit"]
    assert all(row["ratio"] == row["with_s"] / row["without_s"] for row in rows)
