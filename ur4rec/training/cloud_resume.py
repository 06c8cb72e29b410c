"""The state of a killed stage in cloud storage, where the retry of a task finds it on whatever machine it runs."""

from __future__ import annotations

import secrets
import time
import zipfile
import zlib
from contextlib import ExitStack
from typing import Any

from ur4rec.storage.gcs import GcsError, GcsLocation, GcsPrefix, StoredObject
from ur4rec.storage.temporaries import scratch_folder
from ur4rec.training.resume import ResumePoint

UPLOAD_EVERY_S = 15.0
"""A state is uploaded no more often: so much work is lost at most, and an epoch, where a process is killed outright."""
LARGEST_SHARE = 0.1
"""Of the time, that uploads may take: large states are uploaded less often."""


class CloudResumePoint(ResumePoint):
    """The same folder on this machine, each state of it an object of its own; the newest whole one counts.

    A stage that ends before its time uploads the last state that it has.

    Args:
        home: `gs://bucket/prefix` below which the prefixes of all stages are.
        stage: Name of the stage.
        key: Digest of all that shapes the result; another key is another prefix.

    Raises:
        GcsError: The location is none, or there are no credentials.
    """

    def __init__(self, home: str, stage: str, key: str) -> None:
        self._scratch = ExitStack()
        super().__init__(self._scratch.enter_context(scratch_folder("state")), stage, key)
        self._prefix = GcsPrefix(GcsLocation.parse(f"{home.rstrip('/')}/{self.folder.name}"))
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
            GcsError: Cloud storage cannot be read.
        """
        return bool(self._list())

    def load(self) -> dict[str, Any] | None:
        """The state uploaded last; None where there is none.

        Raises:
            CheckpointError: It is damaged.
            GcsError: Cloud storage cannot be read.
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
        except GcsError as error:
            print(f"the state of the finished stage could not be removed: {error}", flush=True)

    def close(self) -> None:
        """Uploads what is not yet, ends the connections and removes the folder on this machine."""
        self.keep()
        self._prefix.close()
        self._scratch.close()

    def _try_to_upload(self, otherwise: str) -> None:
        try:
            self._upload()
        except GcsError as error:
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
