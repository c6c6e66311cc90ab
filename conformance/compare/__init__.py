"""`python -m conformance compare`: one spec through several trainers, side by side."""
