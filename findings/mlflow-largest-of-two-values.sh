#!/usr/bin/env bash
# mlflow 3.17.2: of two values of a metric with the same step and time stamp, the run shows the larger, not the last.
#
# `run.data.metrics` holds the newest value; "newest" is decided by step, then time stamp, then *value*. A corrected value
# that is logged within the same millisecond (or with a time stamp of one's own) disappears if it is smaller, and a
# quantity where less is better keeps its worst. An infinity comes back as the largest double.
# Seen (sqlite store): logged .9 then .1 at one step and time: .9; logged inf: 1.7976931348623157e+308.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q mlflow==3.17.2
cd "$folder"
"$folder/venv/bin/python" - 2>/dev/null <<'PYTHON'
import math
import sys

import mlflow

mlflow.set_tracking_uri("sqlite:///mlflow.db")
client = mlflow.MlflowClient()
run = client.create_run(client.create_experiment("finding")).info.run_id
for value in (0.9, 0.1):
    client.log_metric(run, "loss", value, timestamp=1_700_000_000_000, step=1)
client.log_metric(run, "ratio", math.inf, timestamp=1_700_000_000_000, step=1)
seen = client.get_run(run).data.metrics
print(f"loss .9 then .1: {seen['loss']}; ratio inf: {seen['ratio']!r}")
assert seen == {"loss": 0.9, "ratio": sys.float_info.max}, seen
PYTHON
