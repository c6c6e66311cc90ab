"""Throughput beside its floor, and comparisons of two versions: none is here yet."""
