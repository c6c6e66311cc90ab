"""Recorded runs of transformers' T5: what a run must do where PyTorch is not."""
