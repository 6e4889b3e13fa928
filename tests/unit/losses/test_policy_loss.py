import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.losses import (
    KL,
    RATIOS,
    REDUCTIONS,
    SURROGATES,
    Bounds,
    Objective,
    Totals,
    policy_loss,
    truncated_weights,
)

torch.set_num_threads(1)


def loss_of(objective, log_ratio, advantage, **more):
    """The loss of rows of tokens whose old log-probability is 0, all of them trained."""
    log_probs_BT = torch.tensor(log_ratio, dtype=torch.float64, requires_grad=True)
    mask_BT = torch.ones_like(log_probs_BT)
    advantages_BT = torch.full_like(mask_BT, advantage)
    loss, metrics = policy_loss(
        log_probs_BT,
        torch.zeros_like(mask_BT),
        advantages_BT,
        mask_BT,
        objective=objective,
        totals=Totals.of(mask_BT),
        **more,
    )
    loss.backward()
    return loss.item(), log_probs_BT.grad, metrics


def test_on_policy_the_loss_is_minus_the_mean_advantage_and_so_is_its_gradient():
    loss, grad, metrics = loss_of(Objective(), [[0.0, 0.0]], 3.0)
    assert loss == -3.0 and grad.tolist() == [[-1.5, -1.5]]
    assert metrics["clip_fraction"] == 0.0


def test_a_ratio_above_the_bound_gains_nothing_and_has_no_gradient():
    up = torch.tensor(1.5).log().item()
    loss, grad, metrics = loss_of(Objective(bounds=Bounds(clip_high=0.28)), [[up]], 1.0)
    assert loss == pytest.approx(-1.28) and grad.item() == 0.0
    assert metrics["clip_fraction"] == 1.0


def test_a_ratio_below_the_bound_with_a_negative_advantage_gains_nothing():
    down = torch.tensor(0.5).log().item()
    loss, grad, _ = loss_of(Objective(), [[down]], -1.0)
    assert loss == pytest.approx(0.8) and grad.item() == 0.0


def test_dual_clip_bounds_the_loss_of_a_negative_advantage():
    up = torch.tensor(5.0).log().item()
    assert loss_of(Objective(), [[up]], -1.0)[0] == pytest.approx(5.0)
    assert loss_of(Objective(bounds=Bounds(dual_clip=3.0)), [[up]], -1.0)[0] == pytest.approx(3.0)
    assert loss_of(Objective(bounds=Bounds(dual_clip=3.0)), [[up]], 1.0)[0] == pytest.approx(-1.2)


def test_truncated_weights_cap_the_ratio_of_the_trainer_to_the_engine():
    proximal_BT = torch.log(torch.tensor([[0.9, 0.9, 0.9]]))
    behaviour_BT = torch.log(torch.tensor([[0.9, 0.3, 0.6]]))
    weights_BT = truncated_weights(proximal_BT, behaviour_BT, torch.tensor([[1.0, 1.0, 0.0]]))
    torch.testing.assert_close(weights_BT, torch.tensor([[1.0, 2.0, 0.0]]))


@st.composite
def batches(draw):
    """Draw log-probabilities, advantages, mask and turns of four rows of five tokens."""
    torch.manual_seed(draw(st.integers(0, 10**6)))
    mask_BT = (torch.rand(4, 5) < 0.7).double()
    mask_BT[0, 0] = 1.0
    return {
        "log_probs_BT": -torch.rand(4, 5).double(),
        "old_log_probs_BT": -torch.rand(4, 5).double(),
        "advantages_BT": torch.randn(4, 5).double(),
        "mask_BT": mask_BT,
        "turn_BT": torch.tensor([[0, 0, 1, 1, 2]] * 4),
        "prompt_tokens_B": mask_BT.view(2, 10).sum(1).repeat_interleave(2),
    }


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("surrogate", SURROGATES)
class TestEveryObjective:
    @given(batch=batches())
    @settings(max_examples=5, deadline=None)
    def test_the_losses_of_micro_batches_add_up(self, surrogate, ratio, reduction, batch):
        objective = Objective(ratio=ratio, surrogate=surrogate, reduction=reduction)
        totals = Totals.of(batch["mask_BT"], prompts=2)
        whole, metrics = policy_loss(**batch, objective=objective, totals=totals)
        parts = [
            policy_loss(
                **{key: value[a:b] for key, value in batch.items()},
                objective=objective,
                totals=totals,
            )
            for a, b in [(0, 1), (1, 4)]
        ]
        torch.testing.assert_close(sum(loss for loss, _ in parts), whole)
        for name, value in metrics.items():
            torch.testing.assert_close(sum(more[name] for _, more in parts), value)

    @given(batch=batches())
    @settings(max_examples=5, deadline=None)
    def test_what_stands_on_masked_tokens_has_no_influence(
        self, surrogate, ratio, reduction, batch
    ):
        objective = Objective(ratio=ratio, surrogate=surrogate, reduction=reduction)
        totals = Totals.of(batch["mask_BT"], prompts=2)
        clean, _ = policy_loss(**batch, objective=objective, totals=totals)
        hidden = batch["mask_BT"] == 0
        log_probs_BT = batch["log_probs_BT"].masked_fill(hidden, float("nan")).requires_grad_()
        old_BT = batch["old_log_probs_BT"].masked_fill(hidden, float("-inf"))
        advantages_BT = batch["advantages_BT"].masked_fill(hidden, float("nan"))
        dirty, _ = policy_loss(
            **(
                batch
                | {
                    "log_probs_BT": log_probs_BT,
                    "old_log_probs_BT": old_BT,
                    "advantages_BT": advantages_BT,
                }
            ),
            objective=objective,
            totals=totals,
        )
        dirty.backward()
        torch.testing.assert_close(dirty, clean)
        assert torch.equal(log_probs_BT.grad[hidden], torch.zeros(int(hidden.sum())).double())


@pytest.mark.parametrize("estimator", KL)
def test_every_kl_estimator_is_zero_where_the_policies_agree(estimator):
    assert KL[estimator](torch.zeros(1)).item() == 0.0


def test_a_wrong_name_or_bound_is_refused():
    with pytest.raises(LookupError, match="Did you mean 'ppo'"):
        Objective(surrogate="pppo")
    with pytest.raises(ValueError, match="dual_clip must be greater than 1"):
        Bounds(dual_clip=0.5)
    with pytest.raises(ValueError, match="tokens must be positive"):
        Totals(tokens=0, sequences=1)
