"""The first half of graphs/vqvae_transformer.yaml in PyTorch, in colour: the VQ-VAE, its codebook kept by averages."""
from torch import nn
from torch.nn import functional as F

FILE = "graphs/vqvae_transformer.yaml"
GRAPH = "autoencode"
SET = ["channels=3"]
SEED = 2
INPUTS = {"image": {"shape": [2, 32, 32, 3], "range": [0, 1]}}
WIDTH, DIM, CODES = 256, 32, 256


class Unit(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.Conv2d(WIDTH, WIDTH, 3, padding=1)

    def forward(self, x):
        return F.relu(x + self.conv2(F.relu(self.conv1(x))))


class Model(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.enc = nn.Sequential(
            nn.Conv2d(channels, WIDTH, 4, 2, 1), nn.ReLU(), Unit(), Unit(),
            nn.Conv2d(WIDTH, WIDTH, 4, 2, 1), nn.ReLU(), Unit(), Unit(),
            nn.Conv2d(WIDTH, DIM, 3, padding=1))
        self.dec = nn.Sequential(
            nn.Conv2d(DIM, WIDTH, 3, padding=1), Unit(), Unit(),
            nn.ConvTranspose2d(WIDTH, WIDTH, 4, 2, 1), nn.ReLU(), Unit(), Unit(),
            nn.ConvTranspose2d(WIDTH, channels, 4, 2, 1))
        self.book = None        # no parameter: state() gives it

    def forward(self, x):
        z = self.enc(x).permute(0, 2, 3, 1)
        code = (z.unsqueeze(-2) - self.book).square().sum(-1).argmin(-1)
        e = self.book[code]
        q = z + (e - z).detach()
        return self.dec(q.permute(0, 3, 1, 2)), 0.25 * F.mse_loss(z, e)


def build():
    return Model(3)


def state(model, values):
    model.book = values["vq.book"]


def names():
    table = {}

    def pair(ours, theirs):
        for p in "weight", "bias":
            table[f"{ours}.{p}"] = f"{theirs}.{p}"

    def units(ours, theirs, first):
        for i in 0, 1:
            for k in 0, 1:
                pair(f"{ours}.unit.{first + i}.conv.{k}", f"{theirs[i]}.conv{k + 1}")

    for i in 0, 1:
        pair(f"enc.down.{i}.conv.0", f"enc.{4 * i}")
        units(f"enc.down.{i}", [f"enc.{4 * i + 2}", f"enc.{4 * i + 3}"], 0)
        pair(f"dec.convt.{i}", f"dec.{(3, 7)[i]}")
    pair("enc.conv.0", "enc.8")
    pair("dec.conv.0", "dec.0")
    units("dec", ["dec.1", "dec.2"], 0)
    units("dec", ["dec.5", "dec.6"], 2)
    return table


def loss(model, inputs):
    image = inputs["image"].permute(0, 3, 1, 2)
    recon, vq = model(image)
    return F.l1_loss(recon, image) + vq
