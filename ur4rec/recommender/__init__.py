"""The model that answers: the top K for users, histories and strangers, without MLflow or HTTP."""
