"""`python -m edgebench` is the same program as `edgebench`."""

import sys

# The working directory, which `-m` puts first (but for `-P` and `-I`): what lies there is not imported.
if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
    del sys.path[0]

from edgebench.cli import main

if __name__ == "__main__":
    main()
