#!/usr/bin/env bash
# optuna 5.0.0: MedianPruner does not compare a step with the same step of other trials.
#
# It compares the best value that a trial has reported at any step so far with the median, over finished trials, of what
# they reported at this step. Where a later step measures something else (a second stage of a training, say) one good
# early step keeps a trial alive, however bad the later ones are.
# Seen: the others report .30, .50; a trial that reports .90, .01 is not pruned at its second step, one with .10, .01 is.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q optuna==5.0.0
"$folder/venv/bin/python" - <<'PYTHON'
import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)


def is_pruned(first: float, second: float) -> bool:
    pruner = optuna.pruners.MedianPruner(n_startup_trials=0)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for _ in range(5):
        study.add_trial(optuna.trial.create_trial(value=0.5, intermediate_values={0: 0.3, 1: 0.5}))
    trial = study.ask()
    trial.report(first, 0)
    trial.report(second, 1)
    return trial.should_prune()


verdicts = {values: is_pruned(*values) for values in [(0.9, 0.01), (0.1, 0.01)]}
print(f"pruned at step 1, where the median is .50: {verdicts}")
assert verdicts == {(0.9, 0.01): False, (0.1, 0.01): True}, verdicts
PYTHON
