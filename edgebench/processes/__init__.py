"""Child processes: how they are started, end with their parent, and report nothing home."""
