"""Easy templates: one table, at most one filter spelt as stored, or one aggregate.

In a wording a value in double quotes is spelt as stored; one without quotes is not.
"""

from __future__ import annotations

from text2sql_gym.datasets.questions.template import Template

EASY = (
    Template(
        "list_column", "easy", ("t=table", "c=t.any"),
        "SELECT {C} FROM {T}",
        (
            "List the {c} of all {t}.",
            "What is the {c} of each of the {t}?",
            "Show the {c} for every row of {t}.",
            "Give me the {c} of the {t}.",
            "For all {t}, return the {c}.",
        ),
    ),
    Template(
        "list_two_columns", "easy", ("t=table", "c=t.any", "d=t.any"),
        "SELECT {C}, {D} FROM {T}",
        (
            "List the {c} and the {d} of all {t}.",
            "Show {c} and {d} for all the {t}.",
            "What are the {c} and {d} of the {t}?",
            "For each of the {t}, give the {c} and then the {d}.",
        ),
    ),
    Template(
        "count_rows", "easy", ("t=table",),
        "SELECT COUNT(*) FROM {T}",
        (
            "How many {t} are there?",
            "Give me the number of all {t}.",
            "What is the total number of {t}?",
            "Tell me how many {t} we have.",
            "Find the number of {t}.",
        ),
    ),
    Template(
        "maximum", "easy", ("t=table", "n=t.number"),
        "SELECT MAX({N}) FROM {T}",
        (
            "What is the highest {n} of the {t}?",
            "Find the maximum {n} among all {t}.",
            "Among the {t}, how large is the largest {n}?",
            "Show the greatest {n} of any of the {t}.",
        ),
    ),
    Template(
        "minimum", "easy", ("t=table", "n=t.number"),
        "SELECT MIN({N}) FROM {T}",
        (
            "What is the lowest {n} of the {t}?",
            "Find the minimum {n} among all {t}.",
            "Among the {t}, how small is the smallest {n}?",
            "Show the least {n} of any of the {t}.",
        ),
    ),
    Template(
        "average", "easy", ("t=table", "n=t.amount"),
        "SELECT AVG({N}) FROM {T}",
        (
            "What is the average {n} of the {t}?",
            "Find the mean {n} of all {t}.",
            "On average, what {n} do the {t} have?",
            "Compute the average {n} over all {t}.",
        ),
    ),
    Template(
        "filter_value", "easy", ("t=table", "d=t.plain", "v=d.value", "c=t.any"),
        "SELECT {C} FROM {T} WHERE {D} = {V}",
        (
            'List the {c} of {t} whose {d} is "{v}".',
            'What is the {c} of the {t} with {d} "{v}"?',
            'For {t} with {d} "{v}", show the {c}.',
            'Show the {c} of all {t} where the {d} is "{v}".',
        ),
    ),
    Template(
        "filter_above", "easy", ("t=table", "n=t.number", "k=n.threshold", "c=t.any"),
        "SELECT {C} FROM {T} WHERE {N} > {K}",
        (
            "List the {c} of {t} whose {n} is above {k}.",
            "What is the {c} of the {t} with {n} of more than {k}?",
            "For {t} with {n} greater than {k}, show the {c}.",
            "Show the {c} of all {t} that have {n} over {k}.",
        ),
    ),
    Template(
        "filter_below", "easy", ("t=table", "n=t.number", "k=n.threshold", "c=t.any"),
        "SELECT {C} FROM {T} WHERE {N} < {K}",
        (
            "List the {c} of {t} whose {n} is below {k}.",
            "What is the {c} of the {t} with {n} of less than {k}?",
            "For {t} with {n} smaller than {k}, show the {c}.",
            "Show the {c} of all {t} that have {n} under {k}.",
        ),
    ),
    Template(
        "count_value", "easy", ("t=table", "d=t.plain", "v=d.value"),
        "SELECT COUNT(*) FROM {T} WHERE {D} = {V}",
        (
            'How many {t} have the {d} "{v}"?',
            'Count the {t} whose {d} is "{v}".',
            'What is the number of {t} with {d} "{v}"?',
            'Find how many {t} have "{v}" as {d}.',
        ),
    ),
    Template(
        "of_name", "easy", ("t=table", "m=t.plain_name", "v=m.value", "c=t.any"),
        "SELECT {C} FROM {T} WHERE {M} = {V}",
        (
            'What is the {c} in {t} where the {m} is "{v}"?',
            'Among the {t}, find the {c} of the one with {m} "{v}".',
            'Show the {c} for the {m} "{v}" in {t}.',
            'Which {c} belongs to "{v}" by {m} in {t}?',
        ),
    ),
)
