"""A small artifact folder."""

from pathlib import Path

from ur4rec.config_section import ConfigSection
from ur4rec.storage.artifacts import write_artifact


class ToyConfig(ConfigSection):
    """A configuration of one field."""

    word: str = "toy"


def make_artifact(folder: Path, word: str) -> Path:
    with write_artifact(folder, "toy", ToyConfig(word=word)) as writer:
        (writer.folder / "logs").mkdir()
        (writer.folder / "logs" / "events").write_text(word)
        (writer.folder / "weights.pt").write_text(word * 100)
    return folder
