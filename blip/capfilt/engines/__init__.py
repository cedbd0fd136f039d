"""Engines that give workers to `blip.capfilt.engine.run_on`: processes of this machine, actors of Ray."""
