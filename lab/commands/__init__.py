"""One module a command: an Options dataclass and `main(options) -> int`."""
