"""Write docs/claims.md: what papers claim of their credit, and what was measured of it here.

    python experiments/claims.py        # from the stored results of benchmark_credit.py, seconds

Needs the extra ``bench``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run from a checkout, uninstalled

from experiments.credit_benchmark.page import Row, Stored, stored
from experiments.credit_benchmark.statistics import Estimate, with_interval

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "experiments" / "results" / "benchmark_credit"
PAGE = ROOT / "docs" / "claims.md"
MARGIN = 0.03
"""Two variants are the same where the interval of their difference lies within this."""

Expected = Literal["more", "less", "same"]
MEASURES = {
    "area": "area under the curve",
    "ex": "execution match",
    "calls": "calls",
    "redundant_calls": "redundant calls",
}


@dataclass(frozen=True)
class Claim:
    """A paper says that variant `one` has more, less or the same of a measure than `other`.

    `study` is the file of the results; claims about whole estimators ("estimators") are also
    looked up in the language-model tier, by their names.
    """

    paper: str
    says: str
    study: str
    one: str
    other: str
    measure: str = "area"
    expected: Expected = "more"


FINESTEP = "FineStep, arXiv:2605.04719"
TRUST_SQL = "TRUST-SQL, arXiv:2603.16448"
GIGPO = "GiGPO, arXiv:2505.10978"
SPA = "SPA-RL, arXiv:2505.20732"
PAV = "PAV, arXiv:2410.08146"
MT_GRPO = "MT-GRPO, arXiv:2505.11821"
PARTS = "its part (named in the abstract) adds to the result: "

CLAIMS = (
    Claim(FINESTEP, "answers more questions right than GRPO", "estimators", "finestep", "grpo",
          "ex"),
    Claim(FINESTEP, "learns from less sparse signals than GRPO", "estimators", "finestep", "grpo"),
    Claim(FINESTEP, "makes fewer redundant calls than GRPO", "estimators", "finestep", "grpo",
          "redundant_calls", "less"),
    Claim(FINESTEP, "independent process rewards add to the outcome", "finestep", "FineStep",
          "lambda 1"),
    Claim(FINESTEP, PARTS + "discounting", "finestep", "FineStep", "no discount"),
    Claim(FINESTEP, PARTS + "smoothing", "finestep", "FineStep", "no smoothing"),
    Claim(FINESTEP, PARTS + "the recall-based soft reward", "finestep", "FineStep",
          "no soft reward"),
    Claim(FINESTEP, PARTS + "the hard constraints", "finestep", "FineStep", "no hard constraints"),
    Claim(FINESTEP, "the hard constraints spare redundant calls", "finestep", "FineStep",
          "no hard constraints", "redundant_calls", "less"),
    Claim(FINESTEP, "steps get the process rewards themselves, better than their sum in the "
          "reward of the attempt", "summed_rewards", "FineStep", "GRPO, outcome + process"),
    Claim("common advice", "process rewards summed into the reward of the attempt cost accuracy",
          "summed_rewards", "GRPO, outcome", "GRPO, outcome + process"),
    Claim(TRUST_SQL, "two tracks are better than GRPO", "dual_track", "weight 0.25", "weight 0"),
    Claim(TRUST_SQL, "a weight of 0.25 is better than 0.125", "dual_track", "weight 0.25",
          "weight 0.125"),
    Claim(TRUST_SQL, "a weight of 0.375 collapses", "dual_track", "weight 0.25", "weight 0.375"),
    Claim(TRUST_SQL, "a weight of 0.375 makes attempts longer", "dual_track", "weight 0.25",
          "weight 0.375", "calls", "less"),
    Claim(TRUST_SQL, "a schema reward that right answers alone receive is better than one that "
          "all receive", "dual_track", "weight 0.25", "0.25, not coupled"),
    Claim(TRUST_SQL, "an exact match of the schema is the better reward than a graded one",
          "dual_track", "weight 0.25", "0.25, f1"),
    Claim(TRUST_SQL, "separate tracks are better than summed advantages", "dual_track",
          "weight 0.25", "naive mixing: sum"),
    Claim(TRUST_SQL, "separate tracks are better than a reward-weighted advantage", "dual_track",
          "weight 0.25", "naive mixing: weighted"),
    Claim(GIGPO, "is better than GRPO", "estimators", "gigpo", "grpo"),
    Claim(GIGPO, "comparing steps of the same state adds to comparing attempts", "gigpo",
          "omega 1", "omega 0"),
    Claim(SPA, "redistributed progress is better than the outcome alone", "spa",
          "SPA, grounding 0.1", "GRPO"),
    Claim(SPA, "the grounding signal adds to progress", "spa", "SPA, grounding 0.1",
          "no grounding"),
    Claim(PAV, "progress under a prover learns from fewer samples than the outcome alone", "pav",
          "best of 4", "outcome only (Dr. GRPO)"),
    Claim(PAV, "a prover other than the policy is better than the policy itself", "pav",
          "best of 4", "best of 1: the policy itself"),
    Claim(PAV, "too strong a prover is worse", "pav", "best of 4", "best of 32"),
    Claim(PAV, "with the policy itself as the prover, training is that of the outcome alone",
          "pav", "best of 1: the policy itself", "outcome only (Dr. GRPO)", expected="same"),
    Claim(MT_GRPO, "turn-level advantages are better than attempt-level ones", "estimators",
          "mt_grpo", "grpo"),
    Claim("IGPO, arXiv:2510.14967", "information gain as the reward of turns is better than the "
          "outcome alone", "estimators", "igpo", "grpo"),
    Claim("Tree-GRPO, arXiv:2509.21240", "attempts that share beginnings are better than chains",
          "estimators", "tree_grpo", "grpo"),
    Claim("Reward-SQL, arXiv:2505.04671", "a process reward model in training is better than the "
          "outcome alone", "estimators", "reward_sql", "grpo"),
    Claim("DeepSeekMath, arXiv:2402.03300", "process supervision is better than outcome "
          "supervision", "estimators", "process_grpo", "grpo"),
    Claim("GDPO, arXiv:2601.05242", "rewards normalised apart are better than GRPO on their sum",
          "estimators", "gdpo", "grpo"),
    Claim("OPO, arXiv:2505.23585", "a length-weighted baseline is better than GRPO",
          "estimators", "opo", "grpo"),
    Claim("Lite PPO, arXiv:2508.08221", "the deviation of the batch is better than that of the "
          "group", "estimators", "lite_ppo", "grpo"),
    Claim("GRPO, arXiv:2402.03300", "a group's mean in place of a critic costs nothing",
          "estimators", "grpo", "gae", expected="same"),
)

_INTRODUCTION = f"""\
# Claims of papers, and what was measured

Generated by `python experiments/claims.py` from the runs under
`experiments/results/benchmark_credit/`; do not edit.

Papers claim what they claim of large language models on their own benchmarks. Here the same formula
trains another policy on another task: a network of a few thousand weights that chooses from menus
(tier *menu*), or a small language model (tier *lm*). So a verdict says whether a claim carries over
to these tasks; none refutes a paper. Several formulas are reconstructions; the docstrings on the
[estimators' pages](credit/finestep.md) say which. In the tier *lm* FineStep is paid by the scheme
`finestep_values`, which adds a term of ours to the reconstruction: a look at stored values.

The difference is that of the first variant over the second, run by run: runs of a seed share warm
start, tasks and episodes. In the tier *lm* two seeds begin from each of five warm starts, and
count as two. Given are its interquartile mean over seeds and a 95 % interval (bootstrap over
seeds). *holds*: the interval lies on the claimed side of 0; *does not*: on the
other; *undecided*: it holds 0. For claims that two are the same: *holds* where the interval lies
within {MARGIN} around 0, *does not* where it lies outside. With {{count}} comparisons and no
correction for their number, one or two intervals can be expected to miss by chance.

Execution match is on unseen databases at the end of training; the area under its curve over
training says how soon it was learnt. [The benchmark](benchmark.md) has the variants' own numbers.
"""


def verdict(found: Estimate, expected: Expected) -> str:
    """"holds", "does not" or "undecided", from the difference of `one` over `other`."""
    if expected == "same":
        if -MARGIN <= found.low and found.high <= MARGIN:
            return "holds"
        return "does not" if found.low > MARGIN or found.high < -MARGIN else "undecided"
    low, high = (found.low, found.high) if expected == "more" else (-found.high, -found.low)
    return "holds" if low > 0 else "does not" if high < 0 else "undecided"


def difference(one: Sequence[Row], other: Sequence[Row], measure: str) -> Estimate:
    """By how much the runs of `one` exceed those of `other` with the same seeds.

    Raises ValueError where the seeds are not the same.
    """
    values = [{row["seed"]: _value(row, measure) for row in rows} for rows in (one, other)]
    if set(values[0]) != set(values[1]):
        raise ValueError(f"seeds differ: {sorted(values[0])} and {sorted(values[1])}")
    return with_interval(np.array([[values[0][seed] - values[1][seed]] for seed in values[0]]))


def _value(row: Row, measure: str) -> float:
    return float(row["area"] if measure == "area" else row["final"][measure])


def measured(claim: Claim, studies: Sequence[Stored]) -> Iterable[tuple[str, int, Estimate]]:
    """Tier, number of seeds and difference, in every tier that has both variants."""
    done = set()
    for study in studies:
        named = {study.name} | ({"estimators"} if study.tier != "menu" else set())
        rows = study.by_name
        if claim.study in named and {claim.one, claim.other} <= set(rows):
            if study.tier not in done:
                done.add(study.tier)
                found = difference(rows[claim.one], rows[claim.other], claim.measure)
                yield study.tier, len(rows[claim.one]), found


def page(results: Path) -> str:
    """The text of the page."""
    studies = stored(results)
    heads = ["paper", "claim", "compared", "measure", "tier", "difference", "verdict"]
    lines, verdicts = [], []
    for claim in CLAIMS:
        asked = [claim.paper, claim.says, f"{claim.one} − {claim.other}", MEASURES[claim.measure]]
        rows = list(measured(claim, studies))
        for tier, seeds, found in rows:
            verdicts.append(verdict(found, claim.expected))
            cell = f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})"
            lines.append(_row([*asked, f"{tier}, {seeds} seeds", cell, f"**{verdicts[-1]}**"]))
        if not rows:
            lines.append(_row([*asked, "", "", "**not measured**"]))
    counts = (f"{verdicts.count(kind)} {kind}" for kind in ("holds", "does not", "undecided"))
    return "\n".join([
        _INTRODUCTION.format(count=len(verdicts)),
        f"In all: {', '.join(counts)}.\n",
        _row(heads),
        _row(["---"] * len(heads)),
        *lines,
        "",
    ])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(RESULTS), encoding="utf-8")


if __name__ == "__main__":
    main()
