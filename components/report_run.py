"""The end of a run, whatever it was → one line; where it failed a notice, and the end of its run in MLflow."""

from kfp import dsl

from components.image import TRAIN


@dsl.component(base_image=TRAIN, install_kfp_package=False)
def report_run(status: dsl.PipelineTaskFinalStatus) -> None:
    """Thin wrapper around `ur4rec.registry.notifications.report_end`."""
    from ur4rec.registry.notifications import report_end

    report_end(status.state, status.pipeline_job_resource_name, status.error_message)
