"""Tables inside a model whose size is known only once they are filled or loaded."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn


class ResizableBuffers(nn.Module):
    """A module that takes some of its buffers from a state dictionary whatever their shape."""

    resizable: ClassVar[tuple[str, ...]]
    """Names of those buffers."""

    def find_fault(self) -> str:
        """What is wrong with the tables as they are, beginning with the buffer's name; empty where nothing is."""
        raise NotImplementedError

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name in self.resizable:
            if prefix + name in state_dict:
                setattr(self, name, torch.empty_like(state_dict[prefix + name], device=getattr(self, name).device))
        super()._load_from_state_dict(state_dict, prefix, *rest)
