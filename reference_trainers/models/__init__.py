"""Where a model comes from, and what T5 is in every framework."""
