"""Rows of text -> batches of tokens."""
