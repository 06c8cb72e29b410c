"""Trains our stages up to one, unless they are in the cache: `python -m benchmarks.peer_stages SPLIT RUN SETTING`.

Every stage is trained once, whatever number of systems is made of it, and one that was killed goes on from its last
epoch. The clock of a system is the sum of its stages' own.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

from benchmarks.peer_exchange import METRIC, Point, Recorder, Split
from benchmarks.peer_ours import PACKAGES, observe
from ur4rec.data.sequences import Histories
from ur4rec.experiments.stage_cache import CachedStage, StageInputs, obtain_stages, plan_stages, read_inputs
from ur4rec.storage.artifacts import peak_memory_mb, write_text_atomic
from ur4rec.training.checkpoints import load_model, read_raw_history
from ur4rec.training.config import StageConfig
from ur4rec.training.scoring import ModelScorer

MEMORY = ".memory"
"""Suffix of the file that has the peak of the process which trained a stage."""


def train(cache: Path, inputs: StageInputs, config: StageConfig, last: str) -> list[CachedStage]:
    """Return the stages, trained unless they are there; the memory that it took is noted."""
    for planned in plan_stages(cache, inputs, config, last):
        is_there = planned.is_complete
        obtain_stages(cache, inputs, config, planned.stage)
        if not is_there:
            write_text_atomic(_memory_file(planned), f"{peak_memory_mb()}\n")
    return plan_stages(cache, inputs, config, last)


def describe(checkpoint: Path) -> list[Point]:
    """Return a point for the end of each stage; only that of the last one counts as the system's own."""
    stages = read_raw_history(checkpoint)["stages"]
    epochs, clocks = (list(accumulate([stage[name] for stage in stages])) for name in ("epochs", "seconds"))
    scores = [stage["validation"][METRIC] for stage in stages]
    return [
        Point(epoch, score, clock, clock, 0.0, place == len(stages))
        for place, (epoch, score, clock) in enumerate(zip(epochs, scores, clocks, strict=True), 1)
    ]


def peak_of(stages: list[CachedStage]) -> float:
    """Return the largest peak of the processes that trained the stages, as far as it was noted."""
    files = [_memory_file(stage) for stage in stages]
    return max((float(file.read_text(encoding="utf-8")) for file in files if file.is_file()), default=0.0)


def _memory_file(stage: CachedStage) -> Path:
    return stage.folder.with_name(f"{stage.folder.name}{MEMORY}")


def main() -> None:
    """Train what is missing and write the run."""
    split_path, run_path, setting = sys.argv[1:]
    values: dict[str, Any] = json.loads(setting)
    recorder = Recorder(Split.load(Path(split_path)), "UR4Rec")
    recorder.start()
    observe(recorder, counted=(values["stage"],))
    inputs = read_inputs(Path(values["sequences"]), Path(values["embeddings"]), "cpu")
    stages = train(Path(values["cache"]), inputs, StageConfig.parse(values["settings"]), values["stage"])
    recorder.curve = describe(stages[-1].checkpoint)
    model = load_model(stages[-1].checkpoint)

    def scorer(histories: Histories) -> ModelScorer:
        return ModelScorer(model, histories, values["part"])

    run = recorder.finish(scorer, PACKAGES, stages[-1].manifest().config)
    replace(run, peak_memory_mb=peak_of(stages) or run.peak_memory_mb).save(Path(run_path))


if __name__ == "__main__":
    main()
