"""Estimators of the divergence from a reference policy, per token, and their gradients.

x = log pi - log pi_ref at the sampled token. All estimate KL(pi, pi_ref) when the token was
sampled from pi (Schulman 2020, "Approximating KL divergence").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor


def k1(difference_BT: Tensor) -> Tensor:
    """x: unbiased, of high variance, may be negative. Its gradient has mean zero."""
    return difference_BT


def k2(difference_BT: Tensor) -> Tensor:
    """x^2 / 2: biased as a value; its gradient is that of the divergence."""
    return 0.5 * difference_BT.square()


def k3(difference_BT: Tensor) -> Tensor:
    """exp(-x) + x - 1: unbiased, never negative. The input is clamped to +-20, the value to 10."""
    inverse_BT = (-difference_BT).clamp(-20.0, 20.0)
    return (inverse_BT.exp() - inverse_BT - 1.0).clamp(max=10.0)


def absolute(difference_BT: Tensor) -> Tensor:
    """|x|: not a divergence; a penalty that some code bases offer."""
    return difference_BT.abs()


def _with_gradient_of_k2(value: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def estimate(difference_BT: Tensor) -> Tensor:
        """The value of one estimator with the gradient of k2, which points the right way."""
        path_BT = k2(difference_BT)
        return path_BT - path_BT.detach() + value(difference_BT).detach()

    return estimate


KL: Mapping[str, Callable[[Tensor], Tensor]] = {
    "k1": k1,
    "k2": k2,
    "k3": k3,
    "abs": absolute,
    "k1+": _with_gradient_of_k2(k1),
    "k3+": _with_gradient_of_k2(k3),
}


def kl_penalty(log_probs_BT: Tensor, reference_BT: Tensor, estimator: str = "k3") -> Tensor:
    """Return the estimate per token; multiply by the mask or `reduce` it like the loss."""
    return KL[estimator](log_probs_BT - reference_BT)
