"""edgebench's meters against the kernel's own drivers, in User-mode Linux: `make test-kernel`."""
