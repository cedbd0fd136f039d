"""The window: the studio, in which people look at CapFilt's decisions in a browser."""
