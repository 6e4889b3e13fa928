"""Medium templates over one table: groups, order, two conditions, values to look up.

In a wording a value in double quotes is spelt as stored; one without quotes is not.
"""

from __future__ import annotations

from text2sql_gym.datasets.questions.template import Template

MEDIUM = (
    Template(
        "group_count", "medium", ("t=table", "c=t.category"),
        "SELECT {C}, COUNT(*) FROM {T} GROUP BY {C}",
        (
            "For each {c}, how many {t} are there?",
            "Show each {c} with the number of {t}.",
            "List every {c} and the count of its {t}.",
            "Group the {t} by {c} and count them.",
        ),
    ),
    Template(
        "group_average", "medium", ("t=table", "c=t.category", "n=t.amount"),
        "SELECT {C}, AVG({N}) FROM {T} GROUP BY {C}",
        (
            "For each {c}, what is the average {n} of the {t}?",
            "Show each {c} with the mean {n} of its {t}.",
            "List every {c} of the {t} and the average {n}.",
            "Group the {t} by {c} and give the average {n}.",
        ),
    ),
    Template(
        "group_sum", "medium", ("t=table", "c=t.category", "n=t.addable"),
        "SELECT {C}, SUM({N}) FROM {T} GROUP BY {C}",
        (
            "For each {c}, what is the total {n} of the {t}?",
            "Show each {c} with the sum of {n} over its {t}.",
            "List every {c} of the {t} and the total {n}.",
            "Group the {t} by {c} and add up the {n}.",
        ),
    ),
    Template(
        "highest", "medium", ("t=table", "n=t.number", "c=t.label"),
        "SELECT {C} FROM {T} ORDER BY {N} DESC LIMIT 1",
        (
            "What is the {c} of the one with the highest {n} among {t}?",
            "Which {c} has the row of {t} with the largest {n}?",
            "Of all {t}, show the {c} where {n} is the greatest.",
            "Find the {c} of the top one of the {t} by {n}.",
        ),
        order="SELECT {N} FROM {T} ORDER BY {N} DESC",
    ),
    Template(
        "lowest", "medium", ("t=table", "n=t.number", "c=t.label"),
        "SELECT {C} FROM {T} ORDER BY {N} LIMIT 1",
        (
            "What is the {c} of the one with the lowest {n} among {t}?",
            "Which {c} has the row of {t} with the smallest {n}?",
            "Of all {t}, show the {c} where {n} is the least.",
            "Find the {c} of the last one of the {t} by {n}.",
        ),
        order="SELECT {N} FROM {T} ORDER BY {N}",
    ),
    Template(
        "top_few", "medium", ("t=table", "n=t.number", "c=t.label", "l=limit"),
        "SELECT {C} FROM {T} ORDER BY {N} DESC LIMIT {L}",
        (
            "List the {c} of the {l} {t} with the highest {n}, highest first.",
            "Show the {c} of the top {l} {t} by {n}, in falling order.",
            "Which {c} have the {l} {t} with the largest {n}, largest first?",
            "By falling {n}, give the {c} of the first {l} {t}.",
        ),
        order="SELECT {N} FROM {T} ORDER BY {N} DESC",
    ),
    Template(
        "two_conditions", "medium",
        ("t=table", "d=t.plain", "v=d.value", "n=t.number", "k=n.threshold", "c=t.any"),
        "SELECT {C} FROM {T} WHERE {D} = {V} AND {N} > {K}",
        (
            'List the {c} of {t} whose {d} is "{v}" and whose {n} is above {k}.',
            'For {t} with {d} "{v}" and {n} over {k}, show the {c}.',
            'What is the {c} of the {t} with {n} greater than {k} and {d} "{v}"?',
            'Show the {c} of {t} where {n} is more than {k} and {d} is "{v}".',
        ),
    ),
    Template(
        "either_value", "medium", ("t=table", "d=t.plain", "v=d.value", "w=d.value"),
        "SELECT COUNT(*) FROM {T} WHERE {D} = {V} OR {D} = {W}",
        (
            'How many {t} have the {d} "{v}" or "{w}"?',
            'Count the {t} whose {d} is either "{v}" or "{w}".',
            'What is the number of {t} with {d} "{v}" or "{w}"?',
            'Find how many {t} have "{v}" or "{w}" as {d}.',
        ),
    ),
    Template(
        "other_value", "medium", ("t=table", "d=t.complete", "v=d.value", "c=t.any"),
        "SELECT {C} FROM {T} WHERE {D} <> {V}",
        (
            'List the {c} of {t} whose {d} is not "{v}".',
            'For {t} with any {d} but "{v}", show the {c}.',
            'What is the {c} of the {t} with {d} other than "{v}"?',
            'Show the {c} of all {t} except those with {d} "{v}".',
        ),
    ),
    Template(
        "between", "medium", ("t=table", "n=t.number", "k=n.range", "c=t.label"),
        "SELECT {C} FROM {T} WHERE {N} BETWEEN {K} AND {K2}",
        (
            "List the {c} of {t} whose {n} is between {k} and {k2}.",
            "For {t} with {n} from {k} to {k2}, show the {c}.",
            "What is the {c} of the {t} with {n} between {k} and {k2}?",
            "Show the {c} of {t} where the {n} lies from {k} to {k2}.",
        ),
    ),
    Template(
        "distinct", "medium", ("t=table", "c=t.category"),
        "SELECT DISTINCT {C} FROM {T}",
        (
            "What are the different {c} values of the {t}?",
            "List every distinct {c} of {t}, once each.",
            "Show the {c} values found in {t} without repeats.",
            "Which different {c} do the {t} have?",
        ),
    ),
    Template(
        "count_distinct", "medium", ("t=table", "c=t.category"),
        "SELECT COUNT(DISTINCT {C}) FROM {T}",
        (
            "How many different {c} values do the {t} have?",
            "Count the distinct {c} values of {t}.",
            "What is the number of different {c} values among {t}?",
            "Find how many distinct {c} values there are in {t}.",
        ),
    ),
    Template(
        "most_common", "medium", ("t=table", "c=t.category"),
        "SELECT {C} FROM {T} GROUP BY {C} ORDER BY COUNT(*) DESC LIMIT 1",
        (
            "Which {c} has the most {t}?",
            "What is the most common {c} of the {t}?",
            "Find the {c} that occurs most often in {t}.",
            "Show the {c} with the largest number of {t}.",
        ),
        order="SELECT COUNT(*) FROM {T} GROUP BY {C} ORDER BY COUNT(*) DESC",
    ),
    Template(
        "latest", "medium", ("t=table", "n=t.date", "c=t.label"),
        "SELECT {C} FROM {T} ORDER BY {N} DESC LIMIT 1",
        (
            "What is the {c} of the one with the latest {n} among {t}?",
            "Of all {t}, show the {c} where {n} is the most recent.",
            "Find the {c} of the most recent of the {t} by {n}.",
            "Which {c} has the row of {t} with the last {n}?",
        ),
        order="SELECT {N} FROM {T} ORDER BY {N} DESC",
    ),
    Template(
        "lookup_list", "medium", ("t=table", "u=t.coded", "s=u.spoken", "c=t.any"),
        "SELECT {C} FROM {T} WHERE {U} = {S}",
        (
            "List the {c} of {t} whose {u} is {s}.",
            "What is the {c} of the {t} with {u} {s}?",
            "For {t} with {u} {s}, show the {c}.",
            "Show the {c} of all {t} where the {u} is {s}.",
            "Show the {c} of the {s} {t}.",
        ),
    ),
    Template(
        "lookup_count", "medium", ("t=table", "u=t.coded_category", "s=u.spoken"),
        "SELECT COUNT(*) FROM {T} WHERE {U} = {S}",
        (
            "How many {t} have the {u} {s}?",
            "Count the {t} whose {u} is {s}.",
            "What is the number of {t} with {u} {s}?",
            "Find how many {t} have {s} as {u}.",
            "How many {s} {t} are there?",
        ),
    ),
)
