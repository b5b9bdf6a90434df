"""Ways to choose architectures of a space."""

SAMPLE = 100  # architectures that are ranked, if nothing else is asked for
METHOD = "climb"  # how a search goes on
BUDGET = 500  # that are scored by a search
POPULATION = 50  # of these, at a time
REFINED = 50  # of the best of a search are ranked once more
