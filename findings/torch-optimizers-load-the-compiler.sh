#!/usr/bin/env bash
# torch 2.13.0, CPU: a loop that compiles nothing loads the compiler all the same.
#
# The constructor of an optimizer, its first step and `torch.use_deterministic_algorithms(True)` each import
# `torch._dynamo` and `torch._inductor`, with sympy: 800 modules, 75 MB and one to two seconds of CPU, which every short
# training process pays. `torch.set_deterministic_debug_mode("error")` turns the same flag on and imports nothing, and
# neither does the functional form of the same optimizer, `torch.optim.adamw.adamw`, whose fused steps have the same
# bits as the class's.
# Seen: modules loaded 824, 823, 0, 0; memory grown by 77 MB, 75 MB, 0, 2 MB.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
cat > "$folder/look.py" <<'PYTHON'
import os
import sys

import torch
from torch.optim.adamw import adamw

value = torch.nn.Parameter(torch.ones(3))
value.sum().backward()


def functional():
    tables = [torch.zeros(3)], [torch.zeros(3)], [], [torch.zeros(())]
    adamw([value.detach()], [value.grad], *tables, fused=True, amsgrad=False, beta1=0.9, beta2=0.999, lr=0.1,
          weight_decay=0.01, eps=1e-8, maximize=False)


def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


ways = {
    "class": lambda: torch.optim.AdamW([value], lr=0.1, weight_decay=0.01, fused=True).step(),
    "flag": lambda: torch.use_deterministic_algorithms(True),
    "mode": lambda: torch.set_deterministic_debug_mode("error"),
    "functional": functional,
}
modules, before = len(sys.modules), memory()
ways[sys.argv[1]]()
print(len(sys.modules) - modules, round(memory() - before), "torch._inductor" in sys.modules,
      torch.are_deterministic_algorithms_enabled(), value.detach().numpy().tobytes().hex())
PYTHON
for way in class flag mode functional; do
    "$folder/venv/bin/python" "$folder/look.py" $way > "$folder/$way"
    echo "$way: $(cat "$folder/$way")"
done
field() { cut -d ' ' -f "$2" "$folder/$1"; }
for way in class flag; do
    [ "$(field $way 1)" -gt 500 ]
    [ "$(field $way 2)" -gt 40 ]
    [ "$(field $way 3)" = True ]
done
for way in mode functional; do
    [ "$(field $way 1)" -lt 20 ]
    [ "$(field $way 3)" = False ]
done
[ "$(field flag 4)" = True ]
[ "$(field mode 4)" = True ]
[ "$(field class 5)" = "$(field functional 5)" ]
