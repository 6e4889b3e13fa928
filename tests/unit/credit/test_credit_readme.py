from agents.credit.__main__ import PAGE, page


def test_the_table_of_algorithms_is_fresh():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m agents.credit"
