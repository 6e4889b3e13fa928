from differences import FOLDER, MODULES, PAGE, ledger, page


def test_every_recorded_case_is_checked():
    assert {path.name for path in FOLDER.glob("*.json")} == set(MODULES)
    assert len(ledger()) == 493


def test_the_page_of_differences_is_fresh():
    assert PAGE.read_text() == page(), "run: python tests/vectors/differences.py"
