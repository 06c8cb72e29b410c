#!/usr/bin/env bash
# RecTools 0.19.0: a perfect list for a user with one relevant item has NDCG@10 .2201, not 1.
#
# `NDCG(k=10)` divides by the gain of ten relevant items, however many the user has. Under leave-one-out, where a user
# has one, no model can get above 1 / (1 / log2(2) + … + 1 / log2(11)) = .2201; figures by this default are 4.54 times
# smaller than those of papers that divide by the best list that exists. `divide_by_achievable=True` is the usual metric.
# Seen: default 0.2201, divide_by_achievable 1.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q rectools==0.19.0
"$folder/venv/bin/python" - <<'PYTHON'
import pandas as pd
from rectools import Columns
from rectools.metrics import NDCG

target = pd.DataFrame({Columns.User: [1], Columns.Item: [7]})
first = pd.DataFrame({Columns.User: 1, Columns.Item: [7, *range(100, 109)], Columns.Rank: range(1, 11)})
default = NDCG(k=10).calc(first, target)
achievable = NDCG(k=10, divide_by_achievable=True).calc(first, target)
print(f"the target on rank 1: default {default:.4f}, divide_by_achievable {achievable:.4f}")
assert round(default, 4) == 0.2201, default
assert achievable == 1.0, achievable
PYTHON
