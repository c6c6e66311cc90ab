"""PyTorch: transformers' Seq2SeqTrainer, and Accelerate behind the shared loop."""

from reference_trainers.registry import SharedTrainer

REFUSES = {
    "tpu": "--tpu: PyTorch takes the TPU of its own machine; leave it out, and start "
    "the script by xla_spawn.py."
}
# On a CPU Seq2SeqTrainer takes the flag and trains with whole copies, without a word
NO_FSDP = {
    "fsdp": "--fsdp: Seq2SeqTrainer keeps a whole model on each device here; use "
    "run_summarization_no_trainer.py, or leave it out."
}
FLOOR = "reference_trainers.pytorch.floor"
# By name: flags and files are checked before the framework is imported.
TRAINER = SharedTrainer(
    "pytorch",
    "reference_trainers.pytorch.run_summarization:Seq2SeqTrainerBackend",
    refuses=REFUSES | NO_FSDP,
    floor=FLOOR,
)
NO_TRAINER = SharedTrainer(
    "accelerate",
    "reference_trainers.pytorch.run_summarization_no_trainer:AccelerateBackend",
    trains_by_default=True,
    refuses=REFUSES,
    floor=FLOOR,
)
