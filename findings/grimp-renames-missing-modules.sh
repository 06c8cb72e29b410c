#!/usr/bin/env bash
# grimp 3.19: an import of a module that its own package does not have is dropped or recorded as another one.
#
# An import that cannot work, of a module that was renamed say, thus looks like none or like one that can, and nothing is
# logged. `import toy.deep.gone` becomes an import of `toy.deep`. `from toy.deep.gone import name` is dropped; where
# outside packages are part of the graph it becomes an import of `toy`. Contracts over the missing name are kept.
# Seen: exactly that.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q grimp==3.19
mkdir -p "$folder/toy/deep"
touch "$folder/toy/__init__.py" "$folder/toy/deep/__init__.py"
echo 'import toy.deep.gone' > "$folder/toy/first.py"
echo 'from toy.deep.gone import name' > "$folder/toy/second.py"
cd "$folder"
PYTHONPATH="$folder" "$folder/venv/bin/python" - <<'PYTHON'
import io
import logging

import grimp

log = io.StringIO()
logging.basicConfig(stream=log, level=logging.DEBUG)
imports = {}
for external in (False, True):
    graph = grimp.build_graph("toy", include_external_packages=external, cache_dir=None)
    imports[external] = [sorted(graph.find_modules_directly_imported_by(f"toy.{name}")) for name in ("first", "second")]
print(f"{imports}; the log speaks of the missing module: {'gone' in log.getvalue()}")
assert imports == {False: [["toy.deep"], []], True: [["toy.deep"], ["toy"]]}, imports
assert "gone" not in log.getvalue()
PYTHON
