#!/usr/bin/env bash
# pandas 3.1.1 with pyarrow 25.0.1: turning a column with a time zone into an Arrow array raises a deprecation warning.
#
# pyarrow reads `Series.values`, whose meaning for such columns pandas announces to change. The caller has done nothing
# deprecated. Where warnings are errors, `pa.array` and `pa.Table.from_pandas` fail.
# Seen: Pandas4Warning from both; none for the same moments without a zone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q pandas==3.1.1 pyarrow==25.0.1
"$folder/venv/bin/python" - <<'PYTHON'
import warnings
from collections.abc import Callable

import pandas as pd
import pyarrow as pa


def list_warnings(convert: Callable[[], object]) -> list[str]:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        convert()
    return sorted({warning.category.__name__ for warning in seen})


zoned = pd.Series(pd.to_datetime([1, 2], unit="s", utc=True), name="time")
plain = zoned.dt.tz_convert(None)
seen = {
    "array": list_warnings(lambda: pa.array(zoned)),
    "table": list_warnings(lambda: pa.Table.from_pandas(zoned.to_frame())),
    "without a zone": list_warnings(lambda: pa.array(plain)),
}
print(seen)
assert seen == {"array": ["Pandas4Warning"], "table": ["Pandas4Warning"], "without a zone": []}, seen
PYTHON
