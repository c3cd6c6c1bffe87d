"""Further loads beside the scenarios: other drivers, several workers, changing shapes, worst inputs."""
