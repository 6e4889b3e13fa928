"""Is this result right? One rule per file; `MATCHERS` names them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from text2sql_gym.matching.base import Gold, Matcher
from text2sql_gym.matching.bird_ex import BirdEx
from text2sql_gym.matching.r_ves import RVes
from text2sql_gym.matching.soft_f1 import SoftF1
from text2sql_gym.matching.spider_test_suite import SpiderTestSuite
from text2sql_gym.matching.strict import Strict

MATCHERS: dict[str, Callable[[], Matcher]] = {
    "strict": Strict,
    "strict_one_database": partial(Strict, variants=0, witness="never"),
    "bird_ex": BirdEx,
    "spider_test_suite": SpiderTestSuite,
    "spider_test_suite_keep_distinct": partial(SpiderTestSuite, keep_distinct=True),
    "soft_f1": SoftF1,
    "r_ves": RVes,
}

__all__ = ["MATCHERS", "Gold", "Matcher"]
