"""verl's own advantage functions, for `experiments.bench_credit`, without installing verl.

verl needs Ray, tensordict and more for what surrounds these functions. Here the files that hold
them are run as they are, from an unpacked wheel (``pip download --no-deps verl``, unzip); names
that they import and these functions do not use are placeholders.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.credit import GroupSignals

Advantages = Callable[[], Tensor]
"""Advantages (B, S) of the batch that it was made with."""


def verl_functions(folder: Path, groups: Sequence[GroupSignals]) -> dict[str, Advantages]:
    """verl's counterparts of our estimators on these groups, by our estimators' names.

    A column per step takes the place of verl's column per token; the outcome stands in the last.
    Raises FileNotFoundError where the folder is no unpacked wheel of verl.
    """
    core = _core(folder)
    outcome_B = torch.tensor(np.concatenate([g.outcome_G for g in groups]), dtype=torch.float32)
    values_BS, greedy_B = _signal(groups, "values"), _signal(groups, "greedy")[:, 0]
    rewards_BS = torch.zeros_like(values_BS)
    rewards_BS[:, -1] = outcome_B
    mask_BS = torch.ones_like(values_BS)
    index_B = np.repeat(np.arange(len(groups)), [len(g.outcome_G) for g in groups]).astype(object)
    config = SimpleNamespace(gamma=1.0, get=lambda name, default: default)
    given: dict[str, Any] = {"token_level_rewards": rewards_BS, "response_mask": mask_BS}
    grouped = {**given, "index": index_B}

    def call(name: str, arguments: Mapping[str, Any], **more: Any) -> Advantages:
        function = getattr(core, f"compute_{name}")
        return lambda: function(**arguments, **more)[0]

    outcome = "outcome_advantage"
    return {
        "grpo": call(f"grpo_{outcome}", grouped),
        "grpo (vectorized)": call(f"grpo_vectorized_{outcome}", grouped),
        "dr_grpo": call(f"grpo_{outcome}", grouped, norm_adv_by_std_in_grpo=False),
        "rloo": call(f"rloo_{outcome}", grouped),
        "rloo (vectorized)": call(f"rloo_vectorized_{outcome}", grouped),
        "opo": call(f"opo_{outcome}", grouped),
        "gpg": call(f"gpg_{outcome}", grouped),
        "pass_at_k": call(f"grpo_passk_{outcome}", grouped, config=config),
        "remax": call(f"remax_{outcome}", given, reward_baselines=greedy_B),
        "reinforce_pp": call(f"reinforce_plus_plus_{outcome}", given, config=config),
        "reinforce_pp_baseline": call(f"reinforce_plus_plus_baseline_{outcome}", grouped),
        "gae": call("gae_advantage_return", given, values=values_BS, gamma=1.0, lam=1.0),
    }


def _signal(groups: Sequence[GroupSignals], name: str) -> Tensor:
    rows = [row for group in groups for row in group.learned(name)]
    return torch.tensor(np.stack(rows), dtype=torch.float32)


def _core(folder: Path) -> ModuleType:
    """`verl.trainer.ppo.core_algos` of an unpacked wheel."""
    if not (folder / "verl" / "trainer" / "ppo" / "core_algos.py").is_file():
        raise FileNotFoundError(f"{folder}: expected an unpacked wheel of verl")
    _place("tensordict", TensorDict=object)
    _place("omegaconf", DictConfig=dict)
    _place("verl.utils.device", get_device_name=lambda: "cpu", get_torch_device=lambda: torch)
    _place("verl.utils.import_utils", deprecated=lambda *_: lambda function: function)
    _place("verl.trainer.config", AlgoConfig=object)
    _place("verl.workers.config", ActorConfig=object)
    groupwise = _load(folder, "verl.utils.groupwise")
    names = ("as_torch_index", "group_mean_std")
    _place("verl.utils", **{name: getattr(groupwise, name) for name in names})
    sys.modules["verl.utils"].torch_functional = _load(  # type: ignore[attr-defined]
        folder, "verl.utils.torch_functional"
    )
    return _load(folder, "verl.trainer.ppo.core_algos")


def _place(name: str, **content: Any) -> None:
    """Put a module of this name and content, and empty ones for the packages around it."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        module = sys.modules.setdefault(".".join(parts[:end]), ModuleType(".".join(parts[:end])))
    vars(module).update(content)


def _load(folder: Path, name: str) -> ModuleType:
    """Run a file of the wheel as the module that it is."""
    file = folder / Path(*name.split(".")).with_suffix(".py")
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
