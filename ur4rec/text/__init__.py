"""Texts about users and items, and their sentence embeddings."""
