"""Do the scores predict accuracy? Statistics, benchmarks, and a report."""
