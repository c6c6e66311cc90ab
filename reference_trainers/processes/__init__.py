"""Several processes, one run: the first decides, the others do what it says."""
