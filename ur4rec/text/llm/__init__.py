"""Texts from language models: prompts, clients, answers, cache, costs."""
