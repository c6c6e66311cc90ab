"""The trainer in JAX with Flax NNX and optax."""

from reference_trainers.registry import SharedTrainer

# By name: flags and files are checked before the framework is imported.
TRAINER = SharedTrainer(
    "flax",
    "reference_trainers.flax.backend:FlaxBackend",
    refuses={"tpu": "--tpu: JAX takes the TPUs that it sees by itself; leave it out."},
    floor="reference_trainers.flax.floor",
)
