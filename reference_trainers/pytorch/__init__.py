"""PyTorch: transformers' Seq2SeqTrainer, and Accelerate behind the shared loop."""

from reference_trainers.registry import SharedTrainer

# By name: flags and files are checked before the framework is imported.
TRAINER = SharedTrainer(
    "pytorch", "reference_trainers.pytorch.run_summarization:Seq2SeqTrainerBackend"
)
NO_TRAINER = SharedTrainer(
    "accelerate",
    "reference_trainers.pytorch.run_summarization_no_trainer:AccelerateBackend",
    trains_by_default=True,
)
