"""The pipeline on Kubeflow Pipelines or Vertex AI: submit it, follow it, schedule it.

Whatever asks the server raises `ClusterError` where that cannot be asked or refuses.
"""
