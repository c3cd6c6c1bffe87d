"""Definition files (YAML) and the frozen types they become."""
