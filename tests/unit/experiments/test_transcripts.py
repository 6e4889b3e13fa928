"""Records of episodes to JSON and back, whatever stands in them."""

import numpy as np
from agents.credit import Track
from experiments.transcripts import GroupRecord, TranscriptFile, summed
from hypothesis import given
from hypothesis import strategies as st
from text2sql_gym.types import Task


def arrays(*rows):
    return tuple(np.array(row, dtype=float) for row in rows)


def test_tracks_are_added_up_with_their_weights_and_masks():
    mask = (np.array([True, False]), np.array([True]))
    credit = (Track(arrays([1, 2], [3])), Track(arrays([10, 20], [30]), mask, weight=0.5))
    assert summed(credit) == ((6.0, 2.0), (18.0,))
    assert summed(()) == ()


@given(st.text(), st.text())
def test_any_text_survives_the_file(tmp_path_factory, question, sql):
    task = Task("t/0", "x.sqlite", question, (sql,), evidence=sql)
    record = GroupRecord.of(task, credit=(Track(arrays([0.5])),))
    file = TranscriptFile(tmp_path_factory.mktemp("told") / "told.jsonl")
    file.append([record])
    file.append([record])
    assert file.read() == [record, record]
    assert record.credit == ((0.5,),) and record.greedy is None and record.attempts == ()


def test_a_text_that_utf8_cannot_hold_is_written_with_a_mark(tmp_path):
    file = TranscriptFile(tmp_path / "told.jsonl")
    file.append([GroupRecord.of(Task("t/0", "x.sqlite", "lone \ud800 surrogate"))])
    assert file.read()[0].question == "lone ? surrogate"
