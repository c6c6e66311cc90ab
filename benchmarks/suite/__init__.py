"""The benchmarks, as pytest files: `python -m benchmarks run` runs them."""
