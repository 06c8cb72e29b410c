#!/usr/bin/env bash
# datarec 1.5.7: `read_transactions_tabular(header=None)` takes the first row for column names and loses it.
#
# `header=None` is pandas' way to say that a file has no column names, and the reader hands its options to
# `pandas.read_csv`. It drops those that are None first, so pandas falls back to its own default and makes names of the
# first row. Columns that are named by position still resolve, nothing is said, and one interaction is gone. With
# `cols`, the names of all columns, every row is read.
# Seen: 2 rows with header=None, 3 with cols.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q datarec==1.5.7
cd "$folder"
printf '196\t242\t3\t881250949\n186\t302\t3\t891717742\n22\t377\t1\t878887116\n' > u.data
"$folder/venv/bin/python" - <<'PYTHON'
from datarec.io.readers.transactions.tabular import read_transactions_tabular

by_position = read_transactions_tabular(
    "u.data", sep="\t", header=None, user_col=0, item_col=1, rating_col=2, timestamp_col=3
)
names = ["user", "item", "rating", "time"]
by_name = read_transactions_tabular(
    "u.data", sep="\t", cols=names, user_col="user", item_col="item", rating_col="rating", timestamp_col="time"
)
print(len(by_position.data), len(by_name.data))
assert (len(by_position.data), len(by_name.data)) == (2, 3)
PYTHON
