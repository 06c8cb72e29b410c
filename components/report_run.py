"""The end of a run, whatever it was → one line."""

from kfp import dsl

from components.image import SLIM


@dsl.component(base_image=SLIM, install_kfp_package=False)
def report_run(status: dsl.PipelineTaskFinalStatus) -> None:
    """Thin wrapper around `ur4rec.storage.task_metrics.report_outcome`."""
    from ur4rec.storage.task_metrics import report_outcome

    report_outcome(status.state, status.pipeline_job_resource_name, status.error_message)
