"""Throughput beside its floor, a gate between two versions, and a hardware report."""
