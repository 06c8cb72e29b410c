from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from kfp import dsl, local
from kfp.local.orchestrator import task_spec_utils

from pipelines.compilation import PIPELINE_FILE
from pipelines.local_executor import hand_outputs_into_loops, load_without_retries
from pipelines.tasks import OUTPUTS


def test_no_task_waits_for_a_retry_and_nothing_else_changes() -> None:
    compiled, platform = yaml.safe_load_all(PIPELINE_FILE.read_text(encoding="utf-8"))
    run, run_platform = yaml.safe_load_all(load_without_retries(PIPELINE_FILE))
    assert "retryPolicy" in str(compiled["components"])  # inside the loop too
    assert "retryPolicy" not in str(run)
    assert run_platform == platform
    groups = (compiled["root"], compiled["components"]["comp-exit-handler-1"])
    for group, with_outputs in zip(groups, (run["root"], run["components"]["comp-exit-handler-1"]), strict=True):
        assert "outputDefinitions" not in group  # kfp has no outputs of pipelines with an exit handler
        assert set(with_outputs.pop("outputDefinitions")["artifacts"]) == set(OUTPUTS)
        assert set(with_outputs["dag"].pop("outputs")["artifacts"]) == set(OUTPUTS)
    assert _without_retries(compiled) == run


def _without_retries(value: object) -> object:
    if isinstance(value, dict):
        return {name: _without_retries(part) for name, part in value.items() if name != "retryPolicy"}
    return [_without_retries(part) for part in value] if isinstance(value, list) else value


@dsl.component(base_image="toy/python:1", install_kfp_package=False)
def choose() -> NamedTuple("Chosen", [("words", list[str]), ("ending", dict[str, Any])]):  # type: ignore[valid-type]
    return (["a", "b"], {"mark": "!"})


@dsl.component(base_image="toy/python:1", install_kfp_package=False)
def end(word: str, ending: dict[str, Any]) -> str:
    return word + str(ending["mark"])


@dsl.component(base_image="toy/python:1", install_kfp_package=False)
def join(words: list[str]) -> str:
    return " ".join(words)


@dsl.pipeline(name="loop")
def loop() -> str:
    chosen = choose()
    with dsl.ParallelFor(chosen.outputs["words"]) as word:
        ended = end(word=word, ending=chosen.outputs["ending"])
    joined: str = join(words=dsl.Collected(ended.output)).output
    return joined


def test_tasks_of_a_loop_have_what_tasks_outside_of_it_put_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "create_parameter_loop_iteration_task_spec"
    monkeypatch.setattr(task_spec_utils, name, getattr(task_spec_utils, name))  # so that it is as before afterwards
    hand_outputs_into_loops()
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path))
    assert loop().output == "a! b!"
