"""Templates over two or three linked tables.

In a wording a value in double quotes is spelt as stored; one without quotes is not.
"""

from __future__ import annotations

from text2sql_gym.datasets.questions.template import Template

HARD = (
    Template(
        "join_list", "hard", ("on=link", "d=p.plain", "v=d.value", "c=t.any"),
        "SELECT {CC} FROM {T} JOIN {P} ON {ON} WHERE {DD} = {V}",
        (
            'List the {c} of {t} of the {p} whose {d} is "{v}".',
            'For {p} with {d} "{v}", show the {c} of their {t}.',
            'What is the {c} of the {t} linked to {p} with {d} "{v}"?',
            'Show the {c} of all {t} that belong to {p} with {d} "{v}".',
        ),
    ),
    Template(
        "join_of_name", "hard", ("on=link", "d=p.plain_name", "v=d.value", "c=t.any"),
        "SELECT {CC} FROM {T} JOIN {P} ON {ON} WHERE {DD} = {V}",
        (
            'List the {c} of the {t} of "{v}" from {p}, given by {d}.',
            'For the {d} "{v}" in {p}, show the {c} of the {t}.',
            'What is the {c} of the {t} linked to the {p} {d} "{v}"?',
            'Show the {c} of all {t} where the {d} of the {p} is "{v}".',
        ),
    ),
    Template(
        "join_count", "hard", ("on=link", "d=p.plain", "v=d.value"),
        "SELECT COUNT(*) FROM {T} JOIN {P} ON {ON} WHERE {DD} = {V}",
        (
            'How many {t} belong to {p} whose {d} is "{v}"?',
            'Count the {t} of the {p} with {d} "{v}".',
            'For {p} with {d} "{v}", what is the number of {t}?',
            'Find how many {t} are linked to {p} with {d} "{v}".',
        ),
    ),
    Template(
        "join_average", "hard", ("on=link", "d=p.plain", "v=d.value", "n=t.amount"),
        "SELECT AVG({NN}) FROM {T} JOIN {P} ON {ON} WHERE {DD} = {V}",
        (
            'What is the average {n} of {t} of the {p} whose {d} is "{v}"?',
            'For {p} with {d} "{v}", find the mean {n} of their {t}.',
            'Compute the average {n} over {t} linked to {p} with {d} "{v}".',
            'On average, what {n} do {t} of {p} with {d} "{v}" have?',
        ),
    ),
    Template(
        "join_two_columns", "hard", ("on=link", "c=t.any", "d=p.label"),
        "SELECT {CC}, {DD} FROM {T} JOIN {P} ON {ON}",
        (
            "For each of the {t}, show the {c} and the {d} of its {p}.",
            "List the {c} of all {t} with the {d} of the {p}.",
            "Show the {c} of {t} beside the {d} of the linked {p}.",
            "What are the {c} of the {t} and the {d} of their {p}?",
        ),
    ),
    Template(
        "join_above", "hard", ("on=link", "n=p.number", "k=n.threshold", "c=t.any"),
        "SELECT {CC} FROM {T} JOIN {P} ON {ON} WHERE {NN} > {K}",
        (
            "List the {c} of {t} of the {p} whose {n} is above {k}.",
            "For {p} with {n} over {k}, show the {c} of their {t}.",
            "What is the {c} of the {t} linked to {p} with {n} above {k}?",
            "Show the {c} of all {t} that belong to {p} with {n} over {k}.",
        ),
    ),
    Template(
        "without_rows", "hard", ("on=link", "m=p.name"),
        "SELECT {M} FROM {P} WHERE {ID} NOT IN (SELECT {FK} FROM {T})",
        (
            "List the {m} of the {p} that have no {t}.",
            "Which {m} have the {p} without any {t}?",
            "Show the {m} of {p} not linked to any of the {t}.",
            "Find the {m} of all {p} that never appear in {t}.",
        ),
        weight=2,
    ),
    Template(
        "lookup_join_count", "hard", ("on=link", "u=p.coded", "s=u.spoken"),
        "SELECT COUNT(*) FROM {T} JOIN {P} ON {ON} WHERE {UU} = {S}",
        (
            "How many {t} belong to {p} whose {u} is {s}?",
            "Count the {t} of the {p} with {u} {s}.",
            "For {p} with {u} {s}, what is the number of {t}?",
            "Find how many {t} are linked to {p} with {u} {s}.",
        ),
    ),
    Template(
        "lookup_join_list", "hard", ("on=link", "u=p.coded", "s=u.spoken", "c=t.any"),
        "SELECT {CC} FROM {T} JOIN {P} ON {ON} WHERE {UU} = {S}",
        (
            "List the {c} of {t} of the {p} whose {u} is {s}.",
            "For {p} with {u} {s}, show the {c} of their {t}.",
            "What is the {c} of the {t} linked to {p} with {u} {s}?",
            "Show the {c} of all {t} that belong to {p} with {u} {s}.",
        ),
    ),
)

EXTRA = (
    Template(
        "join_most", "extra", ("on=link", "m=p.name"),
        "SELECT {MM} FROM {T} JOIN {P} ON {ON} GROUP BY {MM} ORDER BY COUNT(*) DESC LIMIT 1",
        (
            "Which {m} of the {p} has the most {t}?",
            "What is the {m} of the one with the most {t} among {p}?",
            "Find the {m} of {p} with the largest number of {t}.",
            "Of all {p}, show the {m} with the most linked {t}.",
        ),
        order="SELECT COUNT(*) FROM {T} JOIN {P} ON {ON} GROUP BY {MM} ORDER BY COUNT(*) DESC",
    ),
    Template(
        "join_highest_total", "extra", ("on=link", "m=p.label", "n=t.addable"),
        "SELECT {MM} FROM {T} JOIN {P} ON {ON} GROUP BY {MM} ORDER BY SUM({NN}) DESC LIMIT 1",
        (
            "Which {m} of the {p} has the highest total {n} of {t}?",
            "By total {n} of the {t}, what is the top {m} of {p}?",
            "Find the {m} of {p} whose {t} have the largest sum of {n}.",
            "Of all {p}, show the {m} with the greatest summed {n} in {t}.",
        ),
        order="SELECT SUM({NN}) FROM {T} JOIN {P} ON {ON} GROUP BY {MM} ORDER BY SUM({NN}) DESC",
    ),
    Template(
        "join_having", "extra", ("on=link", "m=p.name", "g=few"),
        "SELECT {MM} FROM {T} JOIN {P} ON {ON} GROUP BY {MM} HAVING COUNT(*) > {G}",
        (
            "Which {m} of the {p} have more than {g} {t}?",
            "List the {m} of {p} with over {g} {t}.",
            "Show the {m} of every one of the {p} linked to more than {g} {t}.",
            "Find the {m} of all {p} that have more than {g} of the {t}.",
        ),
    ),
    Template(
        "join_group", "extra", ("on=link", "m=p.category", "n=t.amount"),
        "SELECT {MM}, AVG({NN}) FROM {T} JOIN {P} ON {ON} GROUP BY {MM}",
        (
            "For each {m} of the {p}, what is the average {n} of {t}?",
            "Show each {m} of {p} with the mean {n} of their {t}.",
            "List every {m} of the {p} that have {t}, and the average {n}.",
            "Group {t} by the {m} of their {p} and give the average {n}.",
        ),
    ),
    Template(
        "two_hops_list", "extra", ("on=chain", "d=q.plain", "v=d.value", "c=t.any"),
        "SELECT {CC} FROM {T} JOIN {P} ON {ON} JOIN {Q} ON {ON2} WHERE {DD} = {V}",
        (
            'List the {c} of {t} whose {p} belong to {q} with {d} "{v}".',
            'For {q} with {d} "{v}", show the {c} of the {t} of their {p}.',
            'What is the {c} of the {t} of {p} of {q} with {d} "{v}"?',
            'Through {p}, show the {c} of {t} for {q} whose {d} is "{v}".',
        ),
        weight=2,
    ),
    Template(
        "two_hops_count", "extra", ("on=chain", "d=q.plain", "v=d.value"),
        "SELECT COUNT(*) FROM {T} JOIN {P} ON {ON} JOIN {Q} ON {ON2} WHERE {DD} = {V}",
        (
            'How many {t} have {p} that belong to {q} with {d} "{v}"?',
            'Count the {t} of the {p} of {q} whose {d} is "{v}".',
            'For {q} with {d} "{v}", count the {t} of their {p}.',
            'Through {p}, how many {t} belong to {q} with {d} "{v}"?',
        ),
        weight=2,
    ),
    Template(
        "meeting", "extra", ("on=star", "d=q.plain", "v=d.value", "c=p.label"),
        "SELECT DISTINCT {CC} FROM {P} JOIN {T} ON {ON} JOIN {Q} ON {ON2} WHERE {DD} = {V}",
        (
            'List each different {c} of {p} that share {t} with {q} whose {d} is "{v}".',
            'Which distinct {c} of {p} are linked by {t} to {q} with {d} "{v}"?',
            'Without repeats, show the {c} of {p} with {t} for {q} of {d} "{v}".',
            'For {q} with {d} "{v}", give every distinct {c} of {p} in their {t}.',
        ),
        weight=2,
    ),
    Template(
        "lookup_meeting", "extra", ("on=star", "u=q.coded", "s=u.spoken", "c=p.label"),
        "SELECT DISTINCT {CC} FROM {P} JOIN {T} ON {ON} JOIN {Q} ON {ON2} WHERE {UU} = {S}",
        (
            "List each different {c} of {p} that share {t} with {q} whose {u} is {s}.",
            "Which distinct {c} of {p} are linked by {t} to {q} with {u} {s}?",
            "Without repeats, show the {c} of {p} with {t} for {q} of {u} {s}.",
            "For {q} with {u} {s}, give every distinct {c} of {p} in their {t}.",
        ),
    ),
    Template(
        "lookup_two_hops", "extra", ("on=chain", "u=q.coded", "s=u.spoken"),
        "SELECT COUNT(*) FROM {T} JOIN {P} ON {ON} JOIN {Q} ON {ON2} WHERE {UU} = {S}",
        (
            "How many {t} have {p} that belong to {q} with {u} {s}?",
            "Count the {t} of the {p} of {q} whose {u} is {s}.",
            "For {q} with {u} {s}, count the {t} of their {p}.",
            "Through {p}, how many {t} belong to {q} with {u} {s}?",
        ),
    ),
    Template(
        "lookup_join_most", "extra", ("on=link", "u=t.coded_category", "s=u.spoken", "m=p.name"),
        "SELECT {MM} FROM {T} JOIN {P} ON {ON} WHERE {UU} = {S} "
        "GROUP BY {MM} ORDER BY COUNT(*) DESC LIMIT 1",
        (
            "Which {m} of the {p} has the most {t} with {u} {s}?",
            "Counting only {t} whose {u} is {s}, which {m} of {p} has the most?",
            "Find the {m} of {p} with the largest number of {t} with {u} {s}.",
            "Of all {p}, show the {m} with the most {t} of {u} {s}.",
        ),
        order="SELECT COUNT(*) FROM {T} JOIN {P} ON {ON} WHERE {UU} = {S} "
        "GROUP BY {MM} ORDER BY COUNT(*) DESC",
    ),
    Template(
        "union", "extra", ("c=shared",),
        "SELECT {C} FROM {T} UNION SELECT {C} FROM {P}",
        (
            "List every different {c} found in {t} or in {p}.",
            "What are the distinct {c} values of {t} and {p} together?",
            "Show each {c} that occurs in {t}, in {p} or in both.",
            "Without repeats, give the {c} of all {t} and all {p}.",
        ),
        weight=5,
    ),
)

JOINS = (*HARD, *EXTRA)
