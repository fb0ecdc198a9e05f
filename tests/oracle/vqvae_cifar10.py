"""graphs/vqvae_cifar10.yaml in PyTorch."""
import torch
from torch import nn
from torch.nn import functional as F

FILE = "graphs/vqvae_cifar10.yaml"
GRAPH = "autoencode"
SET = []
INPUTS = {"image": {"shape": [3, 32, 32, 3], "range": [-0.5, 0.5]}}
VARIANCE = 0.0632704


class Unit(nn.Module):
    """x + 1x1(relu(3x3(relu(x))))"""

    def __init__(self):
        super().__init__()
        self.wide, self.narrow = nn.Conv2d(128, 32, 3, padding=1), nn.Conv2d(32, 128, 1)

    def forward(self, x):
        return x + self.narrow(F.relu(self.wide(F.relu(x))))


class Encoder(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 64, 4, 2, 1), nn.ReLU(), nn.Conv2d(64, 128, 4, 2, 1), nn.ReLU(),
                         nn.Conv2d(128, 128, 3, padding=1), nn.ReLU(), Unit(), Unit(), nn.ReLU(), nn.Conv2d(128, 64, 1))


class Decoder(nn.Module):
    def __init__(self, middle, relu_first):
        super().__init__()
        self.first, self.units = nn.Conv2d(64, 128, 3, padding=1), nn.Sequential(Unit(), Unit())
        self.up = nn.ConvTranspose2d(128, middle, 4, 2, 1)
        self.last = nn.ConvTranspose2d(middle, 3, 4, 2, 1)
        self.relu_first = relu_first

    def forward(self, z):
        y = self.first(z)
        y = self.units(F.relu(y) if self.relu_first else y)
        return self.last(F.relu(self.up(F.relu(y))))


def quantize(z, book):
    """The vectors of an image [n, c, h, w] and the entries nearest to them, both [n, h, w, c]."""
    z = z.permute(0, 2, 3, 1)
    return z, F.embedding(torch.cdist(z.reshape(-1, z.shape[-1]), book).argmin(-1).reshape(z.shape[:-1]), book)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc, self.dec, self.book = Encoder(), Decoder(128, True), nn.Parameter(torch.zeros(512, 64))

    def forward(self, x):
        z, e = quantize(self.enc(x), self.book)
        vq = F.mse_loss(e, z.detach()) + 0.25 * F.mse_loss(z, e.detach())
        return self.dec((z + (e - z).detach()).permute(0, 3, 1, 2)), vq


def build():
    return Model()


def both(ours, theirs):
    return {f"{ours}.{p}": f"{theirs}.{p}" for p in ("weight", "bias")}


def layers():
    table = {}
    for i, k in enumerate((0, 2, 4, 9)):
        table.update(both(f"enc.conv.{i}", f"enc.{k}"))
    table.update(both("dec.conv.0", "dec.first"))
    table.update(both("dec.convt.0", "dec.up"))
    table.update(both("dec.convt.1", "dec.last"))
    for i in range(2):
        for j, k in enumerate(("wide", "narrow")):
            table.update(both(f"enc.residual.{i}.conv.{j}", f"enc.{6 + i}.{k}"))
            table.update(both(f"dec.residual.{i}.conv.{j}", f"dec.units.{i}.{k}"))
    return table


def names():
    return {"vq.book": "book", **layers()}


def loss(model, inputs):
    image = inputs["image"].permute(0, 3, 1, 2)
    recon, vq = model(image)
    return F.mse_loss(recon, image) / VARIANCE + vq
