"""graphs/resnet_vqvae_fashion.yaml in PyTorch."""
from torch import nn
from torch.nn import functional as F

from vqvae_cifar10 import both, quantize

FILE = "graphs/resnet_vqvae_fashion.yaml"
GRAPH = "autoencode"
SET = []
INPUTS = {"image": {"shape": [6, 28, 28, 1], "range": [-1, 1]}}
ALPHA = 2


class Down(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        mid = (i + o) // 2
        self.main = nn.Sequential(nn.Conv2d(i, mid, 4, 2, 1), nn.BatchNorm2d(mid), nn.ELU(), nn.Conv2d(mid, o, 3, 1, 1))
        self.skip, self.norm = nn.Conv2d(i, o, 4, 2, 1), nn.BatchNorm2d(o)

    def forward(self, x):
        return F.elu(self.norm(self.main(x) + self.skip(x)))


class Up(nn.Module):
    def __init__(self, i, o, more=0):
        super().__init__()
        mid = (i + o) // 2
        self.main = nn.Sequential(nn.ConvTranspose2d(i, mid, 4, 2, 1, output_padding=more), nn.BatchNorm2d(mid), nn.ELU(),
                                  nn.ConvTranspose2d(mid, o, 3, 1, 1))
        self.skip, self.norm = nn.ConvTranspose2d(i, o, 4, 2, 1, output_padding=more), nn.BatchNorm2d(o)

    def forward(self, x):
        return F.elu(self.norm(self.main(x) + self.skip(x)))


class Model(nn.Module):
    """widths: of the first layer and after each unit; odd: which unit of the decoder has one row more."""

    def __init__(self, channels, widths, codes, odd):
        super().__init__()
        last, back = widths[-1], widths[::-1]
        self.enc = nn.Sequential(nn.Conv2d(channels, widths[0], 7, padding=3), nn.ELU(),
                                 *[Down(i, o) for i, o in zip(widths, widths[1:])], nn.Conv2d(last, 8, 3, padding=1))
        self.dec = nn.Sequential(nn.ConvTranspose2d(8, last, 3, padding=1), nn.ELU(),
                                 *[Up(i, o, int(k == odd)) for k, (i, o) in enumerate(zip(back, back[1:]))],
                                 nn.Conv2d(widths[0], channels, 3, padding=1), nn.Tanh())
        self.book = nn.Embedding(codes, 8)

    def forward(self, x):
        z, e = quantize(self.enc(x), self.book.weight)
        vq = F.mse_loss(e, z.detach()) + 0.1 * F.mse_loss(z, e.detach())
        return self.dec((z + (e - z).detach()).permute(0, 3, 1, 2)), vq


def table(units):
    t = {"vq.book": "book.weight", **both("enc.conv.0", "enc.0"), **both("enc.conv.1", f"enc.{2 + units}"),
         **both("dec.convt.0", "dec.0"), **both("dec.conv.0", f"dec.{2 + units}")}
    for i in range(units):
        for ours, theirs, layer in (f"enc.down.{i}", f"enc.{2 + i}", "conv"), (f"dec.up.{i}", f"dec.{2 + i}", "convt"):
            t.update(both(f"{ours}.{layer}.0", f"{theirs}.main.0"))
            t.update(both(f"{ours}.main", f"{theirs}.main.3"))
            t.update(both(f"{ours}.skip", f"{theirs}.skip"))
            for k, norm in enumerate(("main.1", "norm")):
                t[f"{ours}.batchnorm.{k}.scale"] = f"{theirs}.{norm}.weight"
                t[f"{ours}.batchnorm.{k}.shift"] = f"{theirs}.{norm}.bias"
    return t


def build():
    return Model(1, [16, 32, 64, 128], 128, 0)


def names():
    return table(3)


def of_image(model, inputs, alpha):
    image = inputs["image"].permute(0, 3, 1, 2)
    recon, vq = model(image)
    return F.mse_loss(recon, image) + alpha * vq


def loss(model, inputs):
    return of_image(model, inputs, ALPHA)
