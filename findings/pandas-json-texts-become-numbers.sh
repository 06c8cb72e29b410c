#!/usr/bin/env bash
# pandas 3.1.1: `read_json` turns quoted texts into numbers, so that ids lose their leading zeros.
#
# JSON says which values are texts. Where every text of a column looks like a number, pandas makes numbers of them all
# the same (`dtype=True` is its default): the ISBN "0345453743" becomes 345453743. One id with a letter anywhere in the
# file keeps the whole column as it is, so a sample of a file and the file itself give different ids, and reviews no
# longer meet the metadata that was read from another file. `dtype=False` keeps the texts; numbers stay numbers.
# Seen: [345453743, 345453744]; with one more line, ['0345453743', '0345453744', 'B000FA64PK']; with dtype=False the
# texts.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pandas==3.1.1
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from io import StringIO

import pandas as pd

ISBNS = '{"asin": "0345453743"}\n{"asin": "0345453744"}\n'


def read(text, **options):
    return pd.read_json(StringIO(text), lines=True, **options).asin.tolist()


seen = {
    "numbers only": read(ISBNS),
    "one letter": read(ISBNS + '{"asin": "B000FA64PK"}\n'),
    "dtype=False": read(ISBNS, dtype=False),
}
print(seen)
assert seen["numbers only"] == [345453743, 345453744]
assert seen["one letter"] == ["0345453743", "0345453744", "B000FA64PK"]
assert seen["dtype=False"] == ["0345453743", "0345453744"]
PYTHON
