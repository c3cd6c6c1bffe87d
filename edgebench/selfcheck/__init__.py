"""A board's check in one command: which claims of edgebench hold on this machine, and which cannot be asked here."""
