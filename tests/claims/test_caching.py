"""Which tasks run again after which change: keys made as caches make them, from the compiled file and arguments."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from compiled_once import compile_and_digest_once
from emulators import put_object
from kfp import compiler, dsl

from components.preflight import preflight
from components.preprocess_sequences import preprocess_sequences
from components.resolve_inputs import resolve_inputs
from components.resolve_warm_start import resolve_warm_start
from pipelines.arguments import CODE, build_arguments
from pipelines.compilation import PIPELINE_FILE, compile_pipeline
from pipelines.inputs import Inputs, Tracking
from pipelines.local_run import LocalRun, execute
from pipelines.options import ImageOptions
from pipelines.tasks import Status
from ur4rec.config import load_config
from ur4rec.registry.run_settings import NAMED
from ur4rec.registry.warm_start import ResolvedStart
from ur4rec.terminal import PlainConsole

ROWS = "user_id,item_id,timestamp\n" + "".join(f"{user},{item},{item}\n" for user in "ab" for item in range(9))
LATER = {"pretrain-retriever", "joint-finetune", "end-to-end", "evaluate", "register-model"}
FROM_ENCODING = {"encode-text", *LATER}
FROM_TEXT = {"plan-text-shards", "ask-texts", "generate-text", *FROM_ENCODING}
FROM_TRAINING = {"pretrain-sasrec", *LATER}
EVERYTHING = {"preprocess-sequences", *FROM_TEXT, *FROM_TRAINING}
RESOLVED = {"preflight": preflight, "resolve-inputs": resolve_inputs, "resolve-warm-start": resolve_warm_start}
"""Tasks that are not cached and whose results are parameters of others."""
LANGUAGE_MODEL = {"text_provider": "dashscope"}

Keys = dict[str, str]
Values = Mapping[str, Any]


@pytest.fixture(autouse=True)
def _once(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_and_digest_once(monkeypatch)


class Cache:
    """Keys of all tasks of a compiled pipeline."""

    def __init__(self, pipeline: Path) -> None:
        self.spec = next(yaml.safe_load_all(pipeline.read_text(encoding="utf-8")))

    def keys(self, arguments: Values) -> Keys:
        """Task → digest of its container, its parameters and, in place of its artifacts, what made them."""
        keys: Keys = {}
        self._visit(self.spec["root"]["dag"], arguments, {}, keys)
        return {task: key for task, key in keys.items() if self._is_cached(task)}

    def _is_cached(self, task: str) -> bool:
        groups = [self.spec["root"], *self.spec["components"].values()]
        found = next(group["dag"]["tasks"][task] for group in groups if task in group.get("dag", {}).get("tasks", {}))
        return bool(found["cachingOptions"].get("enableCache", False))

    def _visit(self, dag: Values, given: Values, artifacts: Values, keys: Keys) -> None:
        """Tasks of a group, each after those it waits for; results of a task are named by its key."""
        results: dict[str, Any] = {}
        waiting = dict(dag["tasks"])
        while waiting:
            name = next(name for name, task in waiting.items() if set(task.get("dependentTasks", ())) <= set(results))
            task = waiting.pop(name)
            values = self._resolve(task, given, results)
            sources = self._find_sources(task, artifacts, results)
            component = self.spec["components"][task["componentRef"]["name"]]
            if "dag" in component:
                inner: Keys = {}
                self._visit(component["dag"], values, sources, inner)
                keys |= inner
                results[name] = _digest(inner)
                continue
            executor = self.spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
            keys[name] = _digest([executor["image"], executor["command"], executor["args"], values, sources])
            results[name] = self._run(name, values) if name in RESOLVED else keys[name]

    @staticmethod
    def _run(name: str, values: Values) -> dict[str, Any]:
        outputs = RESOLVED[name].component_spec.outputs
        return dict(zip(outputs or (), RESOLVED[name].python_func(**values), strict=True))

    def _resolve(self, task: Values, given: Values, results: Values) -> dict[str, Any]:
        values = {}
        for name, source in task.get("inputs", {}).get("parameters", {}).items():
            if "componentInputParameter" in source:
                values[name] = given.get(source["componentInputParameter"])
            elif "taskOutputParameter" in source:
                output = source["taskOutputParameter"]
                result = results[output["producerTask"]]
                values[name] = result[output["outputParameterKey"]] if isinstance(result, dict) else result
            else:
                values[name] = source
        if "parameterIterator" in task:  # every item is made from the list
            values |= {
                task["parameterIterator"]["itemInput"]: values[task["parameterIterator"]["items"]["inputParameter"]]
            }
        return values

    def _find_sources(self, task: Values, artifacts: Values, results: Values) -> dict[str, Any]:
        sources = {}
        for name, source in task.get("inputs", {}).get("artifacts", {}).items():
            inner, outer = source.get("taskOutputArtifact"), source.get("componentInputArtifact")
            sources[name] = [results[inner["producerTask"]], inner["outputArtifactKey"]] if inner else artifacts[outer]
        return sources


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@pytest.fixture(scope="module")
def cache() -> Cache:
    """Of the committed pipeline."""
    return Cache(PIPELINE_FILE)


@pytest.fixture(autouse=True)
def _code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digests of code have tests of their own, and take a while."""
    monkeypatch.setattr("pipelines.arguments.code_digest", lambda *modules: str(modules))


@pytest.fixture(autouse=True)
def _everything_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ur4rec.registry.preflight.find_faults", lambda checks: [])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Interactions and a prompt of one's own."""
    (tmp_path / "plays.csv").write_text(ROWS)
    shipped = Path(load_config.__code__.co_filename).parent / "text/llm/prompt_files/user_preferences.v1.yaml"
    (tmp_path / "mine.yaml").write_text(shipped.read_text())
    return tmp_path


def make_arguments(folder: Path, is_scheduled: bool = False, **settings: Any) -> dict[str, Any]:
    """Arguments of a run that is started at once, or of a schedule, which resolves its inputs in every run."""
    settings.setdefault("text_user_prompt", str(folder / "mine.yaml"))
    inputs = Inputs(str(folder / "plays.csv"), device="cpu", state="gs://b/state", tracking=Tracking("http://one"))
    return build_arguments(load_config(None, settings), inputs, scheduled=is_scheduled)


def find_changed(before: Keys, after: Keys) -> set[str]:
    return {task for task in before if before[task] != after[task]}


def change_data(folder: Path) -> None:
    (folder / "plays.csv").write_text(ROWS + "b,77,77\n")


def change_prompt(folder: Path) -> None:
    (folder / "mine.yaml").write_text((folder / "mine.yaml").read_text() + "# another one\n")


@pytest.mark.parametrize("is_scheduled", [False, True], ids=["once", "scheduled"])
@pytest.mark.parametrize(
    ("change", "settings", "expected"),
    [
        (None, {}, set()),
        (change_data, {}, EVERYTHING),
        (change_prompt, {}, set()),  # nobody reads it
        (change_prompt, LANGUAGE_MODEL, FROM_TEXT - {"plan-text-shards"}),
    ],
    ids=["nothing", "data", "unused prompt", "prompt"],
)
def test_contents(
    cache: Cache,
    folder: Path,
    is_scheduled: bool,
    change: Callable[[Path], None] | None,
    settings: Values,
    expected: set[str],
) -> None:
    before = cache.keys(make_arguments(folder, is_scheduled, **settings))
    if change:
        change(folder)
    assert find_changed(before, cache.keys(make_arguments(folder, is_scheduled, **settings))) == expected
    if is_scheduled:  # the arguments that the schedule keeps are the same for ever
        assert make_arguments(folder, is_scheduled, **settings)["data_digest"] == ""


@pytest.mark.emulator
@pytest.mark.parametrize("is_scheduled", [False, True], ids=["once", "scheduled"])
def test_another_generation_of_the_data(cache: Cache, bucket: str, is_scheduled: bool) -> None:
    keys = []
    for _ in range(2):
        put_object(bucket, "data/interactions.csv", ROWS)
        inputs = Inputs(f"gs://{bucket}/data", device="cpu", tracking=Tracking("http://one"))
        arguments = build_arguments(load_config(), inputs, scheduled=is_scheduled)
        keys.append(cache.keys(arguments))
    assert find_changed(*keys) == EVERYTHING
    assert find_changed(keys[1], cache.keys(arguments)) == set()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"min_rating": 2.0}, EVERYTHING),
        ({"text_provider": "openai", "text_base_url": "http://vllm:8000/v1"}, FROM_TEXT),
        ({"text_model": "qwen-max"}, FROM_TEXT - {"plan-text-shards"}),
        ({"text_user_prompt": "user_preferences.v1"}, FROM_TEXT - {"plan-text-shards"}),
        ({"max_sentences": 2}, FROM_ENCODING),
        ({"texts_per_shard": 9}, FROM_TEXT),
        ({"sasrec_lr": 0.5}, FROM_TRAINING),
        ({"retriever_lr": 0.5}, LATER),
        ({"system": "UR4RecV2"}, LATER),
        ({"system": "UR4RecMoEMemory"}, FROM_TRAINING),
        ({"seed": 3}, FROM_TRAINING),
        ({"memory_dim": 8}, LATER),
        ({"text_control": "shuffled"}, LATER),
        ({"fusion_method": "learned"}, LATER - {"pretrain-retriever"}),
        ({"finetune_lr_scale": 0.5}, LATER - {"pretrain-retriever"}),
        ({"adaptive_min_steps": 3}, LATER - {"pretrain-retriever"}),
        ({"bootstrap_samples": 500}, {"evaluate", "register-model"}),
        ({"experiment_name": "other"}, {"register-model"}),
        ({"champion_alias": "best"}, set()),
        ({"promote_automatically": True}, set()),
        ({"anchor_alias": "floor"}, set()),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_setting(cache: Cache, folder: Path, settings: Values, expected: set[str]) -> None:
    before, after = (make_arguments(folder, **LANGUAGE_MODEL | dict(change)) for change in ({}, settings))
    assert find_changed(cache.keys(before), cache.keys(after)) == expected


def test_what_a_system_does_not_have_changes_nothing_of_it(cache: Cache, folder: Path) -> None:
    alone: dict[str, Any] = {"system": "UR4RecMoEMemory"}
    before, after = (cache.keys(make_arguments(folder, **alone | change)) for change in ({}, {"memory_dim": 8}))
    assert find_changed(before, after) == LATER
    assert before["pretrain-sasrec"] == after["pretrain-sasrec"]
    last = {"end-to-end", "evaluate", "register-model"}  # its section is the same for all systems
    assert find_changed(before, cache.keys(make_arguments(folder, **alone, sasrec_lr=0.5))) == last


@pytest.mark.parametrize("is_named", [True, False])
def test_a_setting_given_either_way_is_the_same(cache: Cache, folder: Path, is_named: bool) -> None:
    """In the form of the interface by its name, or among the others; spelled as a person would."""
    given: dict[str, Any] = {"seed": 7, "system": "UR4RecV2", "sasrec_lr": 0.001, "update_trigger": "explicit"}
    given["max_seq_len"] = "auto"
    built = make_arguments(folder, **given, text_user_prompt="user_preferences.v1")
    typed = {"seed": "7", "system": "ur4recv2", "sasrec_lr": "1.0e-3", "update_trigger": "EXPLICIT"}
    typed["max_seq_len"] = "auto"
    empty = dict.fromkeys(NAMED, "")
    by_hand = built | empty | (typed if is_named else {"settings": {**typed, "batch_size": 128.0}})
    assert cache.keys(by_hand) == cache.keys(built)


@pytest.mark.parametrize(
    "settings",
    [{"text_model": "qwen-max"}, {"text_temperature": 0.5}, {"text_concurrency": 2}, {"text_max_failed_share": 0.5}],
    ids=lambda settings: next(iter(settings)),
)
def test_how_a_language_model_is_asked_counts_only_where_one_is(cache: Cache, folder: Path, settings: Values) -> None:
    before, after = (cache.keys(make_arguments(folder, **change)) for change in ({}, settings))
    assert find_changed(before, after) == set()


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ("data_code", EVERYTHING),
        ("text_code", FROM_TEXT),
        ("training_code", FROM_TRAINING),
        ("evaluation_code", {"evaluate", "register-model"}),
        ("registry_code", {"register-model"}),
        ("tracking_uri", {"register-model"}),
        ("device", FROM_ENCODING | FROM_TRAINING),
        ("state", FROM_TRAINING),
    ],
)
def test_code_registry_and_machine(cache: Cache, folder: Path, parameter: str, expected: set[str]) -> None:
    arguments = make_arguments(folder)
    assert find_changed(cache.keys(arguments), cache.keys(arguments | {parameter: "other"})) == expected
    assert {name for name in arguments if name.endswith("_code")} == set(CODE)


def test_another_champion(cache: Cache, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training starts again where it starts from another version, also from another server, and only then."""
    arguments = make_arguments(folder, is_scheduled=True, warm_start="champion")

    def find_keys(version: str, tracking_uri: str = "") -> Keys:
        resolved = ResolvedStart(version, tracking_uri)
        monkeypatch.setattr("ur4rec.registry.warm_start.resolve_warm_start", lambda *given: resolved)
        return cache.keys(arguments)

    nobody, one = find_keys(""), find_keys("models:/ur4rec/1#1f", "http://one")
    assert find_changed(nobody, one) == FROM_TRAINING
    assert find_changed(one, find_keys("models:/ur4rec/1#1f", "http://one")) == set()
    assert find_changed(one, find_keys("models:/ur4rec/2#2f", "http://one")) == FROM_TRAINING
    assert find_changed(one, find_keys("models:/ur4rec/1#2f", "http://one")) == FROM_TRAINING
    assert find_changed(nobody, find_keys("")) == set()


@pytest.mark.parametrize(("image", "expected"), [("slim", EVERYTHING), ("train", FROM_ENCODING | FROM_TRAINING)])
def test_the_digest_of_an_image(cache: Cache, folder: Path, image: str, expected: set[str]) -> None:
    compile_pipeline(folder / "pinned.yaml", ImageOptions(image_digest=[f"{image}=sha256:{'0' * 64}"]))
    arguments = make_arguments(folder)
    assert find_changed(cache.keys(arguments), Cache(folder / "pinned.yaml").keys(arguments)) == expected


@dsl.pipeline(name="schedule")
def schedule(interactions: str, data_digest: str = "") -> None:
    """The first two tasks of the training, wired alike."""
    resolved = resolve_inputs(
        interactions=interactions,
        items="",
        data_digest=data_digest,
        item_text="",
        user_text="",
        text_digest="",
        config={},
    ).set_caching_options(False)
    preprocess_sequences(
        interactions=interactions,
        items="",
        data_digest=resolved.outputs["data_digest"],
        code_digest="",
        config={"min_seq_len": 3},
    )


def test_a_scheduled_run_finds_new_data_and_nothing_else_runs_again(folder: Path) -> None:
    """For real: the same arguments every time, as a schedule has them."""
    compiler.Compiler().compile(schedule, str(folder / "schedule.yaml"))
    run = LocalRun(
        pipeline=folder / "schedule.yaml",
        arguments={"interactions": str(folder / "plays.csv")},
        environment={},
        pipeline_root=folder / "root",
        output_dir=folder / "out",
    )

    def find_status() -> list[Status]:
        return [task.status for task in execute(run, PlainConsole(quiet=True)).tasks]

    assert find_status() == [Status.DONE, Status.DONE]
    assert find_status() == [Status.DONE, Status.CACHED]
    change_data(folder)
    assert find_status() == [Status.DONE, Status.DONE]
