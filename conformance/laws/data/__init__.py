"""Which rows and tokens make up which update."""
