"""graphs/vqgan_256.yaml in PyTorch, narrow and on small pictures; run by itself, how many parameters it has at full size:

    /usr/bin/python3 -B tests/oracle/vqgan_256.py"""
import torch
from torch import nn
from torch.nn import functional as F

import features_vgg16
import vqgan

FILE = "graphs/vqgan_256.yaml"
GRAPH = "autoencode"
SET = ["size=32", "width=32", "codes=64", "dim=32", "attention=2", "modules.vq={codebook: {codes: 64, dim: 32, beta: 0.25, spread: 1}}",
       "recompute=true"]
SEED = 3
INPUTS = {"image": {"shape": [2, 32, 32, 3], "range": [-1, 1]}}
MINIMIZE = {"": "gan_loss", "disc.": "disc_loss"}
VALUES = ["gan_loss", "disc_loss", "weight", "recon_loss", "perceptual_loss"]
OPTIONS = {"beta": 0.25, "pixels": torch.abs, "perceptual": 1.0, "judge": lambda x: F.relu(1 - x), "generator": lambda x: -x,
           "factor": 0.8, "limit": 1e4, "clamp": 0, "r1": 0}


class Features(features_vgg16.Model):
    """One vector for an image: distances are squared distances of vectors."""

    def forward(self, x):
        parts = [y * getattr(self, f"lin{i}").model[1].weight.view(1, -1, 1, 1).sqrt() / (y.shape[2] * y.shape[3]) ** 0.5
                 for i, y in enumerate(self.look(x))]
        return torch.cat([y.flatten(1) for y in parts], 1)


class Model(nn.Module):
    def __init__(self, width=32, size=64, attention=4, codes=64, dim=32):
        super().__init__()
        mult = [1, 1, 2, 2, 4]
        self.enc = vqgan.Encoder(3, width, mult, 2, size, attention, dim)
        self.dec = vqgan.Decoder(3, width, mult, 2, size, attention, dim)
        self.disc = vqgan.Discriminator(3, 64, 3)
        self.features = Features().requires_grad_(False)
        self.book = nn.Parameter(torch.zeros(codes, dim))


class Layer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.key, self.query, self.value, self.proj = (nn.Linear(width, width) for _ in range(4))
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))


class GPT(nn.Module):
    """The parameters of minGPT, as VQGAN has it, and a start token."""

    def __init__(self, codes, width=1024, layers=24, block=512):
        super().__init__()
        self.tok_emb, self.pos_emb = nn.Embedding(codes + 1, width), nn.Parameter(torch.zeros(1, block, width))
        self.blocks, self.ln_f = nn.Sequential(*[Layer(width) for _ in range(layers)]), nn.LayerNorm(width)
        self.head = nn.Linear(width, codes, bias=False)


def build():
    return Model()


VGG = features_vgg16.names()


def name(ours):
    if ours.startswith("features."):
        return "features." + VGG[ours[len("features."):]]
    return vqgan.translated(ours)


def losses(model, inputs):
    return vqgan.losses(model, inputs["image"].permute(0, 3, 1, 2), OPTIONS)


def count(module):
    return f"{sum(p.numel() for p in module.parameters()):,}"


if __name__ == "__main__":
    whole = Model(128, 256, 16, 1024, 256)
    print("all of the tokenizer's stage", count(whole))
    for part in "enc", "dec", "disc", "features":
        print(part, count(getattr(whole, part)))
    for k in 128, 1024:
        print(f"prior over {k} codes", count(GPT(k)))
