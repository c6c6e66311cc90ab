"""Checkpoints: written whole, verified, kept, resumed from."""
