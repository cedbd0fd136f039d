"""Weights on disk: our own safetensors, the published .pth layouts, transformers' layout.

`own` writes and reads our files; `opening` opens every form; `published` and `folders` write the
others. `names` and `layouts` say which stored tensor is which of ours.
"""

from blip.checkpoint.own import Card, Loaded, load, save

__all__ = ["Card", "Loaded", "load", "save"]
