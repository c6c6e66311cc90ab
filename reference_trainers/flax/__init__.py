"""The trainer in JAX with Flax NNX and optax."""
