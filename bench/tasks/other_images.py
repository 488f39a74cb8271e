"""Small grey images of other origin, without labels, that distillation can take place on.

Both sources come with scikit-learn, so nothing is downloaded.
"""

from collections.abc import Callable, Iterator, Mapping

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits, load_sample_images
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

HEIGHTS = (28, 56, 112, 224, 427)
"""Pixels that the photographs are shrunk to; 427 is their own height."""

STEP = 4
"""Pixels between one square and the next."""

INK = 0.2
"""Share of a square that is white."""

GREY, CONTRAST = 60, 2
"""What counts as black in an enlarged digit, and the factor on what is above."""


def digits_enlarged(count: int) -> Tensor:
    """Return other people's digits, uint8 (M, 1, 28, 28): 20 pixels high, as in MNIST.

    Enlarged as they are they would be all grey; contrast gives them strokes as white as MNIST's.

    Args:
        count: The most that are wanted; there are 1,797.
    """
    images, _ = load_digits(return_X_y=True)
    pixels = torch.tensor(images[:count], dtype=torch.float32).reshape(-1, 1, 8, 8)
    large = F.interpolate(pixels * (255 / 16), size=(20, 20), mode="bicubic", align_corners=False)
    strokes = ((large - GREY) * CONTRAST).clamp(0, 255)
    return F.pad(strokes, (4, 4, 4, 4)).round().to(torch.uint8)


def photograph_crops(count: int) -> Tensor:
    """Return random squares of two photographs in black and white, uint8 (count, 1, 28, 28).

    Nothing in them is a digit: what a student learns from them of digits, the teacher's answers
    hold (Asano & Saeed 2023, Distilling 1000 Classes by Extrapolating from a Single Image). The
    photographs are shrunk to several heights, every second square is inverted, and the brightest
    fifth of each square is white: as much as the strokes of MNIST take.

    Args:
        count: How many; they are drawn with a fixed seed.
    """
    draw = torch.Generator().manual_seed(0)
    sources = list(_windows())
    shares = [len(part) for part in torch.arange(count).tensor_split(len(sources))]
    crops = [
        source[torch.randint(len(source), (share,), generator=draw)]
        for source, share in zip(sources, shares, strict=True)
    ]
    squares = torch.cat(crops).flatten(1).float()
    squares[::2] = 255 - squares[::2]
    bright = squares > squares.quantile(1 - INK, dim=1, keepdim=True)
    return bright.mul(255).to(torch.uint8).reshape(-1, 1, 28, 28)


def _windows() -> Iterator[Tensor]:
    """Give all squares of 28 pixels of each photograph at each height, uint8 (M, 1, 28, 28)."""
    for photograph in load_sample_images().images:
        grey = transforms.rgb_to_grayscale(torch.tensor(photograph).permute(2, 0, 1))
        for height in HEIGHTS:
            scene = transforms.resize(grey, [height], antialias=True)
            squares = scene.unfold(1, 28, STEP).unfold(2, 28, STEP)
            yield squares.flatten(1, 2).transpose(0, 1)


OTHERS: Mapping[str, Callable[[int], Tensor]] = {
    "digits": digits_enlarged,
    "photographs": photograph_crops,
}
