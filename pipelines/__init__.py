"""The Kubeflow pipelines and their command line."""
