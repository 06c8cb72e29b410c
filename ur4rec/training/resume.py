"""The state that a killed stage goes on from: the trainer's after its last epoch, and the events logged so far."""

from __future__ import annotations

import json
import secrets
import shutil
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ur4rec.models.tensor_files import TensorFileError, read_tensors, write_tensors
from ur4rec.stop_signals import interrupted_by_signals
from ur4rec.storage.artifacts import write_text_atomic
from ur4rec.storage.objects import StoredObject, StoreError
from ur4rec.storage.stores import is_cloud, open_store
from ur4rec.storage.temporaries import replacing, scratch_folder
from ur4rec.training.checkpoints import CheckpointError
from ur4rec.training.ranks import LostRankError

DIGEST_LENGTH = 16
SETTINGS = "settings.json"
UPLOAD_EVERY_S = 15.0
"""A state is uploaded no more often: so much work is lost at most, and an epoch, where a process is killed outright."""
LARGEST_SHARE = 0.1
"""Share of the time that uploads may take; large states are uploaded less often."""


class ResumePoint:
    """A folder for one stage with one set of inputs; nothing is there before the first epoch and after the last.

    Args:
        home: Where the folders of all stages are.
        stage: Name of the stage.
        key: Digest of all that shapes the result; another key is another folder.
        settings: Those that are part of the key, to tell later in what another key differs.
    """

    def __init__(self, home: Path, stage: str, key: str, settings: Mapping[str, Any] = MappingProxyType({})) -> None:
        self.epoch: int | None = None
        """The last one that is kept, as far as this process knows."""
        self._others = f"{stage}-*/{SETTINGS}"
        self._settings = dict(settings)
        self.folder = home / f"{stage}-{key[:DIGEST_LENGTH]}"
        self.logs = self.folder / "logs"
        self._file = self.folder / "state.pt"

    @property
    def place(self) -> str:
        """Where the state is kept."""
        return str(self.folder)

    def load(self) -> dict[str, Any] | None:
        """The state saved last; None where there is none.

        Raises:
            CheckpointError: The file is damaged.
        """
        if not self._file.is_file():
            return None
        try:
            state = read_tensors(self._file)
            self.epoch = state["record"]["epochs"]
        except TensorFileError as error:
            raise self.refuse(error.fault) from None
        except (LookupError, TypeError):
            raise self.refuse("is not the state of this stage") from None
        return state

    def refuse(self, fault: str) -> CheckpointError:
        """The error to raise for a state that cannot be gone on from."""
        return CheckpointError(f"{self._loaded_from}: {fault}; delete it to train from the start")

    @property
    def _loaded_from(self) -> str:
        return str(self._file)

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
        self.epoch = state["record"]["epochs"]

    def share(self) -> None:
        """Takes the state to where a later run finds it, where that is another place and it is time to."""

    def keep(self) -> str:
        """Takes the state there now; says what is kept, and where."""
        if self.epoch is None:
            return "no epoch was finished that could be kept"
        return f"epoch {self.epoch} is kept in {self.place}; the same inputs and settings go on from there"

    def clear(self) -> None:
        """Forgets everything."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.epoch = None

    def finish(self) -> None:
        """Forgets everything, for the stage is done and its result is written."""
        self.clear()

    def close(self) -> None:
        """Ends what the point holds on to; the state stays, events without one go."""
        if not self._file.is_file():
            self.clear()
        with suppress(OSError):  # other states are there
            self.folder.parent.rmdir()


class CloudResumePoint(ResumePoint):
    """The same folder on this machine, each state of it an object of its own; the newest whole one counts.

    A stage that ends before its time uploads the last state that it has.

    Args:
        home: `gs://bucket/prefix` or `s3://bucket/prefix` below which the prefixes of all stages are.
        stage: Name of the stage.
        key: Digest of all that shapes the result; another key is another prefix.

    Raises:
        StoreError: The location is none, or there are no credentials.
    """

    def __init__(self, home: str, stage: str, key: str) -> None:
        self._scratch = ExitStack()
        super().__init__(self._scratch.enter_context(scratch_folder("state")), stage, key)
        self._prefix = open_store(f"{home.rstrip('/')}/{self.folder.name}")
        self._name, self._number, self._next_s = "", 0, 0.0
        self._shared: int | None = None
        """The last epoch that is uploaded."""

    @property
    def place(self) -> str:
        """Where the state is kept."""
        return str(self._prefix.location)

    @property
    def _loaded_from(self) -> str:
        return f"{self._prefix.location}/{self._name}"

    def has_state(self) -> bool:
        """Whether there is something to go on from.

        Raises:
            StoreError: Cloud storage cannot be read.
        """
        return bool(self._list())

    def load(self) -> dict[str, Any] | None:
        """The state uploaded last; None where there is none.

        Raises:
            CheckpointError: It is damaged.
            StoreError: Cloud storage cannot be read.
        """
        if stored := self._list():
            self._number = int(stored[-1].name.partition("-")[0])
            self._prefix.download(stored[-1:], self.folder.parent)
            archive = self.folder.parent / stored[-1].name
            self._name = stored[-1].name
            try:
                with zipfile.ZipFile(archive) as file:
                    file.extractall(self.folder)
            except (zipfile.BadZipFile, zlib.error, EOFError):
                raise self.refuse("damaged") from None
            archive.unlink()
            state = super().load()
            self._shared = self.epoch
            return state
        return None

    def share(self) -> None:
        """Takes the state to cloud storage, from time to time.

        Storage that fails does not stop the training: it costs no more than what a retry would have to repeat.
        """
        if time.monotonic() < self._next_s:
            return
        began_s = time.monotonic()
        self._try_to_upload("training goes on")
        ended_s = time.monotonic()
        self._next_s = ended_s + max(UPLOAD_EVERY_S, (ended_s - began_s) / LARGEST_SHARE)

    def keep(self) -> str:
        """Uploads the state now, unless it is; says what is kept, and where."""
        if self._shared != self.epoch:
            self._try_to_upload("it is left as it was")
        self.epoch = self._shared
        return super().keep()

    def clear(self) -> None:
        """Forgets everything."""
        super().clear()
        self._shared = None
        self._prefix.delete(self._list())

    def finish(self) -> None:
        """Forgets everything; what storage keeps, for it fails, does no harm: nothing else has this key."""
        try:
            self.clear()
        except StoreError as error:
            print(f"the state of the finished stage could not be removed: {error}", flush=True)

    def close(self) -> None:
        """Uploads what is not yet, ends the connections and removes the folder on this machine."""
        self.keep()
        self._prefix.close()
        self._scratch.close()

    def _try_to_upload(self, otherwise: str) -> None:
        try:
            self._upload()
        except StoreError as error:
            print(f"the state could not be stored, {otherwise}: {error}", flush=True)
            return
        self._shared = self.epoch

    def _upload(self) -> None:
        older = self._list()
        self._number += 1
        name = f"{self._number:08d}-{secrets.token_hex(8)}.zip"
        archive = self.folder.parent / name
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted(self.folder.rglob("*")):
                file.write(path, path.relative_to(self.folder))
        self._prefix.upload_new(name, archive)
        archive.unlink()
        self._prefix.delete(older)

    def _list(self) -> list[StoredObject]:
        return sorted(self._prefix.list_objects(), key=lambda stored: stored.name)


@contextmanager
def open_resume_point(
    home: Path | str | None, stage: str, key: str, settings: Mapping[str, Any] = MappingProxyType({})
) -> Iterator[ResumePoint | None]:
    """Opens the place where the state of a stage is kept; None where it is not.

    An interruption, and the loss of a process that trains along, say what is left.

    Args:
        home: A folder, `gs://bucket/prefix` or `s3://bucket/prefix`.
        stage: Name of the stage.
        key: Digest of all that shapes the result.
        settings: Those that are part of the key.
    """
    with interrupted_by_signals(), ExitStack() as stack:
        point = _open(home, stage, key, settings) if home else None
        if point:
            stack.callback(point.close)
        try:
            yield point
        except (KeyboardInterrupt, LostRankError):
            kept = point.keep() if point else "nothing is kept, for no place of its state is named"
            print(f"stopped: {stage}: {kept}", flush=True)
            raise


def _open(home: Path | str, stage: str, key: str, settings: Mapping[str, Any]) -> ResumePoint:
    if is_cloud(home):
        return CloudResumePoint(str(home), stage, key)
    return ResumePoint(Path(home), stage, key, settings)
