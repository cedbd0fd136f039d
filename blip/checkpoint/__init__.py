"""Weights on disk: our own safetensors, the published .pth layouts, transformers' layout."""

from blip.checkpoint.own import Card, Loaded, load, save

__all__ = ["Card", "Loaded", "load", "save"]
