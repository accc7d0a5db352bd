"""Text from a language model, a token at a time."""

from __future__ import annotations

import torch
from torch import nn

from dltrain.data.text.tokens import PADDING, TextCodec, join


@torch.inference_mode()
def generate(
    model: nn.Module,
    codec: TextCodec,
    prompt: str,
    num_tokens: int,
    temperature: float,
    seed: int | None = None,
) -> str:
    """Returns the prompt with ``num_tokens`` more tokens.

    Args:
        temperature: 0 takes the likeliest token each time; above, tokens are drawn from softmax(logits / t).
        seed: of the draws; None draws anew each time.

    Raises:
        ConfigError: the prompt holds what the model has never seen.
    """
    model.eval()
    numbers = codec.encode_prompt(prompt)
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    device = next(model.parameters()).device
    for _ in range(num_tokens):
        logits = model(codec.window(numbers).to(device))[0].float().cpu()  # (V,), or (T, V) where each step has one
        logits = logits[-1] if logits.dim() == 2 else logits
        logits[PADDING] = -torch.inf  # padding stands for no token, and the unknown token for no text
        if codec.vocabulary.unknown is not None:
            logits[codec.vocabulary.unknown] = -torch.inf
        if temperature == 0:
            numbers.append(int(logits.argmax()))
        else:
            chances = torch.softmax(logits / temperature, dim=0)
            numbers.append(int(torch.multinomial(chances, 1, generator=generator)))
    return join(codec.vocabulary.decode(numbers), codec.kind)
