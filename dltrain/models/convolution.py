"""What the convolutional models share: how an image shrinks from layer to layer, and local response normalisation."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from dltrain.errors import ConfigError


class Extent:
    """Follows height and width of an image through the layers of a model, before it is built.

    Attributes:
        height, width: after the layers that were followed so far, in pixels.
    """

    def __init__(self, model: str, height: int, width: int, remedy: str) -> None:
        """
        Args:
            model: registry name, for the error.
            remedy: what to do where the image is too small, as in "choose model.stem=small".
        """
        self.height, self.width = height, width
        self._model, self._image, self._remedy = model, f"{height}x{width}", remedy

    def through(self, layer: str, kernel: int, stride: int = 1, padding: int = 0, ceil_mode: bool = False) -> None:
        """Follows a convolution or a pooling layer; see ``after``."""
        self.height, self.width = self.after(layer, kernel, stride, padding, ceil_mode)

    def after(
        self, layer: str, kernel: int, stride: int = 1, padding: int = 0, ceil_mode: bool = False
    ) -> tuple[int, int]:
        """Returns height and width that a layer leaves; the arguments are those of PyTorch's layer.

        Raises:
            ConfigError: what comes to the layer is smaller than its kernel.
        """
        # A pooling layer in ceil mode takes a last window that is not full, but no empty one.
        needed = max(1, (kernel - stride + 1 if ceil_mode else kernel) - 2 * padding)
        if min(self.height, self.width) < needed:
            raise ConfigError(
                f"model.name = '{self._model}': images of {self._image} are too small: {layer} needs "
                f"{needed}x{needed} at least, and {self.height}x{self.width} is left of them. "
                f"Take larger images, or {self._remedy}"
            )
        height, width = (_after(size, kernel, stride, padding, ceil_mode) for size in (self.height, self.width))
        return height, width


def _after(size: int, kernel: int, stride: int, padding: int, ceil_mode: bool) -> int:
    """Returns the size along one side after a layer, as PyTorch computes it."""
    steps = size + 2 * padding - kernel
    if not ceil_mode:
        return steps // stride + 1
    windows = -(-steps // stride) + 1
    # The last window must begin inside the image or its padding before it.
    return windows - 1 if (windows - 1) * stride >= size + padding else windows


class LocalResponseNorm(nn.Module):
    """b_c = a_c / (k + alpha * sum of a_j^2 over the ``size`` channels around c)^beta.

    Source: Krizhevsky, Sutskever and Hinton 2012, section 3.3. ``torch.nn.LocalResponseNorm`` has alpha / size
    where the paper has alpha.
    """

    def __init__(self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps (B, C, H, W) to the same shape."""
        return functional.local_response_norm(inputs, self.size, self.alpha * self.size, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


# Images of fewer pixels a side get a stem that does not shrink them.
SMALL_IMAGE = 100


def uses_small_stem(stem: str, height: int, width: int) -> bool:
    """Tells whether a stem is the one for small images; ``auto`` decides by the image."""
    return stem == "small" or (stem == "auto" and min(height, width) < SMALL_IMAGE)
