#!/usr/bin/env bash
# cornac 3.0.1: the format "UI" (user, item) reads every further field of a line as one more item.
#
# "UIR" and "UIRT" read exactly these fields. "UI" looks like the same without the rating, but it reads `user item item
# …`: of MovieLens' u.data, whose lines are user, item, rating and time, the ratings and the times become items that
# the user has. Nothing is said, and a model trains on three times the pairs.
# Seen: [('196', '242', 1.0), ('196', '3', 1.0), ('196', '881250949', 1.0)] of one line.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q cornac==3.0.1
cd "$folder"
printf '196\t242\t3\t881250949\n' > u.data
"$folder/venv/bin/python" - <<'PYTHON'
from cornac.data import Reader

pairs = Reader().read("u.data", fmt="UI")
print(pairs, Reader().read("u.data", fmt="UIRT"))
assert pairs == [("196", "242", 1.0), ("196", "3", 1.0), ("196", "881250949", 1.0)]
assert Reader().read("u.data", fmt="UIRT") == [("196", "242", 3.0, 881250949)]
PYTHON
