"""Malformed inputs by the thousand, from a seed: each is refused in one sentence."""
