"""graphs/vqgan_cifar10.yaml in PyTorch: both losses of a step, the adaptive weight, and the gradient that each update takes."""
import torch
from torch import nn
from torch.nn import functional as F

import vqgan

FILE = "graphs/vqgan_cifar10.yaml"
GRAPH = "autoencode"
SEED = 9
SET = ["modules.vq={ema_codebook: {codes: 512, dim: 32, beta: 0.25, start: false, restart: 0}}"]
INPUTS = {"image": {"shape": [4, 32, 32, 3], "range": [-1, 1]}}
# What each update minimizes, by the beginning of its parameters' names.
MINIMIZE = {"": "gan_loss", "disc.": "disc_loss"}
VALUES = ["gan_loss", "disc_loss", "weight", "recon_loss", "perceptual_loss", "adversarial_loss", "logits_real", "logits_fake"]
OPTIONS = {"beta": 0.25, "pixels": torch.abs, "perceptual": 0.3, "judge": lambda x: F.relu(1 - x), "generator": lambda x: -x,
           "factor": 0.4, "limit": 1e4, "clamp": 0, "r1": 0}


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = vqgan.Encoder(3, 32, [1, 2, 2], 1, 32, 8, 32)
        self.dec = vqgan.Decoder(3, 32, [1, 2, 2], 0, 32, 8, 32)
        self.disc = vqgan.Discriminator(3, 32, 2)
        self.features = vqgan.Seer(3, 24, 10).requires_grad_(False)
        self.register_buffer("book", torch.zeros(512, 32))

    def train(self, mode=True):
        super().train(mode)
        self.features.eval()
        return self


def build():
    return Model()


def state(model, given):
    model.book.copy_(given["vq.book"])


def name(ours):
    return vqgan.translated(ours)


def losses(model, inputs):
    return vqgan.losses(model, inputs["image"].permute(0, 3, 1, 2), OPTIONS)
