"""edgebench under an emulator of aarch64, with the packages that such a board would get: `make test-aarch64`."""
