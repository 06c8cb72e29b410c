"""The pipeline on a Kubeflow Pipelines installation: submit it, follow it, schedule it.

Whatever asks the server raises `ClusterError` where that cannot be asked or refuses.
"""
