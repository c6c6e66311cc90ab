"""Fine-tunes with Flax NNX and optax, in the shared training loop.

    python run_summarization.py --model_name_or_path google-t5/t5-small \\
        --do_train --do_eval --dataset_name cnn_dailymail --dataset_config "3.0.0" \\
        --source_prefix "summarize: " --output_dir out --predict_with_generate
"""

from __future__ import annotations

from reference_trainers.cli import main
from reference_trainers.flax import TRAINER

# Flags are read before the framework, which takes seconds to import.
if __name__ == "__main__":
    raise SystemExit(main(TRAINER))
