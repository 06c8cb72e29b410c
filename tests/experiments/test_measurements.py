import json

import numpy as np

from ur4rec.data.sequences import load_sequences
from ur4rec.experiments.choices import Ablation
from ur4rec.experiments.measurements import gather_units
from ur4rec.experiments.units import Unit, run_unit
from ur4rec.experiments.variants import Variant, configure
from ur4rec.ranking.ranks import rank_users
from ur4rec.training.checkpoints import load_model
from ur4rec.training.scoring import ModelScorer


def test_a_reference_without_sasrec_has_no_row_of_it(sequences, config, inputs, tmp_path):
    variant = Variant(description="No SASRec", settings={"system": "UR4RecMoEMemory"})
    unit = Unit("full", variant, configure("full", variant, config), tmp_path, inputs)
    record = run_unit(unit)
    assert list(record.stages) == ["pretrain_retriever", "end_to_end"]
    measured = gather_units({unit: record}, Ablation({"full": variant}, [config.seed]))
    assert list(measured) == ["full"]
    data = load_sequences(sequences)
    seen = data.histories("test")
    model = load_model(tmp_path / "stages" / record.stages["end_to_end"] / "checkpoint")
    assert np.array_equal(measured["full"].test[0], rank_users(ModelScorer(model, seen), data.test, seen, 256))
    assert json.loads((unit.folder / "unit.json").read_text())["expert_weights"]["user_preference"] == 0
