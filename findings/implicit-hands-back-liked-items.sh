#!/usr/bin/env bash
# implicit 0.7.3: `filter_already_liked_items=True` hands liked items back, and item-item models do so at score 0.
#
# Liked items are moved to the end of the list, not out of it. The factor models mark them with the lowest float. The
# item-item models give them score 0, while an unseen item without a neighbour is not in the list at all: nothing in the
# answer tells a liked item from a weak recommendation. Take the liked ones out yourself.
# Seen: a user who liked 0, 1, 2 of five items asks for five. CosineRecommender: 3 and then the liked 2, 1, 0 at score
# 0.0, without the unseen item 4. AlternatingLeastSquares: liked ones at -3.4028235e+38.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q implicit==0.7.3
OPENBLAS_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.nearest_neighbours import CosineRecommender
from scipy.sparse import csr_matrix

liked = csr_matrix((np.ones(6, np.float32), ([0, 0, 0, 1, 1, 2], [0, 1, 2, 0, 3, 1])), shape=(3, 5))
answers = {}
for model in (CosineRecommender(K=5), AlternatingLeastSquares(factors=2, random_state=0, num_threads=1)):
    model.fit(liked, show_progress=False)
    items, scores = model.recommend(0, liked[0], N=5, filter_already_liked_items=True)
    answers[type(model).__name__] = {int(item): float(score) for item, score in zip(items, scores)}
    print(type(model).__name__, answers[type(model).__name__])
cosine, factors = answers["CosineRecommender"], answers["AlternatingLeastSquares"]
assert set(cosine) == {0, 1, 2, 3} and all(cosine[item] == 0 for item in (0, 1, 2)), cosine
assert set(factors) == {0, 1, 2, 3, 4} and all(factors[item] < -3e38 for item in (0, 1, 2)), factors
PYTHON
