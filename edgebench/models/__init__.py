"""Building, freezing and quantising model files; run in a process of its own."""
