"""Checkpoints: whole or absent, whatever happens while they are written."""

import json
import multiprocessing
import os
import resource
import signal

import pytest
import torch
from transformers import AutoTokenizer

from agents import checkpoint
from agents.checkpoint import CheckpointError, latest, load_weights, read_state, save, verify


@pytest.fixture
def write(tmp_path, model, chat):
    """Save a checkpoint of the model; its state says which."""

    def run(step, keep=5):
        return save(tmp_path, step, model, chat.tokenizer, {"step": step}, keep=keep)

    return run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_was_saved_can_be_read(tmp_path, model, chat):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.5)
    model(torch.tensor([[20, 21]])).logits.sum().backward()
    optimizer.step()
    state = {"optimizer": optimizer.state_dict(), "phase": "train", "done": 3, "nothing": None}
    path = save(tmp_path, 7, model, chat.tokenizer, state)
    assert path == tmp_path / "step-000007" == latest(tmp_path) and verify(path) == 7
    assert names(tmp_path) == ["step-000007"]

    read = read_state(path)
    assert read["phase"] == "train" and read["done"] == 3 and read["nothing"] is None
    for place, moments in state["optimizer"]["state"].items():
        assert torch.equal(read["optimizer"]["state"][place]["exp_avg"], moments["exp_avg"])

    other = type(model)(model.config)
    load_weights(path, other)
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)


def test_a_saved_tokenizer_is_the_same_tokenizer(write, chat):
    read = AutoTokenizer.from_pretrained(write(1))
    assert read.backend_tokenizer.to_str() == chat.tokenizer.backend_tokenizer.to_str()
    assert read.chat_template == chat.tokenizer.chat_template
    assert read.eos_token_id == chat.stop_id


def test_only_the_newest_are_kept(tmp_path, write):
    for step in (1, 2, 3, 4):
        write(step, keep=2)
    assert names(tmp_path) == ["step-000003", "step-000004"]
    with pytest.raises(ValueError, match="keep must be at least 1"):
        write(5, keep=0)


def test_the_newest_is_told_by_its_number_not_by_its_spelling(tmp_path, write):
    for step in (999_999, 1_000_000, 1_000_001):
        write(step, keep=2)
    assert names(tmp_path) == ["step-1000000", "step-1000001"]
    assert latest(tmp_path).name == "step-1000001"


def test_saving_the_same_step_again_replaces_it(tmp_path, model, chat):
    for value in ("old", "new"):
        save(tmp_path, 1, model, chat.tokenizer, {"value": value})
    assert read_state(latest(tmp_path)) == {"value": "new"}
    assert names(tmp_path) == ["step-000001"]


def test_without_checkpoints_there_is_no_latest(tmp_path):
    assert latest(tmp_path) is None and latest(tmp_path / "missing") is None


def test_other_things_in_the_folder_are_not_checkpoints(tmp_path, write):
    (tmp_path / "step-000009.bak").mkdir()
    (tmp_path / "step-best").mkdir()
    write(3, keep=1)
    assert latest(tmp_path).name == "step-000003" and (tmp_path / "step-best").exists()


@pytest.mark.parametrize("file", ["model.safetensors", "state.pt", "tokenizer.json", "config.json"])
def test_a_flipped_byte_is_reported_and_the_one_before_is_used(tmp_path, write, caplog, file):
    write(1)
    path = write(2) / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"broken checkpoint .*step-000002: {file} differs"):
        verify(path.parent)
    assert latest(tmp_path).name == "step-000001"
    assert f"{file} differs" in caplog.text and "trying the one before" in caplog.text


def test_no_flipped_byte_of_the_manifest_goes_unnoticed_or_ends_in_another_error(tmp_path, write):
    path = write(2) / "manifest.json"
    meaning = json.loads(path.read_bytes())
    meaning["sha256"] = {"config.json": meaning["sha256"]["config.json"]}  # one is enough, and fast
    whole = json.dumps(meaning, indent=1).encode()
    for place in range(len(whole)):
        broken = bytearray(whole)
        broken[place] ^= 1
        path.write_bytes(broken)
        found = latest(tmp_path)
        assert found is None or json.loads(path.read_bytes()) == meaning


@pytest.mark.parametrize("file", ["manifest.json", "model.safetensors", "state.pt"])
def test_a_missing_file_is_reported_and_the_one_before_is_used(tmp_path, write, file):
    write(1)
    (write(2) / file).unlink()
    with pytest.raises(CheckpointError, match=f"broken checkpoint .*{file}"):
        verify(tmp_path / "step-000002")
    assert latest(tmp_path).name == "step-000001"


@pytest.mark.parametrize("text", ["[]", "null", "{", '{"step": 2}', '{"step": 2, "sha256": 5}'])
def test_a_manifest_of_another_kind_is_a_broken_checkpoint(write, text):
    path = write(2)
    (path / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match="broken checkpoint"):
        verify(path)


def test_a_broken_newer_checkpoint_does_not_push_out_a_whole_older_one(tmp_path, write):
    (write(5) / "state.pt").unlink()
    for step in (1, 2):
        write(step, keep=1)
        assert latest(tmp_path).name == f"step-{step:06d}"


def test_a_write_that_fails_leaves_nothing_and_the_one_before(tmp_path, write, model, chat):
    write(1)
    with pytest.raises(CheckpointError, match="cannot write the checkpoint .*step-000002"):
        save(tmp_path, 2, model, chat.tokenizer, {"not data": lambda: None})
    assert names(tmp_path) == ["step-000001"] and latest(tmp_path).name == "step-000001"


def test_what_a_kill_left_half_written_is_no_checkpoint_and_is_removed_by_the_next(tmp_path, write):
    write(1)
    (tmp_path / "step-000001").rename(tmp_path / ".partial-000002")
    assert latest(tmp_path) is None
    write(3)
    assert names(tmp_path) == ["step-000003"]


def in_another_process(work):
    """Run `work` in a fork of this process; return what it returned, and its exit code."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(work()))
    process.start()
    process.join()
    return receiver.recv() if receiver.poll() else None, process.exitcode


@pytest.mark.parametrize("size", [2_000, 20_000, 200_000])
def test_a_full_disk_is_a_checkpoint_error_and_the_one_before_is_whole(
    tmp_path, write, model, chat, size
):
    before = write(1)

    def on_a_full_disk():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, -1))
        try:
            save(tmp_path, 2, model, chat.tokenizer, {"big": list(range(200_000))})
        except CheckpointError as error:
            return str(error)

    message, _ = in_another_process(on_a_full_disk)
    assert message.startswith(f"cannot write the checkpoint {tmp_path / 'step-000002'}: ")
    assert names(tmp_path) == ["step-000001"] and latest(tmp_path) == before


def test_a_kill_while_writing_leaves_the_one_before(tmp_path, write, monkeypatch):
    before = write(1)

    def killed(path):
        os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_flush", killed)
        assert in_another_process(lambda: write(2)) == (None, -signal.SIGKILL)
    assert names(tmp_path) == [".partial-000002", "step-000001"]
    assert latest(tmp_path) == before
    write(3)
    assert names(tmp_path) == ["step-000001", "step-000003"]


def test_the_files_are_flushed_before_the_checkpoint_appears(tmp_path, write, monkeypatch):
    events = []
    flush, replace = checkpoint._flush, os.replace
    monkeypatch.setattr(
        checkpoint, "_flush", lambda path: (events.append(path.name), flush(path))
    )
    monkeypatch.setattr(
        os, "replace", lambda old, new: (events.append("appears"), replace(old, new))
    )
    write(1)
    assert events[-2:] == ["appears", tmp_path.name]
    assert {"model.safetensors", "state.pt", "manifest.json", ".partial-000001"} <= set(events[:-2])
