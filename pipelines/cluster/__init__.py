"""The pipeline on a Kubeflow Pipelines installation: submit it, follow it, schedule it."""
