"""Readers of the benchmarks' own files, one module a family, and writers of what their servers take.

Unlike web data, a benchmark is read whole or not at all: a number is comparable only over all its rows.
So the first row that cannot be used raises InputError, with the file, the row (counted from 1) and the
remedy.
"""
