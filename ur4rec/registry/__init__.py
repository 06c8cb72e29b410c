"""The MLflow registry: logging, the served model, recommendations."""
