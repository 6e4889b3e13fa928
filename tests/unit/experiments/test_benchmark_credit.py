"""The benchmark of credit: statistics by hand, and whole runs on two small databases."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("matplotlib")

from agents.credit import ESTIMATORS  # noqa: E402
from agents.menu_rollout import SIGNALS  # noqa: E402
from experiments import benchmark_credit  # noqa: E402
from experiments.config import Config as Script  # noqa: E402
from experiments.benchmark_credit import _best, main, run_and_write  # noqa: E402
from experiments.credit_benchmark import lm_tier, menu_tier  # noqa: E402
from experiments.credit_benchmark.menu_tier import Arena, MenuSettings, run  # noqa: E402
from experiments.credit_benchmark.page import (  # noqa: E402
    Stored,
    command,
    improvement,
    page,
    read_rows,
    stored,
)
from experiments.credit_benchmark.statistics import (  # noqa: E402
    interquartile_mean,
    probability_of_improvement,
    with_interval,
)
from experiments.credit_benchmark.tiers import TIERS, Tier  # noqa: E402
from experiments.credit_benchmark.variants import (  # noqa: E402
    Spec,
    Variant,
    fitting,
    named,
    read_study,
)
from text2sql_gym.errors import DatasetError  # noqa: E402

CONFIGS = sorted((Path(benchmark_credit.ROOT) / "experiments" / "configs").glob("*.toml"))
TINY = MenuSettings(
    databases=2, eval_databases=1, eval_tasks=4, candidates=3, looks=2, hidden=8,
    demonstrations=12, imitation_steps=5, tasks=2, group_size=2, updates=2, evaluate_every=1,
)


class TestStatistics:
    def test_the_interquartile_mean_leaves_a_quarter_out_at_either_end(self):
        assert interquartile_mean(np.array([[0.0, 9.0], [4.0, 3.0]])) == 3.5  # of 0, 3, 4, 9

    def test_runs_that_agree_have_an_interval_without_width(self):
        found = with_interval(np.tile([0.25, 0.75], (5, 1)))
        assert (found.low, found.value, found.high) == (0.5, 0.5, 0.5)

    def test_an_interval_holds_its_value_and_shrinks_with_more_runs(self):
        draws = np.random.default_rng(0)
        few, many = draws.random((5, 2)), draws.random((80, 2))
        for scores in (few, many):
            found = with_interval(scores)
            assert found.low < found.value < found.high
        width = [e.high - e.low for e in map(with_interval, (few, many))]
        assert width[1] < width[0] / 2

    def test_runs_are_resampled_within_each_stratum(self):
        # easy is nearly 1, hard nearly 0: resampling runs over both would mix them
        scores = np.array([[1.0, 0.0], [0.98, 0.0], [1.0, 0.02], [0.99, 0.01]])
        found = with_interval(scores)
        assert found.high - found.low < 0.05 and 0.45 < found.value < 0.55

    def test_the_probability_of_improvement_by_hand(self):
        one, two = np.array([[1.0], [3.0]]), np.array([[2.0], [3.0]])
        # 1 < 2, 1 < 3, 3 > 2, 3 = 3: one and a half of four
        assert probability_of_improvement(one, two) == 0.375
        assert probability_of_improvement(two, one) == 0.625

    def test_a_matrix_of_improvement_sums_to_one_with_its_transpose(self):
        rows = {name: [{"area": a} for a in areas] for name, areas in
                {"a": [0.1, 0.2], "b": [0.15, 0.3], "c": [0.2, 0.2]}.items()}
        chances = improvement(rows)
        np.testing.assert_allclose(chances + chances.T, 1.0)
        assert chances[0, 1] == 0.25 and (np.diag(chances) == 0.5).all()


class TestStudies:
    @pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
    def test_every_config_can_be_read_and_needs_what_the_menu_tier_has(self, file):
        study = read_study(file)
        assert len(study.variants) >= 2
        assert all(set(variant.needs) <= TIERS["menu"].signals for variant in study.variants)
        keys = {Spec("menu", variant, 1e-3, 0, {}).key for variant in study.variants}
        assert len(keys) == len(study.variants), "no two variants are the same run"

    def test_the_default_study_of_the_menu_tier_has_every_estimator(self):
        assert set(fitting(TIERS["menu"].signals)) == set(ESTIMATORS)
        assert not {"gae", "spa", "reward_sql", "pav"} & set(fitting(SIGNALS))

    def test_what_is_wrong_in_a_config_is_named(self, tmp_path):
        file = tmp_path / "mine.toml"
        for text, message in (
            ("title = 1", "variants"),
            ('title = ""\n[[variants]]\nname = "a"\nestimator = "gripo"', "Did you mean 'grpo'"),
            ('title = ""\n[[variants]]\nname = "a"\nestimator = "grpo"\noptions = {x = 1}', "'x'"),
            ('title = ""\n[[variants]]\nname = "a"\nestimator = "grpo"\n[[variants]]\nname = "a"',
             "names of their own"),
        ):
            file.write_text(text, encoding="utf-8")
            with pytest.raises(ValueError, match=message) as caught:
                read_study(file)
            assert str(file) in str(caught.value)

    def test_a_run_is_known_by_all_that_its_result_follows_from(self):
        spec = Spec("menu", Variant("a", "grpo"), 1e-3, 0, TINY.as_dict())
        assert replace(spec, variant=Variant("b", "grpo")).key == spec.key
        others = [
            replace(spec, seed=1),
            replace(spec, rate=2e-3),
            replace(spec, tier="lm"),
            replace(spec, settings={**TINY.as_dict(), "updates": 3}),
            replace(spec, variant=Variant("a", "rloo")),
            replace(spec, variant=Variant("a", "grpo", {"scale": "none"})),
            replace(spec, variant=Variant("a", "grpo", rewards="outcome")),
            replace(spec, variant=Variant("a", "grpo", schema_mode="f1")),
            replace(spec, variant=Variant("a", "grpo", prover={"best_of": 2})),
        ]
        assert len({other.key for other in others} | {spec.key}) == len(others) + 1

    def test_the_rate_with_the_largest_area_is_chosen_for_its_estimator(self):
        rows = [
            {"estimator": name, "rate": rate, "area": area}
            for name, rate, area in (
                ("a", 1.0, 0.2), ("a", 1.0, 0.4), ("a", 2.0, 0.5), ("a", 2.0, 0.0),
                ("b", 1.0, 0.1), ("b", 2.0, 0.9),
            )
        ]
        assert (_best(rows, "a", [1.0, 2.0]), _best(rows, "b", [1.0, 2.0])) == (1.0, 2.0)


@pytest.fixture(scope="module")
def databases(tmp_path_factory):
    """Where the small databases are, once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEXT2SQL_CACHE", str(tmp_path_factory.mktemp("cache")))
        menu_tier.suitable_tasks.cache_clear()
        yield
        menu_tier.suitable_tasks.cache_clear()


@pytest.fixture
def tiny(tmp_path, monkeypatch, databases):
    """The command line with a small menu tier; returns a function of further flags."""
    settings = TINY.as_dict()
    monkeypatch.setitem(TIERS, "menu", Tier(run, settings, settings, SIGNALS))

    def call(*flags):
        folders = ("runs", "results", "docs")
        where = [part for name in folders for part in (f"--{name}", str(tmp_path / name))]
        main([*where, "--jobs", "1", *flags])
        return tmp_path

    return call


def spec(name="grpo", seed=0, rate=1e-3, **fields):
    return Spec("menu", Variant(name, name, **fields), rate, seed, TINY.as_dict())


class TestRuns:
    def test_the_same_spec_gives_the_same_numbers(self, tiny):
        one, two = run(spec()), run(spec())
        for row in (one, two):
            for name in ("seconds", "cpu_seconds", "train_cpu_seconds"):
                del row[name]
        assert one == two
        json.dumps(one)
        assert one["curve"]["episodes"] == [0, 4, 8] and one["extra_episodes"] == 0

    def test_all_variants_of_a_seed_begin_with_the_same_weights_and_tasks(self, tiny):
        started = (("grpo", 0), ("gigpo", 0), ("grpo", 1))
        arenas = [Arena(spec(name, seed)) for name, seed in started]
        weights = [menu_tier.warm_network(a).state_dict()["score.weight"] for a in arenas]
        assert (weights[0] == weights[1]).all() and not (weights[0] == weights[2]).all()
        tasks = [[arena.draw_tasks() for _ in range(8)] for arena in arenas]
        assert tasks[0] == tasks[1] != tasks[2]
        for arena in arenas:
            arena.collector.close()

    def test_evaluation_is_on_databases_that_are_not_trained_on(self, tiny):
        arena = Arena(spec())
        assert not {t.database for t in arena.training} & {t.database for t in arena.unseen}
        arena.collector.close()

    def test_extra_episodes_are_counted(self, tiny):
        assert run(spec("remax"))["extra_episodes"] == 2 * 2

    @pytest.mark.parametrize("name", fitting(SIGNALS))
    def test_every_closed_form_estimator_can_be_run(self, tiny, name):
        row = run(spec(name))
        assert 0.0 <= row["final"]["ex"] <= 1.0 and set(row["final"]["grades"])

    @pytest.mark.parametrize("name", ["gae", "spa", "reward_sql", "pav"])
    def test_every_estimator_with_learned_signals_can_be_run_and_says_what_they_cost(
        self, tiny, name
    ):
        row = run(spec(name))
        assert 0.0 <= row["final"]["ex"] <= 1.0
        rolls_out = name in ("reward_sql", "pav")
        assert (row.get("rollout_choices", 0) > 0) == rolls_out
        assert (row.get("rollout_turns", 0) > 0) == rolls_out

    def test_a_prover_is_as_strong_as_the_variant_says(self, tiny):
        one, two = (run(spec("pav", prover={"attempts": n, "best_of": n})) for n in (2, 6))
        # rollouts in proportion to the attempts, from the same states of the first update
        assert two["rollout_choices"] > 2 * one["rollout_choices"]
        with pytest.raises(ValueError, match="asks for no prover"):
            run(spec("grpo", prover={"best_of": 2}))
        with pytest.raises(ValueError, match="attempts >= best_of"):
            run(spec("pav", prover={"best_of": 9}))

    @pytest.mark.parametrize("name", ["sb3_ppo", "sb3_maskable_ppo"])
    def test_an_independent_baseline_gives_a_row_like_the_others(self, tiny, name):
        pytest.importorskip("sb3_contrib")
        row = run(spec(name))
        assert set(row) == set(run(spec())) - {"train_cpu_seconds"}
        assert row["curve"]["episodes"][0] == 0 and row["curve"]["episodes"][-1] >= 8

    def test_a_run_that_fails_leaves_no_result(self, tiny, tmp_path):
        file = tmp_path / "row.json"
        with pytest.raises(DatasetError, match="at least 1"):
            run_and_write(replace(spec(), settings={**TINY.as_dict(), "eval_databases": 0}), file)
        assert not file.exists()


class TestCommand:
    def test_finished_runs_are_not_run_again_and_the_page_has_one_section(
        self, tiny, monkeypatch, capsys
    ):
        flags = ("--estimators", "grpo,remax", "--seeds", "2", "--rates", "1e-3,1e-2")
        folder = tiny(*flags)
        rows = read_rows(folder / "results" / "menu" / "chosen.jsonl")
        swept = read_rows(folder / "results" / "menu" / "chosen-rates.jsonl")
        assert [(row["variant"], row["seed"]) for row in rows] == [
            ("grpo", 0), ("grpo", 1), ("remax", 0), ("remax", 1),
        ]
        assert len(swept) == 4 and not {row["seed"] for row in swept} & {0, 1}
        written = (folder / "docs" / "benchmark.md").read_text(encoding="utf-8")

        def refuse(spec, folder):
            raise AssertionError("it was run already")

        monkeypatch.setitem(TIERS, "menu", Tier(refuse, TINY.as_dict(), TINY.as_dict(), SIGNALS))
        for lost in (folder / "runs" / "menu").glob("*.json"):
            lost.unlink()  # the committed results are enough
        tiny(*flags)
        assert (folder / "docs" / "benchmark.md").read_text(encoding="utf-8") == written
        assert written.count("## Chosen with their defaults (menu)") == 1
        named = [line.split("(")[1][:-1] for line in written.splitlines() if line.startswith("![")]
        assert len(named) == 3
        assert all((folder / "docs" / file).stat().st_size > 5_000 for file in named)

    def test_a_run_that_was_stopped_goes_on_where_it_was(self, tiny, monkeypatch):
        real, done = run, []

        def stops(spec, folder):
            if len(done) == 2:
                done.append("stopped")
                raise KeyboardInterrupt
            done.append(spec.seed)
            return real(spec)

        monkeypatch.setitem(TIERS, "menu", Tier(stops, TINY.as_dict(), TINY.as_dict(), SIGNALS))
        flags = ("--estimators", "grpo", "--seeds", "4", "--rates", "1e-3")
        with pytest.raises(KeyboardInterrupt):
            tiny(*flags)
        folder = tiny(*flags)
        assert done == [0, 1, "stopped", 2, 3]
        assert len(read_rows(folder / "results" / "menu" / "chosen.jsonl")) == 4

    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            (("--estimators", "gripo"), "Did you mean 'grpo'"),
            (("--tier", "large"), "no tier named 'large'"),
            (("--seeds", "0"), "must be at least 1"),
            (("--estimators", "grpo", "--config", "x.toml"), "got both"),
        ],
    )
    def test_a_wrong_flag_ends_with_a_reason(self, tiny, capsys, flags, message):
        with pytest.raises(SystemExit):
            tiny(*flags)
        assert message in capsys.readouterr().err

    def test_the_quick_form_leaves_committed_results_and_pages_alone(self, tiny):
        folder = tiny("--estimators", "grpo", "--seeds", "9", "--quick")
        assert not (folder / "results").exists() and not (folder / "docs").exists()
        place = folder / "runs" / "quick"
        rows = read_rows(place / "results" / "menu" / "chosen.jsonl")
        assert [(row["seed"], row["rate"]) for row in rows] == [(0, 1e-2), (1, 1e-2), (2, 1e-2)]
        assert (place / "docs" / "benchmark.md").exists()


class TestThePage:
    RESULTS = Path(benchmark_credit.ROOT) / "experiments" / "results" / "benchmark_credit"
    DOCS = Path(benchmark_credit.ROOT) / "docs"

    def test_the_page_in_docs_is_that_of_the_stored_results(self):
        text = (self.DOCS / "benchmark.md").read_text(encoding="utf-8")
        assert text == page(self.RESULTS), "python experiments/benchmark_credit.py --page"

    def test_every_study_has_its_pictures_and_there_are_no_others(self):
        named = {file for study in stored(self.RESULTS) for file in study.pictures}
        there = {f"benchmark/{file.name}" for file in (self.DOCS / "benchmark").iterdir()}
        assert there == named
        for study in stored(self.RESULTS):
            for file in study.pictures:
                text = (self.DOCS / file).read_text(encoding="utf-8")
                assert all(f">{escape(name)}<" in text for name in study.by_name), file

    def test_results_of_a_config_have_its_variants_with_ten_seeds_in_the_menu_tier(self):
        for study in stored(self.RESULTS):
            config = CONFIGS[0].parent / f"{study.name}.toml"
            if config.exists():
                names = [variant.name for variant in read_study(config).variants]
                assert list(dict.fromkeys(row["variant"] for row in study.rows)) == names
            for rows in study.by_name.values():
                assert len({row["seed"] for row in rows}) >= (10 if study.tier == "menu" else 5)

    def test_the_command_knows_the_stored_runs_of_the_menu_tier_as_its_own(self):
        for study in stored(self.RESULTS):
            if study.tier == "menu":
                config = CONFIGS[0].parent / f"{study.name}.toml"
                names = dict.fromkeys(row["variant"] for row in study.rows)
                asked = read_study(config) if config.exists() else named(study.name, list(names))
                variants = {variant.name: variant for variant in asked.variants}
                for row in study.rows:
                    made = variants[row["variant"]], row["rate"], row["seed"]
                    assert row["key"] == Spec("menu", *made, MenuSettings().as_dict()).key

    def test_a_study_says_what_was_typed(self):
        def rows(*names, seeds=10):
            return [{"variant": n, "estimator": n, "seed": s} for n in names for s in range(seeds)]

        script = "python experiments/benchmark_credit.py"
        assert command(Stored("menu", "estimators", rows("grpo"))) == script
        chosen = Stored("lm", "chosen", rows("grpo", "rloo", seeds=5))
        assert command(chosen) == f"{script} --tier lm --estimators grpo,rloo --seeds 5"
        config = f"{script} --config experiments/configs/gigpo.toml"
        assert command(Stored("menu", "gigpo", rows("a"))) == config


class TestLanguageModels:
    def test_processor_seconds_are_those_of_the_command_and_not_of_waiting(self, tmp_path):
        work = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
        with (tmp_path / "log").open("wb") as output:
            code, spent = lm_tier.timed([sys.executable, "-c", work], output)
            assert code == 0 and spent >= 0.3
            code, idle = lm_tier.timed(["sleep", "0.5"], output)
            assert code == 0 and idle < 0.3
            assert lm_tier.timed([sys.executable, "-c", "raise SystemExit(3)"], output)[0] == 3

    def test_only_what_the_script_can_train_is_accepted(self):
        def lm(name, **fields):
            return Spec("lm", Variant(name, name, **fields), 1e-3, 3, lm_tier.QUICK.as_dict())

        flags = lm_tier.flags_of(lm("finestep", options={"lam": 0.25, "smooth": "forward"}))
        made = Script(**flags)
        assert (made.estimator, made.seed, made.rate) == ("finestep", 3, 1e-3)
        assert made.build_estimator() == ESTIMATORS["finestep"](lam=0.25, smooth="forward")
        flags = lm_tier.flags_of(lm("dual_track", options={"coupled": False}, schema_mode="f1"))
        assert Script(**flags).build_estimator() == ESTIMATORS["dual_track"](coupled=False)
        assert flags["propose"] == 0.5 and flags["schema_mode"] == "f1"
        assert lm_tier.flags_of(lm("grpo", rewards="outcome"))["rewards"] == "outcome"
        flags = lm_tier.flags_of(lm("pav", prover={"attempts": 6, "best_of": 2}))
        assert (flags["rollouts"], flags["best_of"]) == (6, 2)
        for wrong, message in (
            (lm("gae", prover={"best_of": 9}), "1 <= best_of <= rollouts"),
            (lm("finestep", rewards={"outcome": {}, "process": {}}), "schemes by name only"),
        ):
            with pytest.raises(ValueError, match=message):
                lm_tier.flags_of(wrong)

    def test_every_estimator_of_its_default_study_is_accepted(self):
        for name in fitting(TIERS["lm"].signals):
            lm_tier.flags_of(Spec("lm", Variant(name, name), 1e-3, 0, lm_tier.FULL.as_dict()))
        assert set(fitting(TIERS["lm"].signals)) == set(ESTIMATORS)

    def test_episodes_that_are_not_credited_are_counted(self):
        def extra(name, *updates):
            spec = Spec("lm", Variant(name, name), 1e-3, 0, lm_tier.QUICK.as_dict())
            return lm_tier.extra_episodes(spec, updates)

        rows = [{"groups_sampled": 4, "prover_rollouts": 16.0, "label_rollouts": 8.0},
                {"groups_sampled": 5, "prover_rollouts": 30.0, "label_rollouts": 8.0}]
        plain = [{"groups_sampled": 4}, {"groups_sampled": 5}]
        assert extra("grpo", *plain) == 0 and extra("remax", *plain) == 9
        assert extra("pav", *rows) == 38 and extra("remax") == 0

    def test_runs_of_one_seed_begin_from_one_warm_start_and_seeds_have_their_own(self):
        def warm(name, seed):
            return lm_tier.warm_flags(
                Spec("lm", Variant(name, name), 1e-3, seed, lm_tier.FULL.as_dict())
            )

        assert warm("grpo", 3) == warm("finestep", 3) == {**lm_tier.FULL.warm, "seed": 3}
        assert warm("dual_track", 3) == {**warm("grpo", 3), "propose": 0.5}
        starts = {str(warm("grpo", seed)) for seed in range(20)}
        assert len(starts) == lm_tier.FULL.starts == 5
        assert lm_tier.QUICK.starts == 1, "so that --quick makes a single one"

    @pytest.mark.slow
    def test_a_run_shares_the_warm_start_and_gives_a_row_like_the_menu(self, databases, tmp_path):
        small = {
            "threads": 1, "databases": 4, "unseen_databases": 2, "questions": 6, "hidden": 32,
            "layers": 1, "heads": 2, "vocabulary": 420, "context": 420, "max_new_tokens": 60,
            "max_turns": 2, "shown_rows": 2,
        }
        warm = {**small, "demonstrations": 20, "warm_steps": 6, "warm_batch": 4}
        train = {
            **small, "updates": 2, "tasks": 2, "group_size": 2, "eval_tasks": 4,
            "eval_samples": 0, "transcripts": 0,
        }
        settings = {"warm": warm, "train": train, "starts": 2}
        rows = [
            lm_tier.run(Spec("lm", Variant(name, name), 1e-3, 0, settings), tmp_path)
            for name in ("grpo", "gigpo", "dual_track")
        ]
        for row in rows:
            json.dumps(row)
            assert row["curve"]["episodes"] == [0, 4] and set(row["final"]["grades"])
        assert rows[0]["curve"]["ex"][0] == rows[1]["curve"]["ex"][0], "the same first attempts"
        assert len(list(tmp_path.glob("warm-*/config.json"))) == 2, "schemas have one of their own"
