"""PyTorch's token loss and its gradient, against transformers' LabelSmoother."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from transformers.trainer_pt_utils import LabelSmoother  # noqa: E402

from reference_trainers.data.batches import NO_TARGET  # noqa: E402
from reference_trainers.pytorch.backend import token_loss  # noqa: E402


def made(head, smoothing, loss_of):
    """The loss of some hidden states, and its gradient at them."""
    torch.manual_seed(0)
    hidden = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)
    product = torch.nn.Linear(4, 11, bias=False, dtype=torch.float64)
    labels = torch.randint(0, 11, (2, 5))
    labels[0, 3:] = NO_TARGET
    loss = loss_of(head(product(hidden)), labels, smoothing)
    (3 * loss).backward()
    return loss.detach(), hidden.grad, product.weight.grad


def smoothed(logits, labels, smoothing):
    mean = LabelSmoother(epsilon=smoothing)({"logits": logits}, labels)
    return mean * (labels != NO_TARGET).sum()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(
    "head",
    # What a product makes is overwritten; of a soft cap the gradient needs the result
    [lambda logits: logits, lambda logits: 5 * torch.tanh(logits / 5), torch.tanh],
    ids=["product", "scaled", "capped"],
)
def test_loss_and_gradient_are_those_of_transformers(head, smoothing):
    ours, theirs = (made(head, smoothing, each) for each in (token_loss, smoothed))
    off = 1e-7 if smoothing else 1e-12  # it sums what it smooths in float32
    for found, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(found, expected, rtol=off, atol=off)


def test_it_is_computed_in_float32_whatever_the_model_computes_in():
    logits = torch.full((1, 1, 9), 1.0, dtype=torch.bfloat16)
    loss = token_loss(logits, torch.zeros(1, 1, dtype=torch.long), 0.0)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, torch.tensor(9.0).log())
