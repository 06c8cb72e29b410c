"""Final model → results and report."""

from typing import Any

from kfp import dsl

from components.image import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def evaluate(
    code_digest: str,
    config: dict[str, Any],
    sequences: dsl.Input[dsl.Dataset],
    texts: dsl.Input[dsl.Artifact],
    embeddings: dsl.Input[dsl.Dataset],
    sasrec: dsl.Input[dsl.Model],
    retriever: dsl.Input[dsl.Model],
    joint: dsl.Input[dsl.Model],
    checkpoint: dsl.Input[dsl.Model],
    results: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    comparison: dsl.Output[dsl.Markdown],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Thin wrapper around `ur4rec.evaluation.evaluate.evaluate`."""
    from pathlib import Path

    from ur4rec.evaluation.config import EvaluationConfig
    from ur4rec.evaluation.evaluate import evaluate
    from ur4rec.storage.task_metrics import log_metrics

    outcome = evaluate(
        Path(sequences.path),
        Path(checkpoint.path),
        Path(results.path),
        Path(report.path),
        EvaluationConfig.parse(config, "evaluation_config"),
        comparison=Path(comparison.path),
        upstream=[Path(artifact.path) for artifact in (texts, embeddings, sasrec, retriever, joint)],
    )
    log_metrics(metrics, outcome.headline())
