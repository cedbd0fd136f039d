"""Ablations: arms as data, cells that are trained once and measured by one protocol, and what runs them."""
