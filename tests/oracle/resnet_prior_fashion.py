"""The prior of graphs/resnet_prior_fashion.yaml in PyTorch."""
import torch
from torch import nn
from torch.nn import functional as F

FILE = "graphs/resnet_prior_fashion.yaml"
GRAPH = "foretell"
SET = ["dropout=0"]
INPUTS = {"code": {"shape": [5, 9], "below": 128}, "label": {"shape": [5], "below": 10}}
WIDTH, HEADS, DIM, LAYERS, CODES = 64, 5, 64, 3, 128


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(WIDTH, HEADS * DIM) for _ in range(3))
        self.out = nn.Linear(HEADS * DIM, WIDTH)

    def forward(self, x):
        n, t, _ = x.shape
        q, k, v = (f(x).reshape(n, t, HEADS, DIM) for f in (self.query, self.key, self.value))
        score = torch.einsum("nihd,njhd->nhij", q, k) / DIM ** 0.5
        weight = score.masked_fill(torch.ones(t, t).triu(1).bool(), float("-inf")).softmax(-1)
        return self.out(torch.einsum("nhij,njhd->nihd", weight, v).reshape(n, t, HEADS * DIM))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = Attention()
        self.ffn = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)])

    def forward(self, x):
        x = self.norms[0](x + self.attention(x))
        return self.norms[1](x + self.ffn(x))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(CODES + 10, WIDTH), nn.Embedding(10, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.layers = nn.Sequential(*(Layer() for _ in range(LAYERS)))
        self.head = nn.Linear(WIDTH, CODES)

    def forward(self, token):
        return self.head(self.layers(self.norm(self.tokens(token) + self.positions.weight[:token.shape[1]])))


def build():
    return Model()


def names():
    table = {"prior.tokens": "tokens.weight", "prior.positions.weight": "positions.weight"}
    norm = {"weight": "scale", "bias": "shift"}
    for p in "weight", "bias":
        table[f"prior.head.{p}"], table[f"prior.norm_first.{norm[p]}"] = f"head.{p}", f"norm.{p}"
        for i in range(LAYERS):
            ours, theirs = f"prior.layer.{i}", f"layers.{i}"
            for a, b in ("q", "query"), ("k", "key"), ("v", "value"), ("out", "out"):
                table[f"{ours}.attention.{a}.{p}"] = f"{theirs}.attention.{b}.{p}"
            table[f"{ours}.feed_forward.0.up.{p}"] = f"{theirs}.ffn.0.{p}"
            table[f"{ours}.feed_forward.0.down.{p}"] = f"{theirs}.ffn.2.{p}"
            table[f"{ours}.attended.{norm[p]}"] = f"{theirs}.norms.0.{p}"
            table[f"{ours}.y.{norm[p]}"] = f"{theirs}.norms.1.{p}"
    return table


def loss(model, inputs, start=None):
    code = inputs["code"]
    start = CODES + inputs["label"] if start is None else start
    token = torch.cat((start[:, None], code[:, :-1]), 1)
    return F.cross_entropy(model(token).flatten(0, 1), code.flatten())
