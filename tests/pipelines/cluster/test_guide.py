"""Every command of the guide works as it is written."""

from __future__ import annotations

import re
import shlex
from datetime import timedelta
from pathlib import Path

import pytest
from kfp_server import KfpServer
from typer.testing import CliRunner

from pipelines.__main__ import app
from pipelines.cluster import status as run_status

pytestmark = pytest.mark.server

GUIDE = Path(__file__).parents[3] / "docs" / "cluster_runs.md"
PROGRAM = ["python", "-m", "pipelines"]


def list_commands() -> list[list[str]]:
    blocks = re.findall(r"```bash\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    return [line[len(PROGRAM) :] for line in lines if line[: len(PROGRAM)] == PROGRAM]


def test_in_the_order_of_the_guide(kfp_server: KfpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ur4rec.storage.inputs.list_versions", lambda location: ["interactions.csv#1"])
    monkeypatch.setattr("pipelines.cluster.schedule_update.SETTLE", timedelta(0))
    monkeypatch.setattr(run_status, "pause", lambda seconds: None)
    commands = list_commands()
    assert {command[1] for command in commands if command[0] == "schedule"} == {
        "create",
        "list",
        "show",
        "pause",
        "resume",
        "trigger",
        "update",
        "delete",
    }
    for command in commands:
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, (command, result.output)
    assert [schedule["display_name"] for schedule in kfp_server.schedules.values()] == ["often"]
