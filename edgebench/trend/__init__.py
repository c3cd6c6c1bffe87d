"""A cell over many runs: its series, where it stepped, and what changed there."""
