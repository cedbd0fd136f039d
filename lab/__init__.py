"""The lab: the generated world, experiments, records and the `lab` command. Imports blip."""
