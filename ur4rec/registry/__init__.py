"""The registry in MLflow: what is logged and registered, who is champion, who may become it."""
