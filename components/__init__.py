"""Kubeflow components: one thin wrapper around one library call each."""
