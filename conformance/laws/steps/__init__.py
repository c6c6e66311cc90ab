"""What an update does to the numbers, alone, beside the oracle, on any hardware."""
