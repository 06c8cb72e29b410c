from pathlib import Path

import pytest

from ur4rec.serving.identity import open_served
from ur4rec.storage.artifacts import ArtifactError


def test_a_folder_that_is_no_bundle_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(ArtifactError, match="outputs: bundle not found; expected models:/NAME@ALIAS"),
        open_served(str(tmp_path / "outputs")),
    ):
        pass
