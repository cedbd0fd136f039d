"""Speed and memory: each bench measures, prints a table and leaves a record."""
