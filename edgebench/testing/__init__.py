"""What third parties need to test a backend."""
