from __future__ import annotations

import ast
import re
from typing import Any

import pytest
import yaml

from components.image import SLIM, TRAIN
from components.preflight import preflight
from pipelines.arguments import CODE
from pipelines.compilation import PIPELINE_FILE
from pipelines.resources import REGISTRY_KEYS, TEXT_KEYS
from pipelines.tasks import OUTPUTS
from ur4rec.registry.environment import DEFAULTS, PUBLIC_TRACKING_URL, STATE
from ur4rec.registry.mlflow_client import TRACKING_URI
from ur4rec.registry.notifications import FORM, WEBHOOK
from ur4rec.registry.run_settings import NAMED, SETTINGS, Config, split_settings
from ur4rec.training.stage_names import STAGES

SPEC, PLATFORM = yaml.safe_load_all(PIPELINE_FILE.read_text(encoding="utf-8"))
ROOT: dict[str, dict[str, Any]] = SPEC["root"]["dag"]["tasks"]
HANDLER, REPORT, RESOLVE, START = "exit-handler-1", "report-run", "resolve-inputs", "resolve-warm-start"
PREFLIGHT = "preflight"
TOP: dict[str, dict[str, Any]] = SPEC["components"][f"comp-{HANDLER}"]["dag"]["tasks"]
(LOOP,) = (name for name in TOP if name.startswith("for-loop"))
IN_LOOP: dict[str, dict[str, Any]] = SPEC["components"][f"comp-{LOOP}"]["dag"]["tasks"]
TASKS = {name: task for name, task in TOP.items() if name != LOOP} | IN_LOOP | {REPORT: ROOT[REPORT]}
EXECUTORS = {name: executor["container"] for name, executor in SPEC["deploymentSpec"]["executors"].items()}
JUDGING = {"gate-model", "promote-model"}
GROUPS = {
    "data": {"preprocess-sequences"},
    "text": {"plan-text-shards", "ask-texts", "generate-text", "encode-text"},
    "training": {"pretrain-sasrec", "pretrain-retriever", "joint-finetune", "end-to-end"},
    "evaluation": {"evaluate"},
    "registry": {"register-model"},
    "gate": JUDGING,
}
TASKS_OF = {f"{group}_code": tasks for group, tasks in GROUPS.items()}


ASKING = {"preprocess-sequences", "plan-text-shards", "ask-texts", "generate-text"}
NO_TORCH = ASKING | {RESOLVE}
UNCACHED = {PREFLIGHT, RESOLVE, START, REPORT, *JUDGING}
UNCODED = {PREFLIGHT, RESOLVE, START, REPORT}
ARGUMENTS = {"log_metrics", "write_curves", "load_rules", "open_warm_start"}
"""What a component calls beside its library call: its metrics and curves, and what it reads an argument with."""
SECRETS_OF = {PREFLIGHT, "ask-texts", "generate-text"}
TRAINING = {stage.replace("_", "-") for stage in STAGES}
ASK_REGISTRY = {PREFLIGHT, START, *TRAINING, "register-model", *JUDGING, REPORT}
NOTIFYING = {REPORT, "promote-model"}


def find_ancestors(task: str) -> set[str]:
    """All tasks that come before, resolution apart; those of the loop wait for what the loop waits for."""
    waited = {*TASKS[task].get("dependentTasks", []), *(TOP[LOOP]["dependentTasks"] if task in IN_LOOP else ())}
    waited -= {PREFLIGHT, RESOLVE, START}
    parents = (waited - {LOOP}) | (set(IN_LOOP) if LOOP in waited else set())
    return parents.union(*map(find_ancestors, parents))


def find_parameter(task: str, name: str) -> str:
    """The parameter of the pipeline; a loop hands it on under a prefix."""
    parameter: str = TASKS[task]["inputs"]["parameters"][name]["componentInputParameter"]
    return parameter.removeprefix("pipelinechannel--")


def find_source(task: str, name: str) -> dict[str, str]:
    """The output of a task that a parameter is."""
    inputs = TOP[LOOP if task in IN_LOOP else task]["inputs"]["parameters"]
    source: dict[str, str] = inputs[find_input(task, name)]["taskOutputParameter"]
    return source


def find_input(task: str, name: str) -> str:
    """What the loop calls a parameter of a task in it."""
    found: str = TASKS[task]["inputs"]["parameters"][name]["componentInputParameter"] if task in IN_LOOP else name
    return found


def find_group(task: str, name: str = "config") -> str:
    """The settings that a task is told by the first one."""
    source = find_source(task, name)
    assert source["producerTask"] == PREFLIGHT
    return source["outputParameterKey"]


def test_sasrec_runs_beside_the_texts() -> None:
    assert find_ancestors("pretrain-sasrec") == {"preprocess-sequences"}
    assert find_ancestors("encode-text") == ASKING
    assert find_ancestors("pretrain-retriever") == ASKING | {"encode-text", "pretrain-sasrec"}


def test_the_chain_ends_with_the_registration_the_gate_and_the_promotion() -> None:
    assert find_ancestors("register-model") == set(TASKS) - {"register-model", *UNCODED, *JUDGING}
    assert find_ancestors("gate-model") == find_ancestors("register-model") | {"register-model"}
    assert find_ancestors("promote-model") == find_ancestors("gate-model") | {"gate-model"}


def test_the_data_and_the_texts_are_keyed_by_what_was_resolved() -> None:
    for task, name in (("preprocess-sequences", "data"), ("generate-text", "text")):
        source = TOP[task]["inputs"]["parameters"][f"{name}_digest"]["taskOutputParameter"]
        assert source == {"outputParameterKey": f"{name}_digest", "producerTask": RESOLVE}
    assert RESOLVE in TOP["preprocess-sequences"]["dependentTasks"]


def test_the_first_stage_is_keyed_by_the_version_that_it_starts_from() -> None:
    given = TOP["pretrain-sasrec"]["inputs"]["parameters"]
    for name in ("warm_start", "tracking_uri"):
        assert given[name]["taskOutputParameter"] == {"outputParameterKey": name, "producerTask": START}
    assert TOP[START]["dependentTasks"] == [PREFLIGHT]


def test_nothing_is_begun_before_everything_is_checked() -> None:
    waiting = {name: set(task.get("dependentTasks", ())) for name, task in TOP.items()}
    assert [name for name, waited in waiting.items() if not waited] == [PREFLIGHT]
    assert {*NAMED, SETTINGS, "gate_rules"} <= set(TOP[PREFLIGHT]["inputs"]["parameters"])


def test_the_settings_that_people_change_are_text_that_may_be_empty() -> None:
    parameters = SPEC["root"]["inputDefinitions"]["parameters"]
    assert len(NAMED) == 10
    for name in NAMED:
        assert parameters[name]["parameterType"] == "STRING"
        assert parameters[name]["defaultValue"] == ""
    assert parameters[SETTINGS]["defaultValue"] == {}
    assert all(definition.get("description") for definition in parameters.values())


def test_the_first_task_hands_out_every_group_in_the_order_of_its_wrapper() -> None:
    outputs = preflight.component_spec.outputs
    assert outputs is not None
    assert list(outputs) == ["tracking_uri", "state", *split_settings(Config())]


def test_where_a_run_logs_to_and_keeps_its_state_is_what_was_checked() -> None:
    for task in (START, "register-model", *JUDGING):
        assert find_source(task, "tracking_uri") == {"outputParameterKey": "tracking_uri", "producerTask": PREFLIGHT}
    for stage in STAGES:
        source = find_source(stage.replace("_", "-"), "state")
        assert source == {"outputParameterKey": "state", "producerTask": PREFLIGHT}


def test_what_a_run_is_not_told_comes_from_a_config_map() -> None:
    executors = PLATFORM["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    maps = {name: settings["configMapAsEnv"] for name, settings in executors.items() if "configMapAsEnv" in settings}
    (source,) = maps.pop(f"exec-{PREFLIGHT}")
    assert set(maps) == {f"exec-{task}" for task in (*NOTIFYING, *TRAINING, "register-model")}
    for task in (*TRAINING, REPORT):  # a parameter would be part of the cache key
        given = {pair["envVar"] for part in maps[f"exec-{task}"] for pair in part["keyToEnv"]}
        assert given >= {TRACKING_URI, PUBLIC_TRACKING_URL}
    assert (source["configMapName"], source["optional"]) == (DEFAULTS, True)
    assert {pair["envVar"] for pair in source["keyToEnv"]} == {TRACKING_URI, STATE}


def test_whatever_happens_the_end_is_reported() -> None:
    assert set(ROOT) == {HANDLER, REPORT}
    assert ROOT[REPORT]["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    assert ROOT[REPORT]["inputs"]["parameters"]["status"] == {"taskFinalStatus": {"producerTask": HANDLER}}


def test_every_named_output_is_an_artifact_of_a_task() -> None:
    for task, output in OUTPUTS.values():
        assert output in SPEC["components"][f"comp-{task}"]["outputDefinitions"]["artifacts"]


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_cached_sized_retried_and_named(task: str) -> None:
    container = EXECUTORS[f"exec-{task}"]
    assert TASKS[task]["cachingOptions"] == ({} if task in UNCACHED else {"enableCache": True})
    retries = {"ask-texts": 5, PREFLIGHT: 0}.get(task, 2)
    assert TASKS[task].get("retryPolicy", {"maxRetryCount": 0})["maxRetryCount"] == retries
    assert TASKS[task]["taskInfo"]["name"] != task
    assert container["image"] == (SLIM if task in NO_TORCH else TRAIN)
    assert {"cpuRequest", "cpuLimit", "memoryRequest", "memoryLimit"} <= set(container["resources"])
    assert not container.get("env")
    timeouts = PLATFORM["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert int(timeouts[f"exec-{task}"]["activeDeadlineSeconds"]) > 0


@pytest.mark.parametrize("task", TASKS)
def test_a_component_is_one_call_without_a_decision(task: str) -> None:
    nodes = list(ast.walk(ast.parse(EXECUTORS[f"exec-{task}"]["command"][3])))
    decisions = ast.If | ast.IfExp | ast.For | ast.While | ast.Try | ast.With
    assert not [node for node in nodes if isinstance(node, decisions)]
    library = [node for node in nodes if isinstance(node, ast.ImportFrom) and str(node.module).startswith("ur4rec")]
    imported = {alias.name for node in library for alias in node.names} - ARGUMENTS
    called = [node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    assert len([name for name in called if name in imported]) == 1


@pytest.mark.parametrize(("parameter", "tasks"), TASKS_OF.items())
def test_a_digest_of_code_reaches_its_own_tasks_only(parameter: str, tasks: set[str]) -> None:
    assert {task for task in set(TASKS) - UNCODED if find_parameter(task, "code_digest") == parameter} == tasks


def test_every_digest_of_code_is_filled_in() -> None:
    assert set(CODE) == set(TASKS_OF)


def test_every_parameter_is_used_and_all_but_the_data_have_defaults() -> None:
    used = {
        source["componentInputParameter"].removeprefix("pipelinechannel--")
        for task in TOP.values()
        for source in task["inputs"].get("parameters", {}).values()
        if "componentInputParameter" in source
    }
    parameters = SPEC["root"]["inputDefinitions"]["parameters"]
    assert used == set(parameters)
    assert [name for name, definition in parameters.items() if not definition.get("isOptional")] == ["interactions"]


def test_the_configuration_of_a_task_is_its_own_group() -> None:
    for group in ("data", "evaluation"):
        for task in GROUPS[group]:
            assert find_group(task) == f"{group}_config"
    for stage, name in zip(STAGES, ("sasrec", "retriever", "joint", "final"), strict=True):
        assert find_group(stage.replace("_", "-")) == f"{name}_config"
    assert find_group("register-model") == "registration_config"
    for task in JUDGING | {START}:
        assert find_group(task) == "registry_config"
    assert find_parameter("gate-model", "rules") == "gate_rules"
    for task in GROUPS["text"] - {"encode-text", "plan-text-shards"}:
        assert find_group(task) == "writing_config"
    assert find_group("plan-text-shards") == "shards_config"
    assert find_group("resolve-inputs") == "text_config"
    assert find_group("encode-text") == "encode_config"


def test_the_file_holds_no_digest_and_names_secrets_without_their_values() -> None:
    text = PIPELINE_FILE.read_text(encoding="utf-8")
    assert not re.search(r"[0-9a-f]{40}", text)
    values = re.sub(r"(envVar|secretKey): MLFLOW_TRACKING_(PASSWORD|TOKEN)$", "", text, flags=re.MULTILINE)
    assert not re.search(r"(?i)(password|token)\b", values)
    executors = PLATFORM["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    named = {
        name.removeprefix("exec-"): rest["secretAsEnv"] for name, rest in executors.items() if "secretAsEnv" in rest
    }
    assert set(named) == SECRETS_OF | ASK_REGISTRY | NOTIFYING
    for task, secrets in named.items():
        keys = {pair["envVar"] for secret in secrets for pair in secret["keyToEnv"]}
        of_texts, of_registry = task in SECRETS_OF, task in ASK_REGISTRY
        expected = {*(TEXT_KEYS if of_texts else ()), *(REGISTRY_KEYS if of_registry else ())}
        assert keys == expected | ({WEBHOOK, FORM} if task in NOTIFYING else set())
        for secret in secrets:
            assert secret["optional"]
            assert set(secret) <= {"secretName", "secretNameParameter", "keyToEnv", "optional"}
