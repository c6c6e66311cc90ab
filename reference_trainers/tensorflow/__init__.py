"""The trainer in TensorFlow with Keras 3."""

import os

# Before TensorFlow is imported: it tells stderr of the processor it found.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
