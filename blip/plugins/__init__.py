"""Captioners and filters from elsewhere: open_clip, transformers, any Python function.

Each is what `blip.capfilt.job` and `scoring` ask for (`CaptionerLike`, `FilterLike`); the packages behind them
are imported when one is made.
"""
