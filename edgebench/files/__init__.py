"""Files and pipes: read within bounds, written whole, locked."""
