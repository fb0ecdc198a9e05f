"""transformer_options.yaml in PyTorch."""
import torch
from torch import nn
from torch.nn import functional as F

FILE = "tests/oracle/transformer_options.yaml"
GRAPH = "all"
SET = []
INPUTS = {"token": {"shape": [3, 9], "below": 13}, "first": {"shape": [3, 9], "below": 13},
          "second": {"shape": [3, 9], "below": 7}, "x": {"shape": [3, 6, 12], "range": [-1, 1]},
          "other": {"shape": [3, 4, 7], "range": [-1, 1]}}
WIDTH = 12


def rotate(x):
    """[n, heads, t, d]: channels i and i + d / 2 as complex numbers, turned by position * 10000^(-2i / d)."""
    half = x.shape[-1] // 2
    rate = 10000.0 ** (-torch.arange(half, dtype=x.dtype) / half)
    angle = torch.arange(x.shape[2], dtype=x.dtype)[:, None] * rate
    turned = torch.complex(x[..., :half], x[..., half:]) * torch.polar(torch.ones_like(angle), angle)
    return torch.cat((turned.real, turned.imag), -1)


class Attention(nn.Module):
    def __init__(self, heads, dim, causal, bias=True, project=True, rotary=False):
        super().__init__()
        self.heads, self.dim, self.causal, self.rotary = heads, dim, causal, rotary
        self.q, self.k, self.v = (nn.Linear(WIDTH, heads * dim, bias=bias) for _ in range(3))
        self.out = nn.Linear(heads * dim, WIDTH) if project else nn.Identity()

    def forward(self, x):
        n, t, _ = x.shape
        q, k, v = (f(x).view(n, t, self.heads, self.dim).transpose(1, 2) for f in (self.q, self.k, self.v))
        if self.rotary:
            q, k = rotate(q), rotate(k)
        score = torch.einsum("nhid,nhjd->nhij", q, k) / self.dim ** 0.5
        if self.causal:
            score = score + torch.full((t, t), float("-inf"), dtype=x.dtype).triu(1)
        return self.out(torch.einsum("nhij,nhjd->nihd", score.softmax(-1), v).reshape(n, t, -1))


class RMSNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x):
        return x * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt() * self.weight


class FeedForward(nn.Module):
    def __init__(self, hidden, activation, gated=False):
        super().__init__()
        self.up, self.down, self.activation = nn.Linear(WIDTH, hidden), nn.Linear(hidden, WIDTH), activation
        self.gate = nn.Linear(WIDTH, hidden) if gated else None

    def forward(self, x):
        y = self.activation(self.up(x))
        return self.down(y * self.gate(x) if self.gate else y)


class Modern(nn.Module):
    """Rotary, RMS norms before, SwiGLU, a tied head."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(13, WIDTH)
        self.attention = nn.ModuleList(Attention(3, 4, True, rotary=True) for _ in range(2))
        self.forward_ = nn.ModuleList(FeedForward(20, F.silu, True) for _ in range(2))
        self.norms = nn.ModuleList(RMSNorm() for _ in range(5))

    def forward(self, token):
        x = self.tokens(token)
        for i in 0, 1:
            x = x + self.attention[i](self.norms[2 * i](x))
            x = x + self.forward_[i](self.norms[2 * i + 1](x))
        return self.norms[4](x) @ self.tokens.weight.t()


class Older(nn.Module):
    """Norms after the sums, after the embeddings and at the end; heads narrower than their share."""

    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(13, WIDTH), nn.Embedding(11, WIDTH)
        self.attention, self.forward_ = Attention(2, 4, True), FeedForward(4 * WIDTH, F.gelu)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(4))
        self.head = nn.Linear(WIDTH, 7)

    def forward(self, token):
        x = self.norms[0](self.tokens(token) + self.positions.weight[:token.shape[1]])
        x = self.norms[1](x + self.attention(x))
        x = self.norms[2](x + self.forward_(x))
        return self.head(self.norms[3](x))


class Across(nn.Module):
    """3 heads of 2, from 12 channels to 7."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.out = nn.Linear(WIDTH, 6), nn.Linear(7, 6), nn.Linear(7, 6), nn.Linear(6, WIDTH)

    def forward(self, x, other):
        q, k, v = (y.unflatten(-1, (3, 2)).movedim(-2, 1) for y in (self.q(x), self.k(other), self.v(other)))
        return self.out(((q @ k.mT / 2 ** 0.5).softmax(-1) @ v).movedim(1, -2).flatten(-2))


class Around(nn.Module):
    def __init__(self):
        super().__init__()
        self.across = Across()
        self.first, self.second = Attention(2, 5, False, bias=False), Attention(3, 4, False, project=False)
        self.last = FeedForward(10, lambda x: 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x ** 3))))

    def forward(self, x, other):
        return self.last(self.across(self.second(self.first(x)), other))


def build():
    return nn.ModuleDict({"modern": Modern(), "older": Older(), "around": Around()})


def names():
    table = {"modern.tokens": "modern.tokens.weight", "older.tokens": "older.tokens.weight",
             "older.positions.weight": "older.positions.weight"}

    def pair(ours, theirs, bias=True):
        for p in ("weight", "bias") if bias else ("weight",):
            table[f"{ours}.{p}"] = f"{theirs}.{p}"

    for i in 0, 1:
        for k in "q", "k", "v", "out":
            pair(f"modern.layer.{i}.attention.{k}", f"modern.attention.{i}.{k}")
        for k in "up", "gate", "down":
            pair(f"modern.layer.{i}.feed_forward.0.{k}", f"modern.forward_.{i}.{k}")
        table[f"modern.layer.{i}.norm_attention.scale"] = f"modern.norms.{2 * i}.weight"
        table[f"modern.layer.{i}.norm_feed_forward.scale"] = f"modern.norms.{2 * i + 1}.weight"
    table["modern.last.scale"] = "modern.norms.4.weight"
    for k in "q", "k", "v", "out":
        pair(f"older.layer.0.attention.{k}", f"older.attention.{k}")
    for i, k in enumerate(("norm_first", "layer.0.attended", "layer.0.y", "last")):
        table[f"older.{k}.scale"], table[f"older.{k}.shift"] = f"older.norms.{i}.weight", f"older.norms.{i}.bias"
    for k in "up", "down":
        pair(f"older.layer.0.feed_forward.0.{k}", f"older.forward_.{k}")
        pair(f"around.last.{k}", f"around.last.{k}")
    pair("older.head", "older.head")
    for k in "qkv":
        pair(f"around.first.{k}", f"around.first.{k}", False)
        pair(f"around.second.{k}", f"around.second.{k}")
    pair("around.first.out", "around.first.out")
    for k in "q", "k", "v", "out":
        pair(f"around.across.{k}", f"around.across.{k}")
    return table


def loss(model, inputs):
    x = inputs["x"]
    return (F.cross_entropy(model["modern"](inputs["token"]).flatten(0, 1), inputs["first"].flatten())
            + F.cross_entropy(model["older"](inputs["token"]).flatten(0, 1), inputs["second"].flatten())
            + F.mse_loss(model["around"](x, inputs["other"]), x))
