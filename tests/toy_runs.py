"""What a small training, and its registration, left behind."""

from dataclasses import dataclass
from pathlib import Path

from ur4rec.config import Config
from ur4rec.registry.register import Registration


@dataclass(frozen=True)
class Trained:
    """Artifact folders of one run."""

    config: Config
    sequences: Path
    checkpoint: Path
    memories: Path
    results: Path
    report: Path

    @property
    def inputs(self) -> tuple[Path, Path, Path, Path, Path]:
        """In the order of `register_model`."""
        return self.sequences, self.checkpoint, self.memories, self.results, self.report


@dataclass(frozen=True)
class Registered:
    """A registered model that tests only read."""

    registration: Registration
    tracking_uri: str
    folder: Path
