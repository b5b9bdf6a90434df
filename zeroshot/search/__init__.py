"""Ways to choose architectures of a space."""

from zeroshot.search.candidates import choose, read_archs

__all__ = ["choose", "read_archs"]
