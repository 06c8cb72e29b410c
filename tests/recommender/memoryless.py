"""Bundles of models without memory."""

import json
from pathlib import Path

import torch
from digests import digest_again


def take_memory_away(bundle: Path) -> None:
    """Leaves what training with `max_memory_size: 0` would have written."""
    config = json.loads((bundle / "model_config.json").read_text())
    config["config"]["max_memory_size"] = 0
    (bundle / "model_config.json").write_text(json.dumps(config))
    state = torch.load(bundle / "final_model.pt", weights_only=True)
    own = ("retriever.memory.", "retriever.encoder.memory_")
    torch.save({name: value for name, value in state.items() if not name.startswith(own)}, bundle / "final_model.pt")
    torch.save({}, bundle / "memories.pt")
    digest_again(bundle)
