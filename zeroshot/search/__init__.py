"""Ways to choose architectures of a space."""
