import yaml

from pipelines.compilation import PIPELINE_FILE
from pipelines.local_executor import load_without_retries
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
