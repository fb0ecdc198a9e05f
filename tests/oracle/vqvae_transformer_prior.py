"""The second half of graphs/vqvae_transformer.yaml in PyTorch: the transformer."""
import torch
from torch import nn
from torch.nn import functional as F

FILE = "graphs/vqvae_transformer.yaml"
GRAPH = "foretell"
SET = []
INPUTS = {"code": {"shape": [3, 64], "below": 256}}
WIDTH, HEADS, LAYERS, CODES, LENGTH = 96, 8, 12, 256, 64


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.to_q, self.to_k, self.to_v = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))
        self.out = nn.Linear(WIDTH, WIDTH)
        self.linear1, self.linear2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def attend(self, x):
        n, t, c = x.shape
        q, k, v = (f(x).view(n, t, HEADS, -1).transpose(1, 2) for f in (self.to_q, self.to_k, self.to_v))
        score = q @ k.transpose(2, 3) * (c // HEADS) ** -0.5
        score = score.masked_fill(torch.ones(t, t).tril() == 0, float("-inf"))
        return self.out((score.softmax(-1) @ v).transpose(1, 2).reshape(n, t, c))

    def forward(self, x):
        x = x + self.attend(self.norm1(x))
        return x + self.linear2(F.gelu(self.linear1(self.norm2(x))))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(CODES + 1, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.blocks = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.to_logits = nn.Linear(WIDTH, CODES + 1)

    def forward(self, token):
        x = self.tokens(token) + self.positions(torch.arange(token.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.to_logits(x)


def build():
    return Model()


def names():
    table = {"prior.tokens": "tokens.weight", "prior.positions.weight": "positions.weight",
             "prior.head.weight": "to_logits.weight", "prior.head.bias": "to_logits.bias"}
    for i in range(LAYERS):
        ours, theirs = f"prior.layer.{i}", f"blocks.{i}"
        for k in "qkv":
            table[f"{ours}.attention.{k}.weight"] = f"{theirs}.to_{k}.weight"
        for p in "weight", "bias":
            table[f"{ours}.attention.out.{p}"] = f"{theirs}.out.{p}"
            table[f"{ours}.feed_forward.0.up.{p}"] = f"{theirs}.linear1.{p}"
            table[f"{ours}.feed_forward.0.down.{p}"] = f"{theirs}.linear2.{p}"
            norm = {"weight": "scale", "bias": "shift"}[p]
            table[f"{ours}.norm_attention.{norm}"] = f"{theirs}.norm1.{p}"
            table[f"{ours}.norm_feed_forward.{norm}"] = f"{theirs}.norm2.{p}"
    return table


def loss(model, inputs):
    code = inputs["code"]
    token = F.pad(code, (1, 0), value=CODES)[:, :-1]
    return F.cross_entropy(model(token).transpose(1, 2), code)
