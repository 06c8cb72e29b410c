#!/usr/bin/env bash
# LensKit 2025.8.1: NDCG weighs ranks 1 and 2 alike, and users without a list leave the mean.
#
# The discount is the logarithm to base 2 of the rank, held at 1 from below, so a single target on rank 2 has NDCG 1.0
# (the usual discount, log2(rank + 1), gives .63) and one on rank 3 has .63 (usual: .50). `RunAnalysis` averages over the
# lists that exist: a model that answers one of two users, and that one well, has a hit rate of 1.0, not .5.
# Seen: NDCG@10 of ranks 1, 2, 3: 1.0000 1.0000 0.6309; Hit@10 with one of two users answered: 1.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q lenskit==2025.8.1
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
from lenskit.data import ItemList, ItemListCollection, UserIDKey
from lenskit.metrics import NDCG, Hit, RunAnalysis

target = ItemList([7])
ranked = [[7, 1, 2], [1, 7, 2], [1, 2, 7]]
ndcg = [round(float(NDCG(n=10).measure_list(ItemList(items, ordered=True), target)), 4) for items in ranked]

answered, wanted = ItemListCollection(UserIDKey), ItemListCollection(UserIDKey)
answered.add(ItemList([7, 1], ordered=True), user_id=1)
for user in (1, 2):
    wanted.add(target, user_id=user)
analysis = RunAnalysis()
analysis.add_metric(Hit(n=10))
hit = float(analysis.measure(answered, wanted).list_summary()["mean"].iloc[0])

print(f"NDCG@10 of ranks 1, 2, 3: {ndcg}; Hit@10 with one of two users answered: {hit}")
assert ndcg == [1.0, 1.0, 0.6309], ndcg
assert hit == 1.0, hit
PYTHON
