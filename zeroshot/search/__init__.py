"""Ways to choose architectures of a space."""

SAMPLE = 100  # architectures that are ranked, if nothing else is asked for
