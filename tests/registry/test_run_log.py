import json
from pathlib import Path

import pytest

from ur4rec.registry.mlflow_client import open_mlflow
from ur4rec.registry.run_log import log_curves, log_params, open_run


def test_long_curves_and_many_parameters_go_in_several_batches(tracking_uri: str, tmp_path: Path) -> None:
    series = [{"epoch": epoch, "step": 9, "loss": float(epoch), "hit@5": 0.5} for epoch in range(600)]
    history = {"stages": [{"stage": "joint_finetune", "series": series}]}
    (tmp_path / "history.json").write_text(json.dumps(history))
    config = {f"key_{number}": number for number in range(150)}
    with open_mlflow(tracking_uri) as client, open_run(client, "ur4rec", None) as run:
        log_curves(client, run.info.run_id, tmp_path / "history.json")
        log_params(client, run, config)
        logged = client.get_run(run.info.run_id)
        assert len(logged.data.params) == 150
        assert set(logged.data.metrics) == {"joint_finetune/loss", "joint_finetune/hit_at_5"}
        loss = client.get_metric_history(run.info.run_id, "joint_finetune/loss")
        assert {point.step: point.value for point in loss} == {epoch: float(epoch) for epoch in range(600)}


def test_what_was_not_measured_is_not_logged(tracking_uri: str, tmp_path: Path) -> None:
    series = [{"epoch": 0, "ndcg@10": 0.1}, {"epoch": 1, "loss": float("nan"), "phase": "sasrec", "ndcg@10": None}]
    (tmp_path / "history.json").write_text(json.dumps({"stages": [{"stage": "end_to_end", "series": series}]}))
    with open_mlflow(tracking_uri) as client, open_run(client, "ur4rec", None) as run:
        log_curves(client, run.info.run_id, tmp_path / "history.json")
        assert client.get_run(run.info.run_id).data.metrics == {"end_to_end/ndcg_at_10": 0.1}


def test_a_run_of_our_own_ends_with_its_outcome(tracking_uri: str) -> None:
    with open_mlflow(tracking_uri) as client:
        with open_run(client, "ur4rec", None) as good:
            assert client.get_run(good.info.run_id).info.status == "RUNNING"
        with pytest.raises(KeyError), open_run(client, "ur4rec", None) as bad:
            raise KeyError
        assert client.get_run(good.info.run_id).info.status == "FINISHED"
        assert client.get_run(bad.info.run_id).info.status == "FAILED"
