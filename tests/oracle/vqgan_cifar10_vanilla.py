"""The same with log-likelihoods as losses of both, logits without bounds and a gradient penalty."""
import torch
from torch.nn import functional as F

import vqgan
from vqgan_cifar10 import FILE, GRAPH, INPUTS, MINIMIZE, build, name, state  # noqa: F401
from vqgan_cifar10 import SET as PLAIN

VALUES = ["gan_loss", "disc_loss", "weight"]
SEED = 9
SET = [*PLAIN, "judge=vanilla", "generator=vanilla", "r1=10"]


def cost(x):
    return F.softplus(-x)


OPTIONS = {"beta": 0.25, "pixels": torch.abs, "perceptual": 0.3, "judge": cost, "generator": cost,
           "factor": 0.4, "limit": 1e4, "clamp": 0, "r1": 10}


def losses(model, inputs):
    return vqgan.losses(model, inputs["image"].permute(0, 3, 1, 2), OPTIONS)
