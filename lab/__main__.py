"""`python -m lab`: the same as the `lab` command."""

from lab.cli import entry

if __name__ == "__main__":  # not in processes that this one spawns
    entry()
