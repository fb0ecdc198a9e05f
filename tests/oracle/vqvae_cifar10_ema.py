"""graphs/vqvae_cifar10_ema.yaml in PyTorch."""
import torch
from torch import nn
from torch.nn import functional as F

from vqvae_cifar10 import GRAPH, INPUTS, SET, VARIANCE, Decoder, Encoder, layers, quantize  # noqa: F401

FILE = "graphs/vqvae_cifar10_ema.yaml"


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc, self.dec = Encoder(), Decoder(64, False)
        self.register_buffer("book", torch.zeros(512, 64))

    def forward(self, x):
        z, e = quantize(self.enc(x), self.book)
        return self.dec((z + (e - z).detach()).permute(0, 3, 1, 2)), 0.25 * F.mse_loss(z, e)


def build():
    return Model()


def state(model, given):
    model.book.copy_(given["vq.book"])


def names():
    return layers()


def loss(model, inputs):
    image = inputs["image"].permute(0, 3, 1, 2)
    recon, vq = model(image)
    return F.mse_loss(recon, image) / VARIANCE + vq
