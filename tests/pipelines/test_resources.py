"""Profiles, read back from what they compile to."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.image import IMAGE_USER
from pipelines.compilation import compile_pipeline
from pipelines.options import ImageOptions
from pipelines.resources import CA_VARIABLES, GCS_KEY_FOLDER, KINDS, PROFILES, Profile, load_profile
from ur4rec.config_section import ConfigError

TRAINING = ("pretrain-sasrec", "pretrain-retriever", "joint-finetune", "end-to-end")
TRAINING = ("pretrain-sasrec", "pretrain-retriever", "joint-finetune", "end-to-end")
ASK_REGISTRY = (
    *("preflight", "resolve-warm-start", "register-model", "gate-model", "promote-model", "report-run"),
    *TRAINING,
)


def compile_with(profile: Path | str, folder: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Container, Kubernetes settings and retry policy of every task."""
    compile_pipeline(folder / "compiled.yaml", ImageOptions(profile=str(profile)))
    spec, platform = yaml.safe_load_all((folder / "compiled.yaml").read_text())
    containers = {name: executor["container"] for name, executor in spec["deploymentSpec"]["executors"].items()}
    parts = [spec["root"], *spec["components"].values()]
    tasks = {name: task for part in parts for name, task in part.get("dag", {}).get("tasks", {}).items()}
    return containers, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"], tasks


@pytest.mark.parametrize("name", ["cpu-small", "gpu", "toy"])
def test_every_shipped_profile_compiles_and_every_task_keeps_its_limits(name: str, tmp_path: Path) -> None:
    containers, kubernetes, tasks = compile_with(name, tmp_path)
    assert len(containers) == 17
    for executor, container in containers.items():
        quantities = {f"resource{part}{what}" for part in ("Cpu", "Memory") for what in ("Request", "Limit")}
        assert quantities <= set(container["resources"])
        assert container["resources"]["memoryRequest"] <= container["resources"]["memoryLimit"]
        assert int(kubernetes[executor]["activeDeadlineSeconds"]) > 0
        is_told_at_once = executor == "exec-preflight"
        assert ("retryPolicy" not in tasks[executor.removeprefix("exec-")]) == is_told_at_once


def test_the_shipped_profiles_are_those() -> None:
    assert {file.stem for file in PROFILES.iterdir()} == {"cpu-small", "gpu", "toy"}
    assert load_profile() == Profile()
    assert not load_profile("cpu-small").uses_gpu


def test_gpus_go_with_their_image_their_nodes_and_their_memory(tmp_path: Path) -> None:
    containers, kubernetes, _ = compile_with("gpu", tmp_path)
    for name in TRAINING:
        assert containers[f"exec-{name}"]["resources"]["accelerator"]["resourceType"] == "nvidia.com/gpu"
        assert containers[f"exec-{name}"]["image"].endswith("-train-gpu")
        assert kubernetes[f"exec-{name}"]["emptyDirMounts"][0]["mountPath"] == "/dev/shm"
        assert kubernetes[f"exec-{name}"]["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert "accelerator" not in containers["exec-preprocess-sequences"]["resources"]
    assert containers["exec-preprocess-sequences"]["image"].endswith("-slim")


def test_a_profile_of_ones_own_names_only_what_differs(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "training: {memory_limit: 48Gi, num_retries: 7, backoff_s: 9, timeout_s: 77, node_selector: {pool: big}}\n"
        "image_pull_secrets: [registry]\n"
    )
    containers, kubernetes, tasks = compile_with(tmp_path / "mine.yaml", tmp_path)
    training, default = containers["exec-end-to-end"]["resources"], Profile().training
    assert (training["resourceMemoryLimit"], training["resourceCpuLimit"]) == ("48Gi", default.cpu_limit)
    assert tasks["end-to-end"]["retryPolicy"] == {
        "maxRetryCount": 7,
        "backoffDuration": "9s",
        "backoffFactor": 2.0,
        "backoffMaxDuration": "90s",
    }
    assert int(kubernetes["exec-end-to-end"]["activeDeadlineSeconds"]) == 77
    assert kubernetes["exec-end-to-end"]["nodeSelector"]["labels"] == {"pool": "big"}
    assert all(task["imagePullSecret"][0]["secretName"] == "registry" for task in kubernetes.values())
    assert containers["exec-evaluate"]["resources"]["resourceMemoryLimit"] == Profile().evaluation.memory_limit


def test_secrets_reach_the_tasks_that_need_them_and_no_value_is_compiled(tmp_path: Path) -> None:
    _, kubernetes, _ = compile_with("toy", tmp_path)
    secrets = {
        (name.removeprefix("exec-"), secret["secretName"])
        for name, settings in kubernetes.items()
        for secret in settings.get("secretAsEnv", [])
    }
    assert secrets == {
        *((task, "ur4rec-text") for task in ("preflight", "ask-texts", "generate-text")),
        *((task, "ur4rec-mlflow") for task in ASK_REGISTRY),
        *((task, "ur4rec-webhook") for task in ("promote-model", "report-run")),
    }


def test_a_key_for_cloud_storage_is_mounted_in_every_task_and_its_value_is_not_compiled(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("gcs_key_secret: ur4rec-gcs\n")
    containers, kubernetes, _ = compile_with(tmp_path / "mine.yaml", tmp_path)
    for name, container in containers.items():
        (volume,) = kubernetes[name]["secretAsVolume"]
        assert (volume["secretName"], volume["mountPath"]) == ("ur4rec-gcs", GCS_KEY_FOLDER)
        assert container["env"] == [{"name": "GOOGLE_APPLICATION_CREDENTIALS", "value": f"{GCS_KEY_FOLDER}/key.json"}]


def test_keys_of_s3_reach_every_task_from_a_secret(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "s3_key_secret: ur4rec-s3\nenvironment: {AWS_ENDPOINT_URL: 'http://minio:9000'}\n"
    )
    _, kubernetes, _ = compile_with(tmp_path / "mine.yaml", tmp_path)
    for task in kubernetes.values():
        (mine,) = (secret for secret in task["secretAsEnv"] if secret["secretName"] == "ur4rec-s3")
        variables = {each["envVar"]: each["secretKey"] for each in mine["keyToEnv"]}
        assert variables == {key: key for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}


RESTRICTED_VOLUMES = {"secretAsVolume", "configMapAsVolume", "pvcMount", "emptyDirMounts"}
"""Those that the restricted pod-security standard knows, under the names of kfp."""


@pytest.mark.parametrize("name", ["cpu-small", "gpu", "toy"])
def test_tasks_ask_for_nothing_that_the_restricted_standard_refuses(name: str, tmp_path: Path) -> None:
    """KFP itself drops all capabilities, allows no escalation and sets seccomp; the identity is the pipeline's part."""
    _, kubernetes, _ = compile_with(name, tmp_path)
    for settings in kubernetes.values():
        context = settings["securityContext"]
        assert context["runAsNonRoot"] is True
        assert int(context["runAsUser"]) == int(context["runAsGroup"]) == IMAGE_USER
        mounted = {key for key in settings if "Mount" in key or "Volume" in key}
        assert mounted <= RESTRICTED_VOLUMES


def test_every_task_is_who_the_profile_says_or_who_the_cluster_says(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("security: {run_as_user: 1234}\n")
    (tmp_path / "none.yaml").write_text("security: null\n")
    _, kubernetes, _ = compile_with(tmp_path / "mine.yaml", tmp_path)
    assert {settings["securityContext"]["runAsUser"] for settings in kubernetes.values()} == {"1234"}
    _, kubernetes, _ = compile_with(tmp_path / "none.yaml", tmp_path)
    assert not [settings for settings in kubernetes.values() if "securityContext" in settings]


PROFILE = """
labels: {team: music}
annotations: {sidecar.istio.io/inject: "false"}
environment: {HTTPS_PROXY: "http://proxy:3128", NO_PROXY: ".svc,.local"}
ca_config_map: company-ca
volumes: [{claim: encoders, mount_path: /models, sub_path: text}]
training:
  node_affinity:
    - {match_expressions: [{key: zone, values: [a, b]}, {key: gpu, operator: Exists}]}
    - {match_expressions: [{key: disk, values: [ssd]}], weight: 7}
"""


def test_labels_annotations_variables_authorities_and_volumes_reach_every_task(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(PROFILE)
    containers, kubernetes, _ = compile_with(tmp_path / "mine.yaml", tmp_path)
    for name, container in containers.items():
        assert kubernetes[name]["podMetadata"] == {
            "labels": {"team": "music"},
            "annotations": {"sidecar.istio.io/inject": "false"},
        }
        variables = {pair["name"]: pair["value"] for pair in container["env"]}
        assert variables == {
            "HTTPS_PROXY": "http://proxy:3128",
            "NO_PROXY": ".svc,.local",
            **dict.fromkeys(CA_VARIABLES, "/etc/ur4rec/ca/ca.crt"),
        }
        (authorities,) = kubernetes[name]["configMapAsVolume"]
        assert (authorities["configMapName"], authorities["mountPath"]) == ("company-ca", "/etc/ur4rec/ca")
        (volume,) = kubernetes[name]["pvcMount"]
        assert (volume["constant"], volume["mountPath"], volume["subPath"]) == ("encoders", "/models", "text")
    required, preferred = kubernetes["exec-end-to-end"]["nodeAffinity"]
    assert required["matchExpressions"] == [
        {"key": "zone", "operator": "In", "values": ["a", "b"]},
        {"key": "gpu", "operator": "Exists"},
    ]
    assert preferred["weight"] == 7
    assert "nodeAffinity" not in kubernetes["exec-evaluate"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("trainin: {}", "unknown key 'trainin', did you mean 'training'"),
        ("training: {memory_limt: 3Gi}", "training: unknown key 'memory_limt', did you mean 'memory_limit'"),
        ("training: {memory_limit: 3 GB}", "training: memory_limit: "),
        ("training: 3", "training: expected keys and values such as memory_limit: 8Gi"),
        ("training: {tolerations: [{}]}", "training: tolerations.0.key: "),
        ("- 1", "expected keys and values, found list"),
        ("security: {run_as_user: 0}", "security.run_as_user: "),
        ("volumes: [{claim: c, mount_path: models}]", "volumes.0.mount_path: "),
        ("environment: {DB_PASSWORD: x}", "environment: DB_PASSWORD looks like a secret, and the compiled file is for"),
        ("environment: {HTTPS_PROXY: 'http://me:hunter2@proxy'}", "environment: HTTPS_PROXY looks like a secret"),
        ("training: {node_affinity: [{match_expressions: []}]}", "training: node_affinity.0.match_expressions: "),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_wrong_profiles_are_refused_by_file_and_key(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        load_profile(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_missing_profile_names_the_shipped_ones() -> None:
    with pytest.raises(
        ConfigError, match="huge: no such file; expected a YAML file or one of the shipped cpu-small, gpu"
    ):
        load_profile("huge")


def test_every_kind_is_used(tmp_path: Path) -> None:
    """A kind of its own timeout for each: all of them turn up."""
    (tmp_path / "mine.yaml").write_text("\n".join(f"{kind}: {{timeout_s: {n}}}" for n, kind in enumerate(KINDS, 100)))
    _, kubernetes, _ = compile_with(tmp_path / "mine.yaml", tmp_path)
    assert {int(task["activeDeadlineSeconds"]) for task in kubernetes.values()} == set(range(100, 100 + len(KINDS)))
