"""The trainer in TensorFlow with Keras 3."""
