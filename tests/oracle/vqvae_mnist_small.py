"""graphs/vqvae_mnist_small.yaml in PyTorch."""
import torch
from torch import nn
from torch.nn import functional as F

from vqvae_cifar10 import both, quantize

FILE = "graphs/vqvae_mnist_small.yaml"
GRAPH = "autoencode"
SET = []
INPUTS = {"image": {"shape": [5, 28, 28, 1], "range": [-0.5, 0.5]}}
VARIANCE = 0.0949


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        below = nn.ZeroPad2d((0, 1, 0, 1))  # "same" for 3x3 with stride 2 on an even image
        self.enc = nn.Sequential(below, nn.Conv2d(1, 16, 3, 2), nn.ReLU(), below, nn.Conv2d(16, 32, 3, 2), nn.ReLU(),
                                 nn.Conv2d(32, 64, 1))
        self.dec = nn.Sequential(nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, 16, 4, 2, 1),
                                 nn.ReLU(), nn.ConvTranspose2d(16, 1, 3, padding=1))
        self.book = nn.Parameter(torch.zeros(10, 64))

    def forward(self, x):
        z, e = quantize(self.enc(x), self.book)
        vq = F.mse_loss(e, z.detach()) + 0.25 * F.mse_loss(z, e.detach())
        return self.dec((z + (e - z).detach()).permute(0, 3, 1, 2)), vq


def build():
    return Model()


def names():
    table = {"vq.book": "book"}
    for i in range(3):
        table.update(both(f"enc.conv.{i}", f"enc.{(1, 4, 6)[i]}"))
        table.update(both(f"dec.convt.{i}", f"dec.{2 * i}"))
    return table


def loss(model, inputs):
    image = inputs["image"].permute(0, 3, 1, 2)
    recon, vq = model(image)
    return F.mse_loss(recon, image) / VARIANCE + vq
