"""The training script on models of three families: full weights and adapters, to the table."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from model_families import FAMILIES, save_model, tokenizer_of
from safetensors.torch import load_file

from agents import checkpoint, pretrained
from agents.chat import Chat
from agents.demonstrations import demonstrate
from agents.policies.scripted import SCRIPTS
from agents.tiny import train_tokenizer
from experiments.config import Config, defaults_for, read_config
from experiments.contestants import Setting, contestant
from experiments.run import Run
from experiments.tasks import make_env
from experiments.train_finestep import main
from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.protocols import PROTOCOLS
from text2sql_gym.types import ToolCall

torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parents[3]

FLAGS = (
    "--dataset records --threads 1 --device cpu --context 1500 --max-new-tokens 10 --max-turns 2 "
    "--updates 2 --tasks 2 --group-size 4 --rate 1e-2 --rate-warmup 0 --rows 8 --eval-tasks 1 "
    "--eval-samples 0 --transcripts 0 --save-every 1 --overlong penalty --overlong-cache 1400 "
    "--token-budget 2500"
).split()

CASES = {
    "qwen3": "--protocol finestep --kl 0.1 --checkpointing",
    "qwen2.5": "--protocol chat --kl 0.1 --lora 4",
    "llama3.1": "--protocol chat --dtype bf16",
}


@pytest.fixture(scope="session")
def trained(tasks):
    """A tokenizer to which the prompts of the two protocols are short."""
    texts = []
    for name in ("finestep", "chat"):
        with Text2SQLEnv(tasks=tasks, protocol=name) as env:
            _, info = env.reset(seed=0)
        texts += [message["content"] for message in info["messages"]]
        texts += [json.dumps(tool) for tool in info["tool_schemas"]]
        texts += [json.dumps(tool, indent=4) for tool in info["tool_schemas"]]
    return train_tokenizer(3 * texts, 2_000)


@pytest.fixture(scope="session")
def data(tasks, tmp_path_factory):
    """The toy tasks as files."""
    folder = tmp_path_factory.mktemp("records")
    shutil.copy(tasks[0].database, folder / "shop.sqlite")
    lines = [
        json.dumps({"db_id": "shop", "question": task.question, "SQL": task.gold_sql[0]})
        for task in tasks
    ]
    for split in ("train", "dev"):
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="session")
def family_run(trained, data, tmp_path_factory):
    """Train a family once; the folders of the model and of the run."""
    done = {}

    def run(family):
        if family not in done:
            folder = tmp_path_factory.mktemp(family)
            model = save_model(folder / "model", family, trained)
            train(model, data, folder / "run", CASES[family])
            done[family] = (model, folder / "run")
        return done[family]

    return run


def train(model, data, output, more):
    main([*FLAGS, "--model", str(model), "--data-dir", str(data), "--output", str(output),
          *more.split()])  # fmt: skip


def updates(folder):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["phase"] == "train"]


def trained_weights(folder):
    """The weights of the last checkpoint, by name."""
    newest = checkpoint.latest(folder / "checkpoints")
    return load_file(next(newest.glob("*.safetensors")))


@pytest.mark.parametrize("family", CASES)
def test_a_model_of_each_family_is_trained_to_the_table(family, family_run):
    model, run = family_run(family)
    lines = updates(run)
    assert [line["update"] for line in lines] == [0, 1]
    assert any(line["groups_kept"] > 0 for line in lines)
    before, after = load_file(model / "model.safetensors"), trained_weights(run)
    if "--lora" in CASES[family]:
        assert all("lora_" in name for name in after)
        assert any(value.abs().max() > 0 for name, value in after.items() if "lora_B" in name)
    else:
        assert after.keys() == before.keys()
        assert any((after[name].float() - before[name]).abs().max() > 1e-3 for name in after)
    assert (run / "table.md").is_file() and (run / "report.html").is_file()


@pytest.mark.parametrize("family", CASES)
def test_the_prompt_of_a_family_is_the_full_one_of_its_protocol(family, family_run, tasks):
    _, run = family_run(family)
    config = json.loads((run / "config.json").read_text())["config"]
    assert (config["warm_steps"], config["shown_rows"], config["minibatches"]) == (0, 10, 1)
    with make_env(read_config(Config(resume=run)), tasks) as env:
        _, info = env.reset(seed=0)
    first, second = (message["content"] for message in info["messages"])
    assert first.startswith("You answer questions") and "CREATE TABLE" in second
    assert bool(info["tool_schemas"]) == (config["protocol"] == "chat")


@pytest.mark.parametrize("family", ["qwen3", "qwen2.5"])
def test_the_divergence_is_zero_at_first_and_grows(family, family_run):
    first, second = updates(family_run(family)[1])
    assert first["kl_reference"] == pytest.approx(0.0, abs=1e-5)
    assert second["kl_reference"] > 1e-4


def test_weights_in_bf16_stay_in_bf16(family_run):
    _, run = family_run("llama3.1")
    assert {value.dtype for value in trained_weights(run).values()} == {torch.bfloat16}


@pytest.mark.parametrize("family", CASES)
def test_a_stopped_run_ends_in_the_same_weights(family, family_run, data, tmp_path, monkeypatch):
    model, whole = family_run(family)
    collect = Run.collect

    def stopped(run, update):
        if update == 1:
            raise KeyboardInterrupt
        return collect(run, update)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Run, "collect", stopped)
        train(model, data, tmp_path / "run", CASES[family])
    main(["--resume", str(tmp_path / "run")])
    one, two = trained_weights(whole), trained_weights(tmp_path / "run")
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=0)


@pytest.mark.parametrize("family", ["qwen2.5", "llama3.1"])
def test_a_trained_run_can_be_evaluated(family, family_run, tasks):
    _, run = family_run(family)
    player = contestant(Setting(str(run), device="cpu", rows=2), tasks)
    group = player([tasks[0].task_id], 1, 0.0, 0, lambda: None)[tasks[0].task_id]
    player.close()
    assert group.attempts[0].steps
    _, model = pretrained.load(checkpoint.latest(run / "checkpoints"), torch.device("cpu"))
    weights = dict(model.named_parameters())
    for name, value in trained_weights(run).items():
        at = name.replace("base_model.model.", "").replace(".weight", ".default.weight")
        stored = weights[name] if name in weights else weights[at]
        torch.testing.assert_close(stored.detach(), value, rtol=0, atol=0)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_is_spoken_in_every_family(protocol, family, trained, tasks):
    chat = Chat(tokenizer_of(family, trained))
    with Text2SQLEnv(tasks=tasks, protocol=protocol) as env:
        _, info = env.reset(seed=0)
        prompt = chat.tokenizer.decode(chat.prompt_ids(info["messages"], info["tool_schemas"]))
        assert all(message["content"].strip() in prompt for message in info["messages"])
        assert all(tool["function"]["name"] in prompt for tool in info["tool_schemas"])
        turn = env.protocol.write(ToolCall(env.protocol.tools[0], {"sql": "SELECT 1"}), "look")
        observation, *_, info = env.step(turn)
        (message,) = info["messages"]
        heard = chat.tokenizer.decode(chat.message_ids(message))
        as_json = family == "llama3.1" and message["role"] == "tool"
        assert (json.dumps(observation, ensure_ascii=False) if as_json else observation) in heard


def test_a_script_demonstrates_native_tool_calls(tasks, trained):
    chat = Chat(tokenizer_of("qwen3", trained))
    with Text2SQLEnv(tasks=tasks, protocol="chat") as env:
        ids = [task.task_id for task in tasks]
        attempts = demonstrate(env, chat, SCRIPTS["gold"], ids, seed=0)
    assert [attempt.outcome for attempt in attempts] == ["match"] * len(ids)
    assert '{"name": "submit"' in attempts[0].steps[-1].completion.text


def test_two_tracks_are_trained_where_schemas_may_be_proposed(trained, data, tmp_path):
    model = save_model(tmp_path / "model", "qwen3", trained)
    train(model, data, tmp_path / "run", "--protocol trust_sql --estimator dual_track "
          "--schema-mode recall --context 2500 --overlong-cache 2400")  # fmt: skip
    lines = updates(tmp_path / "run")
    assert [line["update"] for line in lines] == [0, 1]
    assert any(line["groups_kept"] > 0 for line in lines)
    before, after = load_file(model / "model.safetensors"), trained_weights(tmp_path / "run")
    assert any((after[name].float() - before[name]).abs().max() > 1e-3 for name in after)


def test_a_warm_start_comes_first_where_it_is_asked_for(trained, data, tmp_path):
    model = save_model(tmp_path / "model", "qwen3", trained)
    train(model, data, tmp_path / "run", "--protocol chat --warm-steps 2 --demonstrations 4 "
          "--warm-batch 1 --updates 0")  # fmt: skip
    lines = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    assert next(lines)["phase"] == "warm_start"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--lora", "4"], "they need a pretrained --model"),
        (["--protocol", "chat"], "they need a pretrained --model"),
        (["--model", "x", "--protocol", "reex", "--warm-steps", "5"], "no script"),
        (["--model", "x", "--rows", "4"], "rows must be at least"),
        (["--kl", "-1"], "kl >= 0"),
        (["--kl", "1", "--kl-estimator", "k9"], "k9"),
        (["--overlong", "drop"], "expected one of"),
        (["--overlong", "penalty", "--overlong-cache", "9999"], "0 < cache <="),
        (["--dtype", "int8"], "int8"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(flags, said, capsys):
    with pytest.raises(SystemExit):
        main(flags)
    assert said in capsys.readouterr().err


def test_the_learning_rate_suits_what_is_trained():
    assert defaults_for(["--hidden", "8"]) == {}
    assert defaults_for(["--model", "x"])["rate"] == 1e-6
    assert defaults_for(["--model=x", "--lora", "8"])["rate"] == 2e-5


def test_a_template_that_cannot_hold_the_conversation_ends_with_a_message(trained, data, tmp_path):
    folder = save_model(tmp_path / "model", "qwen3", trained)
    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(SystemExit, match="TemplateError: the chat template does not write tools"):
        train(folder, data, tmp_path / "run", "--protocol chat")
    assert not (tmp_path / "run").exists()  # nothing in the way of another try


def test_a_model_that_is_not_there_ends_with_a_message(data, tmp_path):
    with pytest.raises(SystemExit, match="no-such-folder"):
        train(tmp_path / "no-such-folder", data, tmp_path / "run", "")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_hub_id_is_found_in_the_cache_without_a_network(trained, tmp_path):
    for family in FAMILIES:
        kept = tmp_path / "hub" / f"models--someone--{family}"
        save_model(kept / "snapshots" / "abc", family, trained)
        (kept / "refs").mkdir()
        (kept / "refs" / "main").write_text("abc")
    code = (
        "import sys, torch; from agents import pretrained; from agents.chat import Chat\n"
        "for name in sys.argv[1:]:\n"
        "    tokenizer, model = pretrained.load(f'someone/{name}', torch.device('cpu'))\n"
        "    ids = Chat(tokenizer).prompt_ids([{'role': 'user', 'content': 'a question'}], [])\n"
        "    print(name, model.config.model_type, len(ids) > 3)\n"
    )
    offline = {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *FAMILIES],
        env=os.environ | offline, cwd=ROOT, capture_output=True, text=True, check=True,
    )
    kinds = {"qwen3": "qwen3", "qwen2.5": "qwen2", "llama3.1": "llama"}
    assert done.stdout.split() == [
        word for family in FAMILIES for word in (family, kinds[family], "True")
    ]
