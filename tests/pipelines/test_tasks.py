from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.compilation import PIPELINE_FILE
from pipelines.tasks import OUTPUTS, Task, TaskError, read_tasks


def test_reads_the_tasks_each_after_those_it_waits_for() -> None:
    tasks = read_tasks(PIPELINE_FILE)
    assert [task.name for task in tasks] == [
        "preflight",
        "resolve-inputs",
        "resolve-warm-start",
        "preprocess-sequences",
        "plan-text-shards",
        "pretrain-sasrec",
        "ask-texts",
        "generate-text",
        "encode-text",
        "pretrain-retriever",
        "joint-finetune",
        "end-to-end",
        "evaluate",
        "register-model",
        "gate-model",
        "promote-model",
        "report-run",
    ]
    assert tasks[3].title == "Preprocess sequences"
    assert {output: task.name for task in tasks for output in task.outputs} == {
        output: task for output, (task, _) in OUTPUTS.items()
    }


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            ["Traceback", "  x", "ur4rec.data.errors.DataError: plays.csv: row 3: bad"],
            TaskError("DataError: plays.csv: row 3: bad", says_all=True),
        ),
        (
            ["ur4rec.data.errors.DataError: row 3", "  more", ""],
            TaskError("DataError: row 3\nmore", says_all=False),
        ),
        (["ValueError: first", "During handling", "KeyError: 'second'"], TaskError("KeyError: 'second'", False)),
        (["KeyboardInterrupt"], TaskError("KeyboardInterrupt", False)),
        (
            ["torch.OutOfMemoryError: real", "[KFP Executor 2026 INFO]: Wrote"],
            TaskError("OutOfMemoryError: real", False),
        ),
        (["Killed"], None),
        ([], None),
    ],
)
def test_finds_the_real_error(lines: list[str], expected: TaskError | None) -> None:
    task = Task("one", "one", "One")
    task.log.extend(lines)
    assert task.find_error() == expected


def test_a_pipeline_without_outputs_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    task = "{componentRef: {name: comp-x}, taskInfo: {name: X}}"
    file.write_text(f"root: {{dag: {{tasks: {{x: {task}}}}}}}\n")
    assert [(found.component, found.outputs) for found in read_tasks(file)] == [("x", ())]
