"""What a killed stage goes on from: the trainer's state after its last finished epoch, and the events logged so far."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ur4rec.models.tensor_files import TensorFileError, read_tensors, write_tensors
from ur4rec.storage.artifacts import write_text_atomic
from ur4rec.storage.inputs import is_cloud
from ur4rec.storage.temporaries import replacing
from ur4rec.training.checkpoints import CheckpointError

DIGEST_LENGTH = 16
SETTINGS = "settings.json"


class ResumePoint:
    """A folder for one stage with one set of inputs; nothing is there before the first epoch and after the last.

    Args:
        home: Where the folders of all stages are.
        stage: Name of the stage.
        key: Digest of all that shapes the result; another key is another folder.
        settings: Those that are part of the key, to tell later in what another key differs.
    """

    def __init__(self, home: Path, stage: str, key: str, settings: Mapping[str, Any] = MappingProxyType({})) -> None:
        self._others = f"{stage}-*/{SETTINGS}"
        self._settings = dict(settings)
        self.folder = home / f"{stage}-{key[:DIGEST_LENGTH]}"
        self.logs = self.folder / "logs"
        self._file = self.folder / "state.pt"

    def load(self) -> dict[str, Any] | None:
        """The state saved last; None where there is none.

        Raises:
            CheckpointError: The file is damaged.
        """
        if not self._file.is_file():
            return None
        try:
            return read_tensors(self._file)
        except TensorFileError as error:
            raise self.refuse(error.fault) from None

    def refuse(self, fault: str) -> CheckpointError:
        """The error to raise for a state that cannot be gone on from."""
        return CheckpointError(f"{self._place}: {fault}; delete it to train from the start")

    @property
    def _place(self) -> Path | str:
        return self._file

    def find_other(self) -> dict[str, Any] | None:
        """The settings of this stage's newest state that has another key; None where there is none on this machine."""
        others = [path for path in self.folder.parent.glob(self._others) if path.parent != self.folder]
        if not others:
            return None
        try:
            settings = json.loads(max(others, key=lambda path: path.stat().st_mtime_ns).read_bytes())
        except (OSError, ValueError):  # damaged; they are for a message alone
            return None
        return settings if isinstance(settings, dict) else None

    def has_state(self) -> bool:
        """Whether there is something to go on from."""
        return self._file.is_file()

    def save(self, state: dict[str, Any]) -> None:
        """Replaces the state, completely or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / SETTINGS).is_file():
            write_text_atomic(self.folder / SETTINGS, json.dumps(self._settings))
        with replacing(self._file) as temporary, temporary.open("wb") as file:
            write_tensors(file, state)

    def clear(self) -> None:
        """Forgets everything."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def finish(self) -> None:
        """Forgets everything, for the stage is done and its result is written."""
        self.clear()

    def close(self) -> None:
        """Ends what the point holds on to; the state stays."""


@contextmanager
def open_resume_point(
    home: Path | str | None, stage: str, key: str, settings: Mapping[str, Any] = MappingProxyType({})
) -> Iterator[ResumePoint | None]:
    """Where the state of a stage is kept; None where it is not.

    Args:
        home: A folder or `gs://bucket/prefix`.
        stage: Name of the stage.
        key: Digest of all that shapes the result.
        settings: Those that are part of the key.
    """
    if not home:
        yield None
        return
    if is_cloud(home):
        from ur4rec.training.cloud_resume import CloudResumePoint  # its client takes a second to import

        point: ResumePoint = CloudResumePoint(str(home), stage, key)
    else:
        point = ResumePoint(Path(home), stage, key, settings)
    try:
        yield point
    finally:
        point.close()
