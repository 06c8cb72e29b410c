"""Results with numbers of choice, for the tests of what is shown."""

from ur4rec.evaluation.results import Dataset, Protocol, Results
from ur4rec.ranking.bootstrap import Estimate
from ur4rec.ranking.metrics import METRICS


def make_results(name: str = "toy", value: float = 0.25, ci95: tuple[float, float] = (0.2, 0.3)) -> Results:
    metrics = {metric: Estimate(value=value, ci95=ci95) for metric in METRICS}
    return Results(
        dataset=Dataset(
            name=name, digest="d", num_users=2, num_items=40, num_interactions=9, later_interactions_share=0.5
        ),
        protocol=Protocol(split="leave_one_out", eval_protocol="full"),
        config={},
        seeds=[1],
        test={system: metrics for system in ("UR4RecV2MoE", "sasrec", "recency_ease", "popularity")},
        validation={},
        memory={},
        expert_weights={},
        timings_s={},
        versions={},
        validation_systems={},
        differences={},
        slices=[],
        peak_memory_mb={},
        notes=[],
    )
