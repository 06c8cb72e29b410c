"""`ur4rec publish`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ur4rec.commands.console import show

MB = 1e6


def publish(
    folder: Annotated[Path, typer.Argument(help="Folder with files.", exists=True, file_okay=False)],
    target: Annotated[str, typer.Argument(help="gs://bucket/prefix, or a path.")],
) -> None:
    """Put a folder where others read it: they see the version before or the whole new one, verified.

    For example:

        ur4rec publish outputs/sequences gs://bucket/sequences

        ur4rec data fetch gs://bucket/sequences -o outputs/sequences
    """
    from ur4rec.storage.folders import publish_folder

    done = publish_folder(folder, target)
    for leftover in done.removed:
        show(f"removed, unfinished or outdated: {leftover}")
    what = "published" if done.changed else "unchanged"
    show(f"{what}: {target} ({done.num_files:,} files, {done.size_bytes / MB:,.1f} MB)")
