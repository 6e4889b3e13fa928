"""Learned signals for credit: critic, progress estimator, process reward model, prover.

Small torch modules over numbers per step, so that they work for menus and for language models
alike: a tier gives `StepFeatures`. `LearnedSignals` asks them for what an estimator needs and lets
them learn.
"""

from __future__ import annotations

from agents.learned.base import Example, Fitting, SignalModel, StepFeatures
from agents.learned.critic import Critic
from agents.learned.process_reward import ProcessRewardModel
from agents.learned.progress import ProgressEstimator
from agents.learned.prover import Chances, Continuations, Prover, labelled, monte_carlo
from agents.learned.signals import LEARNED, LearnedSignals

__all__ = [
    "LEARNED",
    "Chances",
    "Continuations",
    "Critic",
    "Example",
    "Fitting",
    "LearnedSignals",
    "ProcessRewardModel",
    "ProgressEstimator",
    "Prover",
    "SignalModel",
    "StepFeatures",
    "labelled",
    "monte_carlo",
]
