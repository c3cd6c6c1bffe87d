"""Two variants in the same job: pairs of processes that take turns, block by block, and the verdict."""
