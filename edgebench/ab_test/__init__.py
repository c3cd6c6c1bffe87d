"""Compares two variants in one job: pairs of processes take turns, block by block, and give a verdict."""
