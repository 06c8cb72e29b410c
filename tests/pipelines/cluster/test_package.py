from __future__ import annotations

import pytest
from kfp_server import KfpServer

from pipelines.cluster.package import Package, ParameterError
from pipelines.compilation import PIPELINE_FILE, compile_training

SPECIFICATION = b"""
pipelineInfo: {name: toy}
deploymentSpec: {executors: {a: {container: {image: one}}, b: {container: {image: one}}, c: {importer: {}}}}
root:
  inputDefinitions:
    parameters:
      text: {parameterType: STRING}
      number: {parameterType: NUMBER_DOUBLE, isOptional: true}
      count: {parameterType: NUMBER_INTEGER, isOptional: true}
      flag: {parameterType: BOOLEAN, isOptional: true}
      group: {parameterType: STRUCT, isOptional: true}
---
platforms: {}
"""


@pytest.fixture
def package() -> Package:
    return Package(SPECIFICATION)


def test_what_is_sent_is_what_compile_writes() -> None:
    package = Package(compile_training())
    assert package.content == PIPELINE_FILE.read_bytes()
    assert package.pipeline_name == "ur4rec-training"
    assert len(package.images) == 2


def test_other_bytes_have_another_name(package: Package) -> None:
    assert package.version_name == Package(SPECIFICATION).version_name
    assert package.version_name != Package(SPECIFICATION + b" ").version_name
    assert package.images == ["one"]


@pytest.mark.parametrize(
    "parameters", [{"text": "a"}, {"text": "a", "number": 1, "count": 2, "flag": True, "group": {"a": None}}]
)
def test_parameters_that_fit_are_taken_by_a_server(package: Package, parameters: dict[str, object]) -> None:
    package.check(parameters)
    server = KfpServer()
    pipeline_id = server.create_pipeline({"display_name": "toy"})["pipeline_id"]
    version = server.upload_version({"pipelineid": pipeline_id, "name": "1"}, package.content)
    reference = {"pipeline_id": pipeline_id, "pipeline_version_id": version["pipeline_version_id"]}
    experiment_id = server.create_experiment({"display_name": "toy"})["experiment_id"]
    run = {"display_name": "toy", "experiment_id": experiment_id, "pipeline_version_reference": reference}
    server.create_run({**run, "runtime_config": {"parameters": parameters}})
    (taken,) = server.runs.values()
    assert taken["runtime_config"]["parameters"] == parameters


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "text: missing; the compiled pipeline expects a STRING"),
        ({"text": "a", "txt": "b"}, "txt: the compiled pipeline has no such parameter; it has text, number"),
        ({"text": 1}, "text: expected a STRING, got 1"),
        ({"text": "a", "count": 1.5}, "count: expected a NUMBER_INTEGER, got 1.5"),
        ({"text": "a", "count": True}, "count: expected a NUMBER_INTEGER, got True"),
        ({"text": "a", "group": []}, r"group: expected a STRUCT, got \[\]"),
    ],
)
def test_parameters_that_do_not(package: Package, parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        package.check(parameters)
