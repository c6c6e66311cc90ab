"""The life of a run: resumed, handed over, killed, damaged."""
