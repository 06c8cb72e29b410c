"""Progress of a task as lines that a person and a program can read."""

from __future__ import annotations

import json
from collections.abc import Mapping


def report(task: str, values: Mapping[str, float | int | str]) -> None:
    """Prints `progress <task> <json>`."""
    rounded = {key: round(value, 5) if isinstance(value, float) else value for key, value in values.items()}
    print(f"progress {task} {json.dumps(rounded)}", flush=True)
