"""The table of stages says which of them changed nothing."""

import pytest

from ur4rec.commands.training import show_stages
from ur4rec.training.trainer import StageRecord


def test_a_stage_that_changed_nothing_is_told_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    records = {
        "joint_finetune": StageRecord("joint_finetune", 9, 4, 1.0, {"ndcg@10": 0.1}),
        "end_to_end": StageRecord("end_to_end", 5, 0, 1.0, {"ndcg@10": 0.1}),
    }
    show_stages(records)
    changed, same = (line for line in capsys.readouterr().out.splitlines() if "_" in line)
    cells = [[cell.strip() for cell in row.strip("│").split("│")][:3] for row in (changed, same)]
    assert cells == [["joint_finetune", "9", "4"], ["end_to_end", "5", "unchanged"]]
