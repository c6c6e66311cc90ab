"""Sharing a run's results on the Hub: never at the price of the run."""
