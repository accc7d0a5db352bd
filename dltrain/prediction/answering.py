"""Answers to many texts at once: the likeliest token after another, as ``dltrain generate`` takes for one."""

from __future__ import annotations

import torch

from dltrain.data.text.tokens import END, PADDING, START, TextCodec, join
from dltrain.models.seq2seq import Seq2Seq


@torch.inference_mode()
def answers(model: Seq2Seq, source: torch.Tensor, target: TextCodec, longest: int) -> list[str | None]:
    """Returns an answer to each text; None where the model gives no number.

    Args:
        source: (B, S) tokens padded on the right, on the model's device.
        target: of the texts that the model writes.
        longest: tokens of an answer at most, its end among them.
    """
    start, end = target.vocabulary.encode((START, END))
    unwritten = [number for number in (PADDING, start, target.vocabulary.unknown) if number is not None]
    states, state = model.encode(source)
    tokens = torch.full((len(source), 1), start, device=source.device)
    is_over = torch.zeros(len(source), dtype=torch.bool, device=source.device)
    has_none = torch.zeros_like(is_over)
    written: list[torch.Tensor] = []
    for _ in range(longest):
        logits, state = model.decode(tokens, state, states, source)
        logits = logits[:, 0].float()
        has_none |= logits.isnan().any(dim=1) & ~is_over
        logits[:, unwritten] = -torch.inf
        following = logits.argmax(dim=1)
        is_over |= following == end
        written.append(torch.where(is_over, PADDING, following))
        tokens = following[:, None]
        if bool(is_over.all()):
            break
    steps = torch.stack(written, dim=1).tolist()
    return [
        None if missing else join(target.vocabulary.decode(row), target.kind)
        for row, missing in zip(steps, has_none.tolist(), strict=True)
    ]
