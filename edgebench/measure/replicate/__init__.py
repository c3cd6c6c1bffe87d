"""The child process that measures one replicate."""
