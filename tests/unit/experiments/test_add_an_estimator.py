"""The guide's code runs, prints what it says, and obeys the laws it promises."""

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from agents.credit import signals

GUIDE = Path(__file__).parents[3] / "docs" / "add_an_estimator.md"
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S)


@pytest.fixture(scope="module")
def guide():
    """Run the guide's code as a reader would paste it; its names, and what it printed."""
    names, printed = {"__name__": "guide"}, StringIO()
    with redirect_stdout(printed):
        for block in BLOCKS:
            exec(compile(block, str(GUIDE), "exec"), names)
    return names, printed.getvalue().splitlines()


def test_the_code_prints_what_the_guide_says(guide):
    lines = [line for line in "".join(BLOCKS).splitlines() if "print" in line]
    promised = [line.partition("  # ")[2] for line in lines]
    assert guide[1] == promised and len(promised) == 2


def test_the_estimator_has_20_lines():
    head, _, body = BLOCKS[0].partition("@dataclass")
    assert len([line for line in f"@dataclass{body}".splitlines() if line.strip()]) <= 20


def test_the_estimator_gives_the_lead_of_an_attempt_to_its_useful_steps(guide):
    group = signals([1, 0], [[0.0, np.log(3)], [0.0, 0.0]])
    (track,) = guide[0]["Shares"](epsilon=0.0)(group)
    lead = 1 / np.sqrt(2)
    np.testing.assert_allclose(track.advantages_GS[0], [lead / 2, 1.5 * lead])
    np.testing.assert_allclose(track.advantages_GS[1], [-lead, -lead])


def test_equal_rewards_give_exactly_zero(guide):
    (track,) = guide[0]["Shares"]()(signals([0.1] * 3, [[0.1, 0.1]] * 3))
    assert not np.concatenate(track.advantages_GS).any()
