"""`python -m edgebench` is the same program as `edgebench`."""

from edgebench.cli import main

if __name__ == "__main__":
    main()
