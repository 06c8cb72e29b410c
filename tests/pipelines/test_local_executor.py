import pytest
import yaml
from google.protobuf.json_format import MessageToDict, ParseDict  # type: ignore[import-untyped]
from kfp.local.orchestrator import task_spec_utils
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineTaskSpec

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


def test_tasks_of_a_loop_have_what_tasks_outside_of_it_put_out(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "create_parameter_loop_iteration_task_spec"
    monkeypatch.setattr(task_spec_utils, name, getattr(task_spec_utils, name))  # so that it is as before afterwards
    hand_outputs_into_loops()
    compiled = next(yaml.safe_load_all(PIPELINE_FILE.read_text(encoding="utf-8")))
    tasks = compiled["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    (loop,) = (task for task in tasks.values() if "parameterIterator" in task)
    specification = ParseDict(loop, PipelineTaskSpec())
    planned = MessageToDict(task_spec_utils.create_parameter_loop_iteration_task_spec(specification, "2/7", "loop"))
    given = planned["inputs"]["parameters"]
    item = given.pop(loop["parameterIterator"]["itemInput"])
    assert item == {"runtimeValue": {"constant": "2/7"}}
    assert given == loop["inputs"]["parameters"]
    assert {
        source["taskOutputParameter"]["producerTask"] for source in given.values() if "taskOutputParameter" in source
    } == {
        "plan-text-shards",
        "preflight",
        "resolve-inputs",
    }
