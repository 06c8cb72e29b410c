"""Two small tasks, compiled for the tests of the local run."""

from pathlib import Path
from typing import NamedTuple

from kfp import compiler, dsl


@dsl.component(base_image="toy/python:1", install_kfp_package=False)
def write(text: str, seconds: float, words: dsl.Output[dsl.Artifact]) -> None:
    import os
    import time
    from pathlib import Path

    from ur4rec.stop_signals import interrupted_by_signals

    print('progress write {"line": 1, "lines": 1}')
    if "odd" in text:
        print("preprocess_sequences: warning: an odd word")
    Path(words.path).with_name("wait_policy").write_text(os.environ.get("OMP_WAIT_POLICY", ""))
    with interrupted_by_signals():
        try:
            Path(words.path).with_name("process_id").write_text(str(os.getpid()))
            time.sleep(seconds)
        except KeyboardInterrupt:
            print("stopped: write: nothing is kept", flush=True)
            raise
    Path(words.path).write_text(text)


@dsl.component(base_image="toy/python:1", install_kfp_package=False)
def count(words: dsl.Input[dsl.Artifact], expected: int, pause: float, counted: dsl.Output[dsl.Artifact]) -> None:
    import os
    import time
    from pathlib import Path

    Path(counted.path).with_name("count_id").write_text(str(os.getpid()))
    time.sleep(pause)
    found = len(Path(words.path).read_text().split())
    if found != expected:
        raise ValueError(f"{words.path}: {found} words, expected {expected}")
    Path(counted.path).write_text(str(found))


class Outputs(NamedTuple):
    words: dsl.Artifact
    counted: dsl.Artifact


@dsl.pipeline(name="toy")
def toy(text: str, expected: int, seconds: float = 0.0, pause: float = 0.0) -> Outputs:
    written = write(text=text, seconds=seconds).set_retry(3, backoff_duration="600s")
    counted = count(words=written.outputs["words"], expected=expected, pause=pause).set_retry(
        3, backoff_duration="600s"
    )
    return Outputs(words=written.outputs["words"], counted=counted.outputs["counted"])


def compile_toy(target: Path) -> Path:
    compiler.Compiler().compile(toy, str(target))
    return target
