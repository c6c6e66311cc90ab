"""The trainer in TensorFlow with Keras 3."""

import os

from reference_trainers.registry import SharedTrainer

# Both before TensorFlow is imported: it tells stderr of the processor it found ...
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # ... and keras reads it once

# By name: flags and files are checked before the framework is imported.
TRAINER = SharedTrainer(
    "tensorflow",
    "reference_trainers.tensorflow.backend:TensorFlowBackend",
    refuses={
        "fsdp": "--fsdp: TensorFlow keeps a whole model on each device; leave it out."
    },
    floor="reference_trainers.tensorflow.floor",
)
