#!/usr/bin/env bash
# kfp 2.17.0: the command of a lightweight component keeps `sh` between the container and Python.
#
# It is `sh -ec '…; python3 -m kfp.dsl.executor_main …'`, without `exec`, and a shell hands no signal on. Where the shell
# is what a runtime signals, SIGTERM does not reach the component: a handler that saves a checkpoint within the grace
# period never runs. Keep what must survive as it is made, not when the end is announced.
# Seen (dash): after SIGTERM to the command the Python process below it goes on and its handler has not run; SIGTERM to
# that process itself runs the handler.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q kfp==2.17.0
cd "$folder"
cat >toy.py <<'PYTHON'
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import yaml
from kfp import compiler, dsl


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def wait(folder: str) -> None:
    import os
    import signal
    import time
    from pathlib import Path

    def stop(number, frame):
        Path(folder, "handled").touch()
        raise SystemExit(1)

    signal.signal(signal.SIGTERM, stop)
    Path(folder, "pid.new").write_text(str(os.getpid()))
    Path(folder, "pid.new").rename(Path(folder, "pid"))
    time.sleep(60)


compiler.Compiler().compile(wait, "wait.yaml")
container = yaml.safe_load(Path("wait.yaml").read_text())["deploymentSpec"]["executors"]["exec-wait"]["container"]
request = {"inputs": {"parameterValues": {"folder": os.getcwd()}}, "outputs": {"outputFile": f"{os.getcwd()}/out.json"}}
arguments = [json.dumps(request) if part == "{{$}}" else part for part in container["args"]]
command = subprocess.Popen([*container["command"], *arguments], stderr=subprocess.DEVNULL)
while not Path("pid").exists():
    assert command.poll() is None
    time.sleep(0.1)
process = int(Path("pid").read_text())
command.send_signal(signal.SIGTERM)
command.wait()
time.sleep(1)
goes_on, handled = Path(f"/proc/{process}").exists(), Path("handled").exists()
os.kill(process, signal.SIGTERM)
while not Path("handled").exists():
    time.sleep(0.1)
print(f"SIGTERM to the command: Python goes on {goes_on}, handler ran {handled}; to Python itself: handler ran True")
assert process != command.pid
assert (goes_on, handled) == (True, False)
PYTHON
PATH="$folder/venv/bin:$PATH" timeout 120 "$folder/venv/bin/python" toy.py
