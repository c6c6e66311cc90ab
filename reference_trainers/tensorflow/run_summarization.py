"""Fine-tunes with Keras 3 on TensorFlow, in the shared training loop.

    python run_summarization.py --model_name_or_path google-t5/t5-small \\
        --do_train --do_eval --dataset_name cnn_dailymail --dataset_config "3.0.0" \\
        --source_prefix "summarize: " --output_dir out --predict_with_generate
"""

from __future__ import annotations

from reference_trainers.cli import main
from reference_trainers.run import BackendTrainer

# By name: flags and files are checked before the framework is imported.
TRAINER = BackendTrainer(
    "tensorflow", "reference_trainers.tensorflow.backend:TensorFlowBackend"
)

if __name__ == "__main__":
    main(TRAINER)
