"""Artifact folders with manifests."""
