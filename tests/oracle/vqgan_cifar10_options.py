"""The same with all options on: L2, least squares, bounded logits and weight, a gradient penalty."""
import torch

import vqgan
from vqgan_cifar10 import FILE, GRAPH, INPUTS, MINIMIZE, build, name, state  # noqa: F401
from vqgan_cifar10 import SET as PLAIN

VALUES = ["gan_loss", "disc_loss", "weight"]
SEED = 9
SET = [*PLAIN, "pixels=square", "judge=least_squares", "generator=least_squares", "clamp=0.05", "r1=10", "limit=0.5",
       "factor=0.5", "perceptual=0.3"]


def square(x):
    return (1 - x).square()


OPTIONS = {"beta": 0.25, "pixels": torch.square, "perceptual": 0.3, "judge": square, "generator": square,
           "factor": 0.5, "limit": 0.5, "clamp": 0.05, "r1": 10}


def losses(model, inputs):
    return vqgan.losses(model, inputs["image"].permute(0, 3, 1, 2), OPTIONS)
