"""Information gain and schema scores of a language model's attempts, told from gold queries."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from rollout_records import attempt, group, step
from test_rollout import CALL, WRONG, Told, sampler
from test_trainer import on_policy, weights

from agents.credit import ESTIMATORS, DualTrack, Igpo
from agents.learned.gold import GoldSignals, answer_chances, answer_tokens, proposal_signals
from agents.learned.language import LanguageSignals
from agents.rollout import Collector, histories
from agents.trainer import Optimization, Trainer
from text2sql_gym.env import Text2SQLEnv
from text2sql_gym.protocols import PROTOCOLS
from text2sql_gym.protocols.finestep import FineStep
from text2sql_gym.protocols.trust_sql import TrustSql
from text2sql_gym.types import ToolCall

TWO_TURNS = attempt(step([1, 2], [3, 4]), step([5], [6, 7, 8], outcome=1.0), task_id="shop/1")
ONE_TURN = attempt(step([1, 2], [10]), task_id="shop/1")


@pytest.fixture
def env(make_env):
    with make_env() as made:
        yield made


class TestTheAnswer:
    @pytest.mark.parametrize("protocol", PROTOCOLS)
    @pytest.mark.parametrize("sql", ["SELECT name FROM city", "SELECT '\"<a>' ,\n1", '"'])
    def test_a_turn_is_what_leads_to_the_query_the_query_and_an_end(self, protocol, sql, chat):
        spoken = PROTOCOLS[protocol]()
        lead, query = (chat.text(ids) for ids in answer_tokens(spoken, chat, sql))
        (tool,) = (name for name in spoken.tools if name.startswith("submit"))
        whole = spoken.write(ToolCall(tool, {"sql": sql}))
        assert whole.startswith(lead + query)
        end = whole.removeprefix(lead + query)
        assert lead + end == spoken.write(ToolCall(tool, {"sql": ""}))

    def test_of_finestep_by_hand(self, chat):
        lead, query = answer_tokens(FineStep(), chat, "SELECT name FROM city")
        assert chat.text(lead) == "<reasoning></reasoning>\n<final_sql>"
        assert chat.text(query) == "SELECT name FROM city"

    def test_its_chance_is_the_geometric_mean_over_the_query(self, model):
        ids, lead, query = [20, 21, 22], (30, 31), (40, 41, 42)
        with torch.no_grad():
            logits_TV = model(torch.tensor([[*ids, *lead, *query]])).logits[0]
        # the token at place t is drawn from the logits at t - 1; the query stands at 5, 6 and 7
        logprobs_TV = logits_TV.log_softmax(-1)
        wanted = np.exp(np.mean([logprobs_TV[4 + n, query[n]].item() for n in range(3)]))
        assert answer_chances(model, [tuple(ids)], (lead, query))[0] == pytest.approx(wanted)
        assert 0 < wanted < 1

    @pytest.mark.parametrize("budget", [1, 25, 4_096])
    def test_its_chance_does_not_depend_on_what_is_read_beside_it(self, model, budget):
        several = [(20,), tuple(range(10, 40)), (7, 8, 9)]
        answer = ((30, 31), (40, 41, 42))
        alone = [answer_chances(model, [one], answer)[0] for one in several]
        together = answer_chances(model, several, answer, budget)
        np.testing.assert_allclose(together, alone, rtol=1e-4)


class TestInformationGain:
    def test_is_what_a_turn_made_the_gold_answer_likelier(self, model, chat, env):
        made = group(TWO_TURNS, ONE_TURN, task_id="shop/1")
        (found,) = GoldSignals(["information_gain"], model, chat, env)([made])
        answer = answer_tokens(env.protocol, chat, "SELECT name FROM city")
        before, after = answer_chances(model, [(1, 2), (1, 2, 3, 4, 5)], answer)
        two, one = found.signals().learned("information_gain")
        np.testing.assert_allclose(two, [after - before, 0.0])
        assert one.tolist() == [0.0] and after != before

    def test_is_told_by_the_policy_of_the_moment_without_a_gradient(self, model, chat, env):
        made = [group(TWO_TURNS, ONE_TURN, task_id="shop/1")]
        golds = GoldSignals(["information_gain"], model, chat, env)
        first = golds(made)
        with torch.no_grad():
            model.get_input_embeddings().weight.mul_(1.5)
        assert golds(made) != first
        assert all(weight.grad is None for weight in model.parameters())

    def test_gains_of_an_attempt_sum_to_the_last_chance_less_the_first(
        self, make_env, chat, imitator, env
    ):
        collector = Collector(make_env, chat, rows=12)
        groups = collector.collect(sampler(imitator, chat, rows=12), ["shop/2"], 12, seed=0)
        collector.close()
        (found,) = GoldSignals(["information_gain"], imitator, chat, env)(groups)
        answer = answer_tokens(env.protocol, chat, "SELECT name FROM city WHERE country = 'NO'")
        gains_GS = found.signals().learned("information_gain")
        assert max(map(len, gains_GS)) > 2
        for one, gains_S in zip(groups[0].attempts, gains_GS, strict=True):
            whole = histories(one)
            first, last = answer_chances(imitator, [whole[0], whole[-1]], answer)
            assert gains_S.sum() == pytest.approx(last - first, abs=1e-6)

    def test_the_policy_is_trained_by_it(self, model, chat, env):
        learner = copy.deepcopy(model)
        golds = GoldSignals(Igpo.needs, learner, chat, env)
        signals = LanguageSignals.for_estimator(Igpo(), learner, golds=golds)
        trainer = Trainer(learner, Igpo(), optimization=Optimization(1e-3), signals=signals)
        made = group(*on_policy(model, [TWO_TURNS, ONE_TURN]), task_id="shop/1")
        trainer.update([made])
        assert not torch.equal(weights(learner), weights(model))
        before = GoldSignals(Igpo.needs, model, chat, env)([made])
        (expected,) = Igpo()(before[0].signals())
        np.testing.assert_allclose(
            np.concatenate(trainer.credits[0][0].advantages_GS),
            np.concatenate(expected.advantages_GS), rtol=1e-4,
        )

    def test_a_task_without_a_gold_query_is_refused(self, model, chat, tasks):
        made = group(replace(ONE_TURN, task_id="blind"), task_id="blind")
        blind = replace(tasks[0], task_id="blind", gold_sql=())
        with Text2SQLEnv(tasks=[blind], protocol=FineStep(style="compact")) as asked:
            with pytest.raises(ValueError, match="blind: expected a gold query"):
                GoldSignals(["information_gain"], model, chat, asked)([made])


PROPOSING = FineStep(style="compact", tools=("execute_sql", "propose_schema", "submit"))


def proposed(schema):
    return PROPOSING.write(ToolCall("propose_schema", {"schema": schema}), "so")


EXACT = proposed("City(NAME, country)")  # what the gold query of shop/2 names
LARGE = proposed("city(name, country, id); sale(id)")
MISSPELT = proposed("city(nane)")


class TestSchemas:
    def signals(self, collected, chat, env, *turns, mode="total_match"):
        policy = Told(chat, lambda handle: turns)
        collector = collected(PROPOSING)
        (found,) = collector.collect(policy, ["shop/2"], 1, seed=0)
        golds = GoldSignals(DualTrack.needs, None, chat, env, schema_mode=mode)
        (told,) = golds([found])
        return [told.signals().learned(name)[0].tolist() for name in DualTrack.needs[1:]]

    @pytest.fixture
    def collected(self, tasks, chat):
        made = []

        def make(protocol):
            made.append(
                Collector(lambda: Text2SQLEnv(tasks=tasks, protocol=protocol), chat, rows=2)
            )
            return made[-1]

        yield make
        for one in made:
            one.close()

    def test_the_last_proposal_is_scored_and_ends_the_phase(self, collected, chat, env):
        told = self.signals(collected, chat, env, LARGE, CALL, EXACT, CALL, WRONG)
        assert told == [[0, 0, 1, 0, 0], [1, 1, 1, 0, 0]]
        told = self.signals(collected, chat, env, EXACT, LARGE, WRONG)
        assert told == [[0, 0, 0], [1, 1, 0]]

    def test_the_mode_says_how_it_is_scored(self, collected, chat, env):
        # tables 1 of 2, columns 2 of 4
        told = self.signals(collected, chat, env, LARGE, WRONG, mode="precision")
        assert told == [[pytest.approx(0.4 / 2 + 0.6 / 2), 0], [1, 0]]
        assert self.signals(collected, chat, env, LARGE, WRONG, mode="recall")[0] == [1, 0]

    def test_a_proposal_that_the_tool_refused_counts_for_nothing(self, collected, chat, env):
        assert self.signals(collected, chat, env, EXACT, MISSPELT, WRONG)[1] == [1, 0, 0]
        assert self.signals(collected, chat, env, MISSPELT, WRONG) == [[0, 0], [0, 0]]
        assert self.signals(collected, chat, env, WRONG) == [[0], [0]]

    def test_of_trust_sql_and_its_two_tracks_train_the_policy(self, collected, chat, model, env):
        protocol = TrustSql(schema="full")
        sql = "SELECT name FROM city WHERE country = 'NO'"
        schema = protocol.write(ToolCall("propose_schema", {"schema": "city(name, country)"}))
        tried = protocol.write(ToolCall("execute_sql", {"sql": sql}))
        right, wrong = (
            protocol.write(ToolCall("submit", {"sql": text})) for text in (sql, "SELECT 1")
        )
        said = [[schema, tried, right], [schema, wrong], [wrong], [wrong]]
        (found,) = collected(protocol).collect(
            Told(chat, lambda handle: said[handle % 4]), ["shop/2"], 2, seed=0
        )
        golds = GoldSignals(DualTrack.needs, model, chat, env)
        trainer = Trainer(
            copy.deepcopy(model), DualTrack(), optimization=Optimization(1e-3),
            signals=LanguageSignals.for_estimator(DualTrack(), model, golds=golds),
        )
        metrics = trainer.update([found])
        schema_track, answer_track = trainer.credits[0]
        assert metrics["groups_kept"] == 1
        # one of two is right and has the schema: plus and minus one deviation
        assert [row.tolist() for row in answer_track.advantages_GS] == [
            [pytest.approx(1.0, abs=1e-4)] * 3, [pytest.approx(-1.0, abs=1e-4)] * 2,
        ]
        assert [row.tolist() for row in schema_track.mask_GS] == [[1, 0, 0], [1, 0]]
        assert schema_track.advantages_GS[0][0] > 0 > schema_track.advantages_GS[1][0]

    def test_only_what_is_needed_is_told(self, model, chat, env):
        made = [group(TWO_TURNS, task_id="shop/1")]
        (found,) = GoldSignals(DualTrack.needs, model, chat, env)(made)
        assert "information_gain" not in found.signals().learned_GS
        assert GoldSignals(["outcome"], model, chat, env)(made) == made

    def test_scores_are_asked_of_the_last_proposal_alone(self):
        asked = []
        steps = [step([1], [place], tool="propose_schema") for place in range(3)]
        reward_S, phase_S = proposal_signals(steps, lambda one: asked.append(one) or 0.5)
        assert asked == [steps[2]]
        assert reward_S.tolist() == [0, 0, 0.5] and phase_S.tolist() == [1, 1, 1]


@pytest.mark.parametrize("name", ["igpo", "dual_track"])
def test_what_needs_gold_queries_is_not_made_without_them(name, model):
    with pytest.raises(ValueError, match="needs golds to tell (information_gain|schema_phase)"):
        LanguageSignals.for_estimator(ESTIMATORS[name](), model)
