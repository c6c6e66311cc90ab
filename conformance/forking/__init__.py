"""Processes that are forked from one which has imported a framework already."""
