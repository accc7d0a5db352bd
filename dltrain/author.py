"""A trained model that writes text, from its run folder: a language model, or one of pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from dltrain import averages, device, generate, registry
from dltrain.checkpoint import load_state
from dltrain.data.text.tokens import TextCodec
from dltrain.errors import ConfigError
from dltrain.generate import Choice
from dltrain.models import count_parameters
from dltrain.models.seq2seq import Seq2Seq
from dltrain.weights import load_weights

if TYPE_CHECKING:
    from dltrain.config import Config
    from dltrain.data import Task
    from dltrain.run_folder import RunFolder

_NUM_TOKENS = 10


@dataclass(frozen=True)
class Author:
    """
    Attributes:
        reads, writes: turn the prompt into token numbers, and those of the text into text; a language model has one
            for both.
        longest: tokens of an answer at most, its end among them; None for a language model.
    """

    model: nn.Module
    reads: TextCodec
    writes: TextCodec
    longest: int | None

    @classmethod
    def load(cls, folder: RunFolder, task: Task, config: Config, checkpoint: str, texts: int = 1) -> Author:
        """
        Args:
            task: of the run, a next_token or seq2seq one.
            texts: how many will be written at once, which decides how many threads are of use.

        Raises:
            CheckpointError: the run has no such checkpoint, or it is of another model.
            ConfigError: the model gives classes of steps and does not write.
        """
        known = folder.read_task()["preprocessing"]
        _, state = load_state(folder, checkpoint)
        model = registry.build("model", config.model, task=task)
        load_weights(model, averages.weights_in(state))
        device.set_threads(config.device.threads, count_parameters(model), texts)
        if task.kind == "next_token":
            codec = TextCodec.from_dict(known)
            return cls(model, codec, codec, None)
        if not isinstance(model, Seq2Seq):
            raise ConfigError(
                f"{folder.path} is a run of model={config.model.name}, and generate answers with seq2seq alone"
            )
        assert isinstance(task.inputs, dict)
        source, target = (TextCodec.from_dict(known[side]) for side in ("source", "target"))
        return cls(model, source, target, task.inputs["target"].shape[0])

    def write(
        self, prompt: str, num_tokens: int | None, choice: Choice, tell: Callable[[str], None] | None = None
    ) -> list[str]:
        """Returns ``choice.samples`` texts, or as many as a beam finds.

        Args:
            num_tokens: tokens to add; of an answer the most that it may have, its end among them.
            tell: is given a single text that is not searched with a beam in pieces, while it is written.

        Raises:
            ConfigError: the prompt is empty, or the model has never seen it.
        """
        if self.longest is None:
            numbers = generate.read_prompt(self.reads, prompt)
            return generate.continuations(self.model, self.reads, numbers, num_tokens or _NUM_TOKENS, choice, tell)
        assert isinstance(self.model, Seq2Seq)
        numbers = generate.read_question(self.reads, prompt)
        return generate.answers(self.model, self.reads, self.writes, numbers, num_tokens or self.longest, choice, tell)
