#!/usr/bin/env bash
# torch 2.13.0, numpy 2.4: where a file cannot be written whole, the error does not say why.
#
# A file that grows over a limit (of the process here; a full disk is the same) makes `torch.save` raise a RuntimeError
# about positions in a zip archive. By path there is no OSError anywhere; through a file of Python's the OSError with its
# errno is in `__context__` alone. `numpy.save` raises an OSError whose errno is None. So `except OSError as error:
# error.errno == ENOSPC`, the usual way to tell a full disk, sees neither.
# Seen: torch by path RuntimeError, context RuntimeError; through a file RuntimeError, context OSError(27); numpy
# OSError, errno None.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import errno
import resource
import signal

import numpy as np
import torch

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the usual case: an error instead of a signal
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, resource.RLIM_INFINITY))
errors = {}


def attempt(name, write):
    try:
        write()
    except Exception as error:
        errors[name] = error
        print(f"{name}: {type(error).__name__}, errno {getattr(error, 'errno', 'not there')}, "
              f"context {error.__context__!r:.60}")


attempt("torch by path", lambda: torch.save(torch.zeros(1 << 17), "a.pt"))
with open("b.pt", "wb") as file:
    attempt("torch through a file", lambda: torch.save(torch.zeros(1 << 17), file))
attempt("numpy", lambda: np.save("a.npy", np.zeros(1 << 17)))

assert type(errors["torch by path"]) is RuntimeError
assert not isinstance(errors["torch by path"].__context__, OSError)
assert type(errors["torch through a file"]) is RuntimeError
assert errors["torch through a file"].__context__.errno == errno.EFBIG
assert type(errors["numpy"]) is OSError
assert errors["numpy"].errno is None
PYTHON
