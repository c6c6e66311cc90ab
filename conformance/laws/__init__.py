"""The laws, by chapter: each one sentence, then its proof."""
