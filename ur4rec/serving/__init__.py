"""The HTTP server of a trained model, and recommendations for all users."""
