"""graphs/vqvae_fashion_small.yaml in PyTorch."""
from torch import nn
from torch.nn import functional as F

FILE = "graphs/vqvae_fashion_small.yaml"
GRAPH = "autoencode"
SET = []
INPUTS = {"image": {"shape": [6, 28, 28, 1], "range": [-1, 1]}}


def down(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, 2, 1), nn.BatchNorm2d(o), nn.LeakyReLU(0.1))


def up(i, o):
    return nn.Sequential(nn.ConvTranspose2d(i, o, 3, 2, 1, output_padding=1), nn.BatchNorm2d(o), nn.LeakyReLU(0.1))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Sequential(down(1, 16), down(16, 4), nn.Conv2d(4, 16, 3, padding=1))
        self.book = nn.Embedding(64, 16)
        self.dec = nn.Sequential(nn.Conv2d(16, 4, 3, padding=1), up(4, 16), up(16, 32), nn.Conv2d(32, 1, 3, padding=1))

    def forward(self, x):
        z = self.enc(x).permute(0, 2, 3, 1)
        code = (z.unsqueeze(-2) - self.book.weight).square().sum(-1).argmin(-1)
        e = self.book(code)
        vq = F.mse_loss(e, z.detach()) + 0.25 * F.mse_loss(z, e.detach())
        q = z + (e - z).detach()
        return self.dec(q.permute(0, 3, 1, 2)).tanh(), vq


def build():
    return Model()


def names():
    table = {"vq.book": "book.weight"}
    for p in "weight", "bias":
        table[f"enc.conv.0.{p}"], table[f"dec.conv.0.{p}"], table[f"dec.conv.1.{p}"] = (
            f"enc.2.{p}", f"dec.0.{p}", f"dec.3.{p}")
        for i in 0, 1:
            table[f"enc.unit.{i}.conv.0.{p}"], table[f"dec.up.{i}.convt.0.{p}"] = f"enc.{i}.0.{p}", f"dec.{1 + i}.0.{p}"
            norm = {"weight": "scale", "bias": "shift"}[p]
            table[f"enc.unit.{i}.batchnorm.0.{norm}"] = f"enc.{i}.1.{p}"
            table[f"dec.up.{i}.batchnorm.0.{norm}"] = f"dec.{1 + i}.1.{p}"
    return table


def loss(model, inputs):
    image = inputs["image"].permute(0, 3, 1, 2)
    recon, vq = model(image)
    return F.mse_loss(recon, image) + vq
