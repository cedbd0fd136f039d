"""The downstream tasks of the paper: on the generated world, and what their commands share."""
