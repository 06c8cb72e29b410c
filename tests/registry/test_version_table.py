"""The table of versions shows without the libraries that train."""

import subprocess
import sys


def test_versions_are_listed_and_promoted_without_torch() -> None:
    modules = "ur4rec.registry.version_table, ur4rec.registry.champion.promotion"
    code = f"import sys, {modules}; print(sorted({{'torch', 'pandas', 'kfp'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
