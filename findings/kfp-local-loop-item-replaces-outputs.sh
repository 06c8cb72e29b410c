#!/usr/bin/env bash
# kfp 2.17.0: on this machine a loop hands its item to every input that comes from a task outside the loop.
#
# Inside `dsl.ParallelFor`, a task may read the loop's item and, as another input, what a task before the loop returned.
# The compiled pipeline says which is which, and Kubeflow Pipelines runs it so. `kfp.local` replaces both by the item,
# without a warning where the types agree: a text, a path or a digest is then silently another one.
# Seen: the task that should read item + word "outside" got item + item in each of the two iterations.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q kfp==2.17.0
cd "$folder"
cat > loop.py <<'PYTHON'
import json
from pathlib import Path

from kfp import dsl, local


@dsl.component
def say() -> str:
    return "outside"


@dsl.component
def join(item: str, word: str, folder: str):
    from pathlib import Path

    Path(folder, f"{item}.txt").write_text(f"{item} {word}")


@dsl.pipeline
def looped(folder: str):
    word = say()
    with dsl.ParallelFor(["a", "b"]) as item:
        join(item=item, word=word.output, folder=folder)


if __name__ == "__main__":
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root="root")
    looped(folder=str(Path.cwd()))
    seen = {path.stem: path.read_text() for path in sorted(Path.cwd().glob("?.txt"))}
    print(json.dumps(seen))
    assert seen == {"a": "a a", "b": "b b"}, "kfp.local hands a loop what the task before it returned: drop the mend"
PYTHON
"$folder/venv/bin/python" loop.py
