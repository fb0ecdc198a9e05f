"""The prior of graphs/prior_fashion_small.yaml in PyTorch."""
import torch
from torch import nn
from torch.nn import functional as F

FILE = "graphs/prior_fashion_small.yaml"
GRAPH = "foretell"
SET = ["dropout=0"]
INPUTS = {"code": {"shape": [3, 49], "below": 64}, "label": {"shape": [3], "below": 10}}
WIDTH, HEADS, LAYERS, CODES, CONTEXT = 256, 8, 8, 64, 51


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def attend(self, x):
        n, t, c = x.shape
        q, k, v = (f(x).view(n, t, HEADS, c // HEADS).transpose(1, 2) for f in (self.q, self.k, self.v))
        score = q @ k.transpose(2, 3) / (c // HEADS) ** 0.5
        later = torch.ones(t, t, dtype=torch.bool).triu(1)
        return (score.masked_fill(later, float("-inf")).softmax(-1) @ v).transpose(1, 2).reshape(n, t, c)

    def forward(self, x):
        x = self.norm1(x + self.attend(x))
        return self.norm2(x + self.down(F.relu(self.up(x))))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(CODES + 11, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.head = nn.Linear(WIDTH, CODES + 11)

    def forward(self, token):
        x = self.tokens(token) + self.positions(torch.arange(token.shape[1]))
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


def build():
    return Model()


def names():
    table = {"prior.tokens": "tokens.weight", "prior.positions.weight": "positions.weight",
             "prior.head.weight": "head.weight", "prior.head.bias": "head.bias"}
    for i in range(LAYERS):
        ours, theirs = f"prior.layer.{i}", f"layers.{i}"
        for p in "weight", "bias":
            for k in "qkv":
                table[f"{ours}.attention.{k}.{p}"] = f"{theirs}.{k}.{p}"
            for k in "up", "down":
                table[f"{ours}.feed_forward.0.{k}.{p}"] = f"{theirs}.{k}.{p}"
            norm = {"weight": "scale", "bias": "shift"}[p]
            table[f"{ours}.attended.{norm}"], table[f"{ours}.y.{norm}"] = f"{theirs}.norm1.{p}", f"{theirs}.norm2.{p}"
    return table


def loss(model, inputs):
    start = CODES + inputs["label"][:, None]
    end = torch.full_like(start, CODES + 10)
    sequence = torch.cat((start, inputs["code"], end), 1)
    return F.cross_entropy(model(sequence[:, :-1]).flatten(0, 1), sequence[:, 1:].flatten())
