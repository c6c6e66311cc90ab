"""`python -m conformance report`: what records of the suite say, to be looked at."""
