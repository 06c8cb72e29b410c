#!/usr/bin/env bash
# kfp 2.17.0: an integer parameter passes through a double, silently.
#
# A component that takes `int` gets 9007199254740992 for 9007199254740993 (2^53 + 1) with the local runner: parameters
# travel as protobuf's Value, whose only number is a double. There is no warning, and the function still sees an `int`.
# Seeds and ids beyond 2^53 change on their way; pass them as strings.
# Seen: given 9007199254740993, got 9007199254740992; the same number inside a dictionary likewise; as a string unchanged.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q kfp==2.17.0
cd "$folder"
cat >toy.py <<'PYTHON'
from kfp import dsl, local


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def echo(number: int, nested: dict, text: str) -> str:
    return f"{number} {nested['number']:.0f} {text}"


local.init(local.SubprocessRunner(use_venv=False), pipeline_root="root")
GIVEN = 2**53 + 1
got = echo(number=GIVEN, nested={"number": GIVEN}, text=str(GIVEN)).output
print(f"given {GIVEN} as int, in a dictionary, as a string; got {got}")
assert got == f"{2**53} {2**53} {GIVEN}", got
PYTHON
PATH="$folder/venv/bin:$PATH" "$folder/venv/bin/python" toy.py 2>&1 | grep given
