"""Data: pairs, their readers and writers, what a model sees of them, and the loader."""
