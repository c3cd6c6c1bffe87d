"""Tasks, one file each: data, pre- and post-processing, quality metric."""
