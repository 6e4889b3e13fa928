"""Hard and extra templates over one table: having, nesting, set operations, looked-up aggregates.

In a wording a value in double quotes is spelt as stored; one without quotes is not.
"""

from __future__ import annotations

from text2sql_gym.datasets.questions.template import Template

HARD = (
    Template(
        "having", "hard", ("t=table", "c=t.category", "g=few"),
        "SELECT {C} FROM {T} GROUP BY {C} HAVING COUNT(*) > {G}",
        (
            "Which {c} have more than {g} {t}?",
            "List every {c} with over {g} {t}.",
            "Show the {c} values that occur more than {g} times in {t}.",
            "Find each {c} shared by more than {g} of the {t}.",
        ),
    ),
    Template(
        "above_average", "hard", ("t=table", "n=t.amount", "c=t.label"),
        "SELECT {C} FROM {T} WHERE {N} > (SELECT AVG({N}) FROM {T})",
        (
            "List the {c} of {t} whose {n} is above the average.",
            "What is the {c} of the {t} with more than average {n}?",
            "Show the {c} of all {t} that exceed the mean {n}.",
            "Which {c} have the {t} with {n} over the average {n}?",
        ),
    ),
    Template(
        "count_below_average", "hard", ("t=table", "n=t.amount"),
        "SELECT COUNT(*) FROM {T} WHERE {N} < (SELECT AVG({N}) FROM {T})",
        (
            "How many {t} have {n} below the average?",
            "Count the {t} with less than average {n}.",
            "What is the number of {t} under the mean {n}?",
            "Find how many {t} have {n} smaller than the average {n}.",
        ),
    ),
    Template(
        "lookup_average", "hard", ("t=table", "u=t.coded_category", "s=u.spoken", "n=t.amount"),
        "SELECT AVG({N}) FROM {T} WHERE {U} = {S}",
        (
            "What is the average {n} of {t} whose {u} is {s}?",
            "Find the mean {n} of the {t} with {u} {s}.",
            "For {t} with {u} {s}, compute the average {n}.",
            "On average, what {n} do {t} with {s} as {u} have?",
        ),
    ),
    Template(
        "lookup_maximum", "hard", ("t=table", "u=t.coded_category", "s=u.spoken", "n=t.number"),
        "SELECT MAX({N}) FROM {T} WHERE {U} = {S}",
        (
            "What is the highest {n} of {t} whose {u} is {s}?",
            "Find the maximum {n} of the {t} with {u} {s}.",
            "For {t} with {u} {s}, show the largest {n}.",
            "How large is the greatest {n} of the {s} {t}?",
        ),
    ),
    Template(
        "lookup_and_above", "hard",
        ("t=table", "u=t.coded_category", "s=u.spoken", "n=t.number", "k=n.threshold", "c=t.any"),
        "SELECT {C} FROM {T} WHERE {U} = {S} AND {N} > {K}",
        (
            "List the {c} of {t} whose {u} is {s} and whose {n} is above {k}.",
            "For {t} with {u} {s} and {n} over {k}, show the {c}.",
            "What is the {c} of the {t} with {n} greater than {k} and {u} {s}?",
            "Show the {c} of {t} where {n} is more than {k} and {u} is {s}.",
        ),
    ),
    Template(
        "lookup_group", "hard", ("t=table", "u=t.coded_category", "s=u.spoken", "c=t.category"),
        "SELECT {C}, COUNT(*) FROM {T} WHERE {U} = {S} GROUP BY {C}",
        (
            "For {t} whose {u} is {s}, count them for each {c}.",
            "Show each {c} with the number of {t} with {u} {s}.",
            "List every {c} and how many {t} have the {u} {s}.",
            "Group the {t} with {u} {s} by {c} and count them.",
        ),
    ),
)

EXTRA = (
    Template(
        "intersection", "extra", ("t=table", "c=t.category", "d=t.plain", "v=d.value", "w=d.value"),
        "SELECT {C} FROM {T} WHERE {D} = {V} INTERSECT SELECT {C} FROM {T} WHERE {D} = {W}",
        (
            'Which {c} have both {t} with {d} "{v}" and {t} with {d} "{w}"?',
            'List each {c} found in {t} for the {d} "{v}" and also for "{w}".',
            'Show the {c} values shared by {t} of {d} "{v}" and {t} of {d} "{w}".',
            'Find the {c} that {t} with {d} "{v}" and those with "{w}" have in common.',
        ),
        weight=2,
    ),
    Template(
        "difference", "extra", ("t=table", "c=t.category", "d=t.plain", "v=d.value"),
        "SELECT {C} FROM {T} EXCEPT SELECT {C} FROM {T} WHERE {D} = {V}",
        (
            'Which {c} have no {t} with {d} "{v}"?',
            'List each {c} of the {t} that never has the {d} "{v}".',
            'Show the {c} values of {t} without any {d} "{v}".',
            'Find every {c} for which none of the {t} has the {d} "{v}".',
        ),
        weight=3,
    ),
)

NESTED = (*HARD, *EXTRA)
