"""Text from a model that was really trained."""

from __future__ import annotations

import itertools
import unicodedata

import pytest
import torch
from training import settings_of, train

from dltrain import registry
from dltrain.data import InputSpec, Task
from dltrain.data.text.tokens import END, START, UNKNOWN, TextCodec, Vocabulary, tokenize
from dltrain.errors import CheckpointError, ConfigError
from dltrain.generate import Choice, answer, answers, continuations, write_on

GREEDY = Choice()
LINES = ["경마장에 있는 말이 뛰고 있다", "그의 말이 법이다", "가는 말이 고와야 오는 말이 곱다"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Returns a model by name, trained for 200 epochs on three lines, and its codec."""
    known = {}

    def model(name: str):
        if name not in known:
            folder = tmp_path_factory.mktemp("runs") / name
            limits = ("trainer.max_epochs=200", "trainer.evaluate_every_epochs=null")
            outcome = train(folder, "data=korean_text", f"model={name}", "optimizer=adam", *limits)
            assert outcome.trainer.row["val/accuracy"] == 1.0
            known[name] = outcome.parts.model, TextCodec.from_dict(outcome.folder.read_task()["preprocessing"])
        return known[name]

    return model


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_greedy_text_is_the_line_that_was_learnt(name, trained):
    model, codec = trained(name)
    for line in LINES:
        words = line.split()
        assert write_on(model, codec, words[0], len(words) - 1, GREEDY) == line


def test_a_prompt_may_have_several_words(trained):
    model, codec = trained("lstm")
    assert write_on(model, codec, "  가는   말이 ", 4, GREEDY) == LINES[2]


def test_draws_repeat_with_a_seed_and_differ_without(trained):
    model, codec = trained("lstm")

    def draws(seed):
        return [write_on(model, codec, "그의", 12, Choice(temperature=3.0, seed=s)) for s in seed]

    assert draws(range(5)) == draws(range(5))
    assert len(set(draws(range(5)))) == 5
    assert len(set(draws([None] * 5))) > 1


def test_several_prompts_have_draws_of_their_own():
    assert Choice(temperature=1.0, seed=3).of_prompt(2) == Choice(temperature=1.0, seed=5)
    assert Choice(temperature=1.0).of_prompt(2) == Choice(temperature=1.0)


def test_draws_leave_the_global_generator_alone(trained):
    model, codec = trained("lstm")
    before = torch.get_rng_state()
    write_on(model, codec, "그의", 5, Choice(temperature=2.0, seed=1))
    assert torch.equal(before, torch.get_rng_state())


def test_a_low_temperature_comes_near_to_the_likeliest(trained):
    model, codec = trained("lstm")
    assert write_on(model, codec, "경마장에", 4, Choice(temperature=0.01, seed=3)) == LINES[0]


def test_padding_and_the_unknown_token_are_never_written(trained):
    model, codec = trained("lstm")
    words = write_on(model, codec, "그의", 300, Choice(temperature=1000.0, seed=0)).split()
    assert len(words) == 301 and set(words) == set(codec.vocabulary.tokens)


@pytest.mark.parametrize(("kind", "epochs"), [("syllable", 25), ("jamo", 2)])
def test_syllables_and_jamo_are_put_together(kind, epochs, tmp_path):
    outcome = train(
        tmp_path / kind, "data=korean_text", f"data.tokens={kind}", "model=gru", "model.hidden=32",
        "optimizer=adam", "optimizer.lr=0.03", f"trainer.max_epochs={epochs}",
    )  # fmt: skip
    codec = TextCodec.from_dict(outcome.folder.read_task()["preprocessing"])
    missing = len(tokenize(LINES[1], kind)) - len(tokenize("그의", kind))
    text = write_on(outcome.parts.model, codec, "그의", missing, GREEDY)
    assert text.startswith("그의") and unicodedata.is_normalized("NFC", text)
    if kind == "syllable":
        assert text == LINES[1]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("강아지가", "the model has not seen the word '강아지가' of the prompt. There is: "),
        ("그의 말", "the model has not seen the word '말' of the prompt"),
        ("경마장에서", "the model has not seen the word '경마장에서' of the prompt. Did you mean '경마장에'?"),
        ("  ", "the prompt is empty: give at least one word"),
    ],
)
def test_a_prompt_that_the_model_cannot_read_is_refused(prompt, message, trained):
    model, codec = trained("lstm")
    with pytest.raises(ConfigError) as caught:
        write_on(model, codec, prompt, 3, GREEDY)
    assert str(caught.value).startswith(message)


def test_a_beam_finds_the_likeliest_words_to_add(trained):
    model, codec = trained("lstm")
    prompt = codec.encode_prompt("그의")
    found = write_on(model, codec, "그의", 2, Choice(beam=1000)).split()[1:]

    @torch.inference_mode()
    def log_probability(words):
        numbers, total = list(prompt), 0.0
        for number in codec.vocabulary.encode(words):
            logits = model(codec.window(numbers))[0]
            logits[0] = -torch.inf
            total += float(logits.log_softmax(0)[number])
            numbers.append(number)
        return total

    best = max(itertools.product(codec.vocabulary.tokens, repeat=2), key=log_probability)
    assert found == list(best)


def test_a_language_model_that_knows_no_word_of_the_prompt_refuses_it(trained):
    model, codec = trained("lstm")
    known = Vocabulary((*codec.vocabulary.tokens[:-1], UNKNOWN))
    with pytest.raises(
        ConfigError, match=r"^the model has seen nothing of the prompt '강아지가 또' in its training\. "
    ):
        write_on(model, TextCodec("word", known, codec.context), "강아지가 또", 3, GREEDY)


def test_several_texts_are_those_of_the_seeds_that_follow(trained):
    model, codec = trained("lstm")
    prompt = codec.encode_prompt("그의")
    how = {"temperature": 2.0, "top_k": 5, "top_p": 0.9}
    together = continuations(model, codec, prompt, 9, Choice(seed=7, samples=6, **how))
    assert together == [write_on(model, codec, "그의", 9, Choice(seed=7 + i, **how)) for i in range(6)]
    assert len(set(together)) > 1
    anew = continuations(model, codec, prompt, 9, Choice(temperature=3.0, samples=6))
    assert len(set(anew)) > 1


def test_a_text_that_a_beam_finds_in_two_ways_is_told_once():
    """Every pair of these tokens is as likely as the others, and "a" + "ab" spells what "aa" + "b" does."""

    class Undecided(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, windows):
            return torch.zeros(len(windows), 5) + self.weight

    codec = TextCodec("syllable", Vocabulary(("a", "ab", "aa", "b")), 3)
    found = continuations(Undecided(), codec, [4], 2, Choice(beam=16, samples=16))
    pairs = ["".join(pair) for pair in itertools.product(codec.vocabulary.tokens, repeat=2)]
    assert len(pairs) > len(set(pairs)) == len(found) and set(found) == {f"b{pair}" for pair in pairs}


@pytest.mark.parametrize("choice", [Choice(temperature=100.0, top_k=1, seed=0), Choice(temperature=1.0, top_p=1e-6)])
def test_what_is_narrowed_to_one_token_is_greedy(choice, trained):
    model, codec = trained("gru")
    assert write_on(model, codec, "경마장에", 4, choice) == LINES[0]


def test_the_best_texts_of_a_beam_stand_in_their_order(trained):
    model, codec = trained("lstm")
    prompt = codec.encode_prompt("그의")
    three = continuations(model, codec, prompt, 2, Choice(beam=5, samples=3))
    assert three[0] == write_on(model, codec, "그의", 2, Choice(beam=5)) and len(set(three)) == 3


@pytest.mark.parametrize("choice", [GREEDY, Choice(temperature=2.0, seed=4)])
@pytest.mark.parametrize("prompt", ["그의", "가는 말이"])
def test_a_text_is_told_while_it_is_written(choice, prompt, trained):
    model, codec = trained("lstm")
    pieces: list[str] = []
    (text,) = continuations(model, codec, codec.encode_prompt(prompt), 6, choice, pieces.append)
    assert "".join(pieces) == text == write_on(model, codec, prompt, 6, choice)
    assert pieces[0] == prompt and len(pieces) == 7


# --- answers ----------------------------------------------------------------------------------------------

SOURCE = TextCodec("word", Vocabulary((START, END, "x", "y", UNKNOWN)), 4, form="sequence")
TARGET = TextCodec("word", Vocabulary((START, END, "a", "b", "c", UNKNOWN)), 3, form="sequence")


def pair_model(seed=0, **changes):
    """Returns a small model with random weights, so large that its answers differ."""
    torch.manual_seed(seed)
    sides = {
        name: InputSpec((codec.context + 1,), "int64", vocabulary_size=len(codec.vocabulary), padding="right")
        for name, codec in (("source", SOURCE), ("target", TARGET))
    }
    task = Task("seq2seq", sides, len(TARGET.vocabulary), per_step=True)
    settings = settings_of("model", "seq2seq", **{"embedding": 8, "hidden": 16, "init": "normal 0.7", **changes})
    return registry.build("model", settings, task=task).eval()


@pytest.mark.parametrize("changes", [{}, {"attention": False}, {"cell": "lstm"}], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_a_wide_beam_finds_the_best_of_all_answers(seed, changes):
    """With probabilities that the model gives whole answers at once, as in training."""
    model, longest = pair_model(seed, **changes), 4
    words = [words for count in range(longest) for words in itertools.product("abc", repeat=count)]

    @torch.inference_mode()
    def score(words):
        numbers = torch.tensor([TARGET.vocabulary.encode([START, *words, END])])
        source = torch.tensor([SOURCE.encode("x y y")])
        logits = model({"source": source, "target": numbers[:, :-1]})[0].double()
        logits[:, [0, 1, 6]] = -torch.inf
        log_probability = logits.log_softmax(1).gather(1, numbers[0, 1:, None]).sum()
        return float(log_probability) / ((5 + len(words) + 1) / 6) ** 0.6

    best = max(words, key=score)
    assert answer(model, SOURCE, TARGET, "x y y", longest, Choice(beam=1000)) == " ".join(best)


def test_the_question_is_read_once_whatever_the_length_of_the_answer():
    model, calls = pair_model(), []
    model.encoder.register_forward_hook(lambda *_: calls.append("encoder"))
    model.decoder.register_forward_hook(lambda _, inputs, __: calls.append(inputs[0].shape[1]))
    for choice in (GREEDY, Choice(beam=3), Choice(temperature=100.0, seed=2)):
        calls.clear()
        answer(model, SOURCE, TARGET, "x", 30, choice)
        assert calls[0] == "encoder" and set(calls[1:]) == {1}  # one token at a time, each once


def test_no_answer_holds_what_stands_for_no_text():
    model = pair_model()
    model.output.bias.data[[0, 1, 6]] = 50.0  # padding, start and unknown would always be the likeliest
    model.output.bias.data[2] = -50.0
    for choice in (GREEDY, Choice(beam=4), Choice(temperature=1000.0, seed=0)):
        words = answer(model, SOURCE, TARGET, "x", 40, choice).split()
        assert len(words) <= 40 and set(words) <= {"a", "b", "c"}
    assert len(answer(model, SOURCE, TARGET, "x", 5, GREEDY).split()) == 5


def test_a_question_may_hold_unknown_words_and_only_its_beginning_is_read(caplog):
    model = pair_model()
    caplog.set_level("INFO", logger="dltrain")
    greedy = [answer(model, SOURCE, TARGET, prompt, 6, GREEDY) for prompt in ("x 하늘 y y", "x 땅 y y x x x")]
    assert greedy[0] == greedy[1]
    assert caplog.messages == [
        "unknown to the model, from the prompt: 하늘",
        "unknown to the model, from the prompt: 땅",
        "of 7 tokens of the prompt the first 4 are read, as in training",
    ]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("하늘 땅", "the model has seen nothing of the prompt '하늘 땅' in its training. Give one with other words"),
        (" ", "the prompt is empty: give at least one word"),
    ],
)
def test_a_question_of_which_nothing_is_known_is_refused(prompt, message):
    with pytest.raises(ConfigError) as caught:
        answer(pair_model(), SOURCE, TARGET, prompt, 6, GREEDY)
    assert str(caught.value) == message


def test_weights_that_are_no_numbers_are_told():
    model = pair_model()
    model.output.bias.data[3] = torch.nan
    with pytest.raises(CheckpointError, match=r"^the model gives NaN instead of chances: "):
        answer(model, SOURCE, TARGET, "x", 6, GREEDY)


@pytest.mark.parametrize("seed", range(3))
def test_several_answers_are_those_of_the_seeds_that_follow(seed):
    model, numbers = pair_model(seed), SOURCE.encode("x y")
    together = answers(model, SOURCE, TARGET, numbers, 8, Choice(temperature=3.0, seed=2, samples=12))
    alone = [answer(model, SOURCE, TARGET, "x y", 8, Choice(temperature=3.0, seed=2 + i)) for i in range(12)]
    assert together == alone and len(set(together)) > 3


def test_an_answer_is_told_without_its_end():
    pieces: list[str] = []
    choice = Choice(temperature=3.0, seed=2)
    (text,) = answers(pair_model(), SOURCE, TARGET, SOURCE.encode("x"), 30, choice, pieces.append)
    assert "".join(pieces) == text == answer(pair_model(), SOURCE, TARGET, "x", 30, choice)
    assert "</s>" not in text and len(pieces) > 1
