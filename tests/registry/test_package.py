"""The model folder: its requirements, its example, its own sources."""

import json
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from toy_runs import Registered

from ur4rec.registry.mlflow_client import open_mlflow
from ur4rec.registry.package import list_requirements

CHALLENGER = "models:/ur4rec@challenger"


def test_the_input_example_fits_the_signature(registered: Registered) -> None:
    with open_mlflow(registered.tracking_uri):
        model = mlflow.pyfunc.load_model(CHALLENGER)
        assert model.metadata.signature.inputs.input_names() == ["user_id", "history"]
        assert model.predict(model.input_example)["source"].unique().tolist() == ["user", "history", "fallback"]
        served = Path(mlflow.artifacts.download_artifacts(f"{CHALLENGER}/serving_input_example.json")).read_text()
        assert "null" in served
        assert "NaN" not in served
        requirements = Path(mlflow.artifacts.download_artifacts(f"{CHALLENGER}/requirements.txt")).read_text()
    assert set(list_requirements()) <= set(requirements.split())


def test_requirements_are_lines_of_the_lock_file() -> None:
    files = [Path(__file__).parents[2] / name for name in ("requirements.lock", "requirements-torch.lock")]
    lock = {line.partition(" ")[0] for file in files for line in file.read_text().splitlines()}
    assert {"mlflow", "pandas", "torch"} <= {line.partition("==")[0] for line in list_requirements()}
    assert set(list_requirements()) <= lock


def test_requirements_do_not_depend_on_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.0.1")
    assert not any(line.endswith("==0.0.1") for line in list_requirements())


SCRIPT = """
import sys
import mlflow, pandas
model = mlflow.pyfunc.load_model("models:/ur4rec@challenger")
table = model.predict(pandas.DataFrame({"user_id": ["u03", "stranger"]}), params={"k": 2})
import ur4rec.recommender.recommender as served
print(served.__file__)
print(table["item_id"].tolist())
foreign = {"kfp", "typer", "sentence_transformers", "matplotlib"}
print(sorted(foreign & {name.partition(".")[0] for name in sys.modules}))
"""


def test_a_loaded_model_brings_its_own_sources(registered: Registered) -> None:
    # -I: neither the working directory nor PYTHONPATH; the model's folder comes first on the path.
    code = f"import os; os.environ['MLFLOW_TRACKING_URI'] = {registered.tracking_uri!r}\n{SCRIPT}"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd=registered.folder)
    assert done.returncode == 0, done.stderr
    source, items, foreign = done.stdout.strip().splitlines()[-3:]
    assert Path(source).is_relative_to(registered.folder / "mlflow/mlartifacts")
    assert len(json.loads(items.replace("'", '"'))) == 4
    assert foreign == "[]"
