"""PyTorch: transformers' Seq2SeqTrainer, and Accelerate behind the shared loop."""
