"""Reward terms by name, and the schemes that weigh them. Weights stand here and nowhere else."""

from __future__ import annotations

from text2sql_gym.rewards.base import Reward, RewardScheme
from text2sql_gym.rewards.call_cost import call_cost
from text2sql_gym.rewards.cte_validity import cte_validity
from text2sql_gym.rewards.execution_match import execution_match
from text2sql_gym.rewards.exploration import Exploration
from text2sql_gym.rewards.form import four_phases, well_formed
from text2sql_gym.rewards.graded_outcome import (
    arctic_outcome,
    skyrl_sql_outcome,
    sql_r1_outcome,
    trust_sql_outcome,
)
from text2sql_gym.rewards.hard_constraints import HardConstraints
from text2sql_gym.rewards.recall import cell_f1, cell_recall, column_recall, progress_recall
from text2sql_gym.rewards.linked_schema import SchemaLinking
from text2sql_gym.rewards.schema_proposal import SchemaProposal
from text2sql_gym.rewards.text_match import entity_match, exact_match
from text2sql_gym.rewards.value_recall import value_recall

REWARDS: dict[str, Reward] = {
    # the answer
    "execution_match": execution_match,
    "trust_sql_outcome": trust_sql_outcome,
    "arctic_outcome": arctic_outcome,
    "skyrl_sql_outcome": skyrl_sql_outcome,
    "sql_r1_outcome": sql_r1_outcome,
    "exact_match": exact_match,
    "entity_match": entity_match,
    # a step's own result
    "cell_recall": cell_recall,
    "cell_f1": cell_f1,
    "column_recall": column_recall,
    "progress_recall": progress_recall,
    "value_recall": value_recall,
    # what a step reads
    "schema_precision": SchemaLinking("precision"),
    "schema_recall": SchemaLinking("recall"),
    "schema_f1": SchemaLinking("f1"),
    "named_schema_precision": SchemaLinking("precision", "text"),
    "named_schema_recall": SchemaLinking("recall", "text"),
    "named_schema_f1": SchemaLinking("f1", "text"),
    "schema_proposal": SchemaProposal(if_right=False),
    "schema_proposal_if_right": SchemaProposal(),
    # how it goes about it
    "hard_constraints": HardConstraints(),
    "well_formed": well_formed,
    "four_phases": four_phases,
    "exploration": Exploration(),
    "cte_validity": cte_validity,
    "call_cost": call_cost,
}

SCHEMES: dict[str, RewardScheme] = {
    "finestep": RewardScheme(
        outcome={"execution_match": 1.0},
        process={"hard_constraints": 1.0, "cell_recall": 1.0},
        source="FineStep (arXiv 2605.04719); the weights are our reconstruction",
    ),
    "finestep_values": RewardScheme(
        outcome={"execution_match": 1.0},
        process={"hard_constraints": 1.0, "cell_recall": 1.0, "value_recall": 1.0},
        source="as finestep, and a look at values that the answer must name is paid too; ours",
    ),
    "outcome": RewardScheme(
        outcome={"execution_match": 1.0},
        process={},
        source="right or wrong and nothing else, as GRPO is mostly run",
    ),
    "trust_sql": RewardScheme(
        outcome={"trust_sql_outcome": 1.0, "four_phases": 0.1},
        process={"schema_proposal_if_right": 1.0},
        process_scale=0.25,
        source="TRUST-SQL (arXiv 2603.16448); 0.25 is the weight of its schema track",
    ),
    "reex_sql": RewardScheme(
        outcome={
            "well_formed": 2.0,
            "exact_match": 1.0,
            "execution_match": 3.0,
            "entity_match": 1.0,
            "exploration": 2.0,
        },
        process={},
        source="ReEx-SQL (arXiv 2505.12768); its weights, with terms that are our reconstruction",
    ),
    "reward_sql": RewardScheme(
        outcome={"execution_match": 1.0},
        process={"cte_validity": 1.0},
        source="Reward-SQL (arXiv 2505.04671), with executed CTEs for its learned process reward",
    ),
    "skyrl_sql": RewardScheme(
        outcome={"skyrl_sql_outcome": 1.0}, process={}, source="SkyRL-SQL, NovaSky-AI/SkyRL"
    ),
    "sql_r1": RewardScheme(
        outcome={"sql_r1_outcome": 1.0}, process={}, source="SQL-R1, IDEA-FinAI/SQL-R1"
    ),
    "arctic": RewardScheme(
        outcome={"arctic_outcome": 1.0},
        process={},
        source="Arctic-Text2SQL-R1 (arXiv 2505.20315)",
    ),
}

__all__ = ["REWARDS", "SCHEMES", "Reward", "RewardScheme"]
