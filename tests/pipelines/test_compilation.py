from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.__main__ import app
from pipelines.compilation import PIPELINE_FILE, PipelineFileError, check_compiled, is_current

HEAVY = ("torch", "mlflow", "sentence_transformers", "transformers", "pandas", "numpy", "sklearn", "matplotlib")


def test_compiling_in_a_new_process_imports_nothing_heavy_and_writes_the_same(tmp_path: Path) -> None:
    output = tmp_path / "pipeline.yaml"
    script = (
        "import sys\n"
        "from pipelines.__main__ import app\n"
        f"app(['compile', '--output', {str(output)!r}], standalone_mode=False)\n"
        f"print('heavy:', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert process.stdout.splitlines()[-1] == "heavy: []"
    assert output.read_bytes() == PIPELINE_FILE.read_bytes()


def test_check_finds_an_edited_or_missing_file(tmp_path: Path) -> None:
    edited = tmp_path / "edited.yaml"
    edited.write_bytes(PIPELINE_FILE.read_bytes().replace(b"cpuRequest: 1.0", b"cpuRequest: 3.0", 1))
    with pytest.raises(PipelineFileError, match=r"edited\.yaml: differs"):
        check_compiled(edited)
    assert not is_current(edited)
    with pytest.raises(PipelineFileError, match=r"missing\.yaml: not found"):
        check_compiled(tmp_path / "missing.yaml")
    result = CliRunner().invoke(app, ["compile", "--check", "--output", str(edited)])
    assert result.exit_code == 2
    assert edited.read_bytes() != PIPELINE_FILE.read_bytes()


def test_the_check_of_a_run_does_not_mind_the_version_of_kfp(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_bytes(PIPELINE_FILE.read_bytes().replace(b"sdkVersion: kfp-2", b"sdkVersion: kfp-9", 1))
    assert is_current(other)
    with pytest.raises(PipelineFileError):
        check_compiled(other)
