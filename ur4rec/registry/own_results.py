"""Whether an evaluation is that of the very model which is registered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ur4rec.evaluation.history import read_history
from ur4rec.evaluation.results import Results, load_results
from ur4rec.storage.artifacts import ArtifactError, Manifest
from ur4rec.training.checkpoints import HISTORY


def check_own_results(path: Path, data: Manifest, trained: Manifest, checkpoint: Path) -> Results:
    """Reads results and checks that they tell of this data, these settings and this training.

    Args:
        path: `results.json`.
        data: Manifest of the sequences.
        trained: Manifest of the checkpoint.
        checkpoint: Its folder.

    Raises:
        ResultsError: The results cannot be read.
        ArtifactError: They are those of another model; says in what they differ.
    """
    results = load_results(path)
    difference = _find_difference(results, data.content_digest, trained.config, checkpoint)
    if difference:
        raise ArtifactError(
            f"{path}: is not the evaluation of {checkpoint}: {difference}; "
            "name the folder of this model's results.json with --outputs, or evaluate it (`ur4rec evaluate`)"
        )
    return results


def _find_difference(results: Results, data: str, settings: Mapping[str, Any], checkpoint: Path) -> str:
    if results.dataset.digest != data:
        return f"it was made on data {results.dataset.digest[:12]}, not on {data[:12]}"
    for key, value in settings.items():
        if key in results.config and results.config[key] != value:
            return f"{key} was {results.config[key]!r}, the checkpoint has {value!r}"
    if results.validation != read_history(checkpoint / HISTORY).validation:
        return "the validation metrics of its stages are not those of the checkpoint"
    return ""
