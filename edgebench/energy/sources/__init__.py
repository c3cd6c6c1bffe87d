"""One file per energy meter; what they share begins with an underscore."""
