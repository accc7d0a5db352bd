"""Text from a trained model: what a language model writes on, and what an encoder and decoder answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from dltrain.console import log
from dltrain.data.text.tokens import END, PADDING, START, TextCodec, join
from dltrain.decoding import Tell, Writer, drawn, search
from dltrain.errors import CheckpointError, ConfigError
from dltrain.models import device_of
from dltrain.models.seq2seq import Seq2Seq
from dltrain.unfolding import Unfolding


@dataclass(frozen=True)
class Choice:
    """How the next token is chosen, and how many texts are written.

    Attributes:
        beam: how many texts the search for the likeliest one keeps; 1 takes the likeliest token each time.
        temperature: 0 searches; above, tokens are drawn from softmax(logits / t).
        seed: of the draws of the first text, the second has the next number; None draws anew each time.
        top_k, top_p: what is drawn from; see ``decoding.narrowed``.
        samples: texts that are drawn, or the best that a beam finds.
    """

    beam: int = 1
    temperature: float = 0.0
    seed: int | None = None
    top_k: int | None = None
    top_p: float | None = None
    samples: int = 1

    def of_prompt(self, place: int) -> Choice:
        """Returns the choice for one of several prompts: the same draws would lead them all to the same words."""
        return self if self.seed is None else dataclasses.replace(self, seed=self.seed + place)

    def write(
        self, writer: Writer, first: int, end: int | None, longest: int, tell: Tell | None = None
    ) -> list[list[int]]:
        """Returns the tokens of each text that follow ``first``, as ``decoding`` has it; of a beam all that it keeps.

        Args:
            tell: is given each token of a single text that is not searched with a beam, as soon as it is known.
        """
        if self.temperature == 0:
            found = search(writer, first, end=end, longest=longest, beam=self.beam, tell=tell)
            return [list(text.tokens) for text in found]
        generators = [torch.Generator() for _ in range(self.samples)]
        for number, generator in enumerate(generators):
            if self.seed is None:
                generator.seed()
            else:
                generator.manual_seed((self.seed + number) % 2**63)
        return drawn(
            writer,
            first,
            end=end,
            longest=longest,
            temperature=self.temperature,
            generators=generators,
            top_k=self.top_k,
            top_p=self.top_p,
            tell=tell,
        )


def write_on(model: nn.Module, codec: TextCodec, prompt: str, num_tokens: int, choice: Choice) -> str:
    """Returns the prompt with ``num_tokens`` more tokens of a language model.

    Raises:
        ConfigError: the prompt is empty, or the model has never seen it.
    """
    return continued(model, codec, read_prompt(codec, prompt), num_tokens, choice)


def continued(model: nn.Module, codec: TextCodec, numbers: list[int], num_tokens: int, choice: Choice) -> str:
    """Returns the text of a prompt's token numbers, one at least, with ``num_tokens`` more of a language model."""
    return continuations(model, codec, numbers, num_tokens, choice)[0]


@torch.inference_mode()
def continuations(
    model: nn.Module,
    codec: TextCodec,
    numbers: list[int],
    num_tokens: int,
    choice: Choice,
    tell: Callable[[str], None] | None = None,
) -> list[str]:
    """Returns ``choice.samples`` texts, each as ``continued``.

    Args:
        tell: is given a single text that is not searched with a beam in pieces, while it is written.
    """
    unfolding = None if tell is None else Unfolding(codec, tell)
    if unfolding is not None:
        unfolding.add(*numbers)
    writer = _WritingOn(model.eval(), codec, numbers[:-1])
    texts = choice.write(writer, numbers[-1], None, num_tokens, None if unfolding is None else unfolding.add)
    if unfolding is not None:
        unfolding.finish()
    return _chosen((join(codec.vocabulary.decode([*numbers, *written]), codec.kind) for written in texts), choice)


def _chosen(texts: Iterable[str], choice: Choice) -> list[str]:
    """Returns as many texts as are wanted. A beam may find one text in several ways, cut at other places."""
    return list(texts) if choice.temperature > 0 else list(dict.fromkeys(texts))[: choice.samples]


def answer(model: Seq2Seq, source: TextCodec, target: TextCodec, prompt: str, longest: int, choice: Choice) -> str:
    """Returns what a model of pairs writes for a prompt, of which it reads ``source.context`` tokens at most.

    Args:
        source, target: of the texts that the model reads, and of those that it writes.
        longest: tokens of the answer at most, its end among them.

    Raises:
        ConfigError: the prompt is empty, or the model has never seen any of it.
    """
    return answered(model, source, target, read_question(source, prompt), longest, choice)


def read_question(source: TextCodec, prompt: str) -> list[int]:
    """As ``read_prompt``, and says how much of it a model of pairs reads."""
    numbers = read_prompt(source, prompt)
    if len(numbers) > source.context:
        log.info("of %d tokens of the prompt the first %d are read, as in training", len(numbers), source.context)
    return numbers


def answered(
    model: Seq2Seq, source: TextCodec, target: TextCodec, numbers: list[int], longest: int, choice: Choice
) -> str:
    """Returns the answer to a prompt's token numbers, one at least, of which the first ``source.context`` are read."""
    return answers(model, source, target, numbers, longest, choice)[0]


@torch.inference_mode()
def answers(
    model: Seq2Seq,
    source: TextCodec,
    target: TextCodec,
    numbers: list[int],
    longest: int,
    choice: Choice,
    tell: Callable[[str], None] | None = None,
) -> list[str]:
    """Returns ``choice.samples`` answers, each as ``answered``.

    Args:
        tell: is given a single answer that is not searched with a beam in pieces, while it is written.
    """
    numbers = numbers[: source.context]
    start, end = target.vocabulary.encode((START, END))
    unwritten = [PADDING, start, target.vocabulary.unknown]
    unfolding = None if tell is None else Unfolding(target, tell)

    def take(number: int) -> None:
        if unfolding is not None and number != end:
            unfolding.add(number)

    texts = choice.write(_Answering(model.eval(), numbers, unwritten), start, end, longest, take)
    if unfolding is not None:
        unfolding.finish()
    return _chosen(
        (join(target.vocabulary.decode(n for n in written if n != end), target.kind) for written in texts), choice
    )


def read_prompt(codec: TextCodec, prompt: str, *, quietly: bool = False) -> list[int]:
    """Returns the numbers of a prompt, and says what of it stands as unknown.

    Raises:
        ConfigError: the prompt is empty, or holds only what the model has never seen.
    """
    numbers = codec.encode_prompt(prompt)
    tokens = codec.cut_prompt(prompt)
    unknown = [token for token, n in zip(tokens, numbers, strict=True) if n == codec.vocabulary.unknown]
    if len(unknown) == len(numbers):
        raise ConfigError(
            f"the model has seen nothing of the prompt '{prompt}' in its training. Give one with other words"
        )
    if unknown and not quietly:
        log.info("unknown to the model, from the prompt: %s", ", ".join(dict.fromkeys(unknown)))
    return numbers


class _WritingOn(Writer):
    """A language model, which reads its texts anew for each token."""

    def __init__(self, model: nn.Module, codec: TextCodec, numbers: list[int]) -> None:
        self.model, self.codec = model, codec
        self.texts = torch.tensor([numbers], dtype=torch.int64)  # (N, tokens so far)
        self.unwritten = [PADDING, codec.vocabulary.unknown]
        self.device = device_of(model)

    def next_logits(self, parents: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        self.texts = torch.cat((self.texts[parents], tokens.unsqueeze(1)), dim=1)
        windows = self.texts[:, -self.codec.context :]
        if self.codec.form != "stream":
            windows = F.pad(windows, (self.codec.context - windows.shape[1], 0), value=PADDING)
        logits = self.model(windows.to(self.device))  # (N, V), or (N, T, V) where each step has one
        return _allowed(logits[:, -1] if logits.dim() == 3 else logits, self.unwritten)


class _Answering(Writer):
    """A decoder, which keeps its state from token to token; the encoder reads the prompt once."""

    def __init__(self, model: Seq2Seq, numbers: list[int], unwritten: list[int | None]) -> None:
        self.model, self.unwritten = model, unwritten
        self.device = device_of(model)
        self.source = torch.tensor([numbers], device=self.device)  # (1, S)
        self.states, self.state = model.encode(self.source)

    def next_logits(self, parents: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        parents, count = parents.to(self.device), len(tokens)
        state = tuple(part[:, parents] for part in self.state)
        states, source = self.states.expand(count, -1, -1), self.source.expand(count, -1)
        logits, self.state = self.model.decode(tokens.unsqueeze(1).to(self.device), state, states, source)
        return _allowed(logits[:, 0], self.unwritten)


def _allowed(logits: torch.Tensor, unwritten: list[int | None]) -> torch.Tensor:
    """Returns logits (N, V) on the CPU, -inf for tokens that stand for no text.

    Raises:
        CheckpointError: they are no numbers.
    """
    logits = logits.float().cpu()
    if logits.isnan().any():
        raise CheckpointError(
            "the model gives NaN instead of chances: its weights are of a training that went wrong. Take an earlier "
            "--checkpoint, or train it anew with a lower optimizer.lr"
        )
    logits[:, [number for number in unwritten if number is not None]] = -torch.inf
    return logits
