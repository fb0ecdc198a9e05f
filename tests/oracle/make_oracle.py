#!/usr/bin/python3
"""Writes what vqvae.yaml must compute, as PyTorch computes it.

    /usr/bin/python3 tests/oracle/make_oracle.py

Needs Debian's python3-torch; the tests need only the files written here:

    weights.safetensors     parameters, in vqgraph's names and layouts
    batch.npy               f32[8, 28, 28, 1], drawn here
    code.npy                i32[8, 7, 7]: the code of each position
    gradients.safetensors   of the loss, for every parameter
    oracle.json             losses of the batch, and of 100 steps of Adam on it

Everything is computed in double from parameters that are f32 numbers, so that
the only rounding in a comparison is vqgraph's own.  oracle.json also says how far
PyTorch's own f32 run of the same 100 steps strays from the double one.
"""
import json
import os
import struct

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
WIDTH, HIDDEN, CODES, DIM, BETA = 16, 8, 32, 8, 0.25
BATCH, STEPS, RATE = 8, 100, 1e-3


class Residual(nn.Module):
    """x + conv1x1(relu(conv3x3(relu(x))))"""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(WIDTH, HIDDEN, 3, padding=1)
        self.b = nn.Conv2d(HIDDEN, WIDTH, 1)

    def forward(self, x):
        return x + self.b(F.relu(self.a(F.relu(x))))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.ModuleList([
            nn.Conv2d(1, WIDTH // 2, 4, stride=2, padding=1),
            nn.Conv2d(WIDTH // 2, WIDTH, 4, stride=2, padding=1),
            Residual(), Residual(),
            nn.Conv2d(WIDTH, DIM, 1),
        ])
        self.dec = nn.ModuleList([
            nn.Conv2d(DIM, WIDTH, 3, padding=1),
            Residual(), Residual(),
            nn.ConvTranspose2d(WIDTH, WIDTH // 2, 4, stride=2, padding=1),
            nn.ConvTranspose2d(WIDTH // 2, 1, 4, stride=2, padding=1),
        ])
        self.book = nn.Parameter(torch.empty(CODES, DIM))

    def encode(self, x):
        first, second, r0, r1, last = self.enc
        return last(F.relu(r1(r0(second(F.relu(first(x)))))))

    def decode(self, z):
        first, r0, r1, up, out = self.dec
        return out(F.relu(up(F.relu(r1(r0(first(z)))))))

    def forward(self, x):
        z = self.encode(x).permute(0, 2, 3, 1)
        flat = z.reshape(-1, DIM)
        distance = (flat[:, None, :] - self.book[None]).square().sum(2)
        code = distance.argmin(1)
        e = self.book[code].reshape(z.shape)
        vq_loss = F.mse_loss(z.detach(), e) + BETA * F.mse_loss(z, e.detach())
        quantized = z + (e - z).detach()
        recon = self.decode(quantized.permute(0, 3, 1, 2))
        recon_loss = F.mse_loss(recon, x)
        return {"loss": recon_loss + vq_loss, "recon_loss": recon_loss, "vq_loss": vq_loss,
                "code": code.reshape(z.shape[:3]), "distance": distance}


def names():
    """vqgraph's name of each PyTorch parameter."""
    table = {"book": "vq.book"}

    def pair(ours, theirs):
        for p in "weight", "bias":
            table[f"{theirs}.{p}"] = f"{ours}.{p}"

    for side, convs, ups in (("enc", (0, 1, 4), ()), ("dec", (0,), (3, 4))):
        first = 2 if side == "enc" else 1
        for i, k in enumerate(convs):
            pair(f"{side}.conv.{i}", f"{side}.{k}")
        for i, k in enumerate(ups):
            pair(f"{side}.convt.{i}", f"{side}.{k}")
        for i in range(2):
            pair(f"{side}.residual.{i}.conv.0", f"{side}.{first + i}.a")
            pair(f"{side}.residual.{i}.conv.1", f"{side}.{first + i}.b")
    return table


def ours(t):
    """[out, in, kh, kw] to [kh, kw, in, out]; a transposed convolution's weight is that
    of the convolution it is the adjoint of, in both."""
    t = t.detach()
    return (t.permute(2, 3, 1, 0) if t.dim() == 4 else t).contiguous().to(torch.float32).numpy()


def save_tensors(path, tensors):
    header, data = {}, b""
    for name in sorted(tensors):
        raw = np.ascontiguousarray(tensors[name], dtype="<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensors[name].shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def images():
    """Rings and strokes: soft curves of random place and size, from 0 to 1."""
    draw = np.random.RandomState(5)
    y, x = np.mgrid[0:28, 0:28].astype(np.float64)
    out = np.zeros((BATCH, 28, 28, 1))
    for i in range(BATCH):
        for _ in range(3):
            cx, cy, r = draw.uniform(8, 20), draw.uniform(8, 20), draw.uniform(2, 8)
            ring = np.hypot((x - cx) * draw.uniform(0.6, 1.4), y - cy) - r
            out[i, :, :, 0] = np.maximum(out[i, :, :, 0], np.exp(-ring ** 2 / 2))
    return np.round(out * 255).astype(np.float32) / np.float32(255)


def make():
    """Weights of few bits; a codebook taken from what the encoder gives, so that many
    of its entries are used."""
    torch.manual_seed(3)
    model = Model()
    with torch.no_grad():
        model.enc[4].weight *= 4
        z = model.encode(torch.tensor(images()).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        rows = z.reshape(-1, DIM)[torch.randperm(BATCH * 49)[:CODES]]
        model.book.copy_(rows + 0.05 * torch.randn(CODES, DIM))
        for p in model.parameters():
            p.copy_(torch.round(p * 4096) / 4096)
    return model


def train(dtype):
    model, x = make().to(dtype), torch.tensor(images()).permute(0, 3, 1, 2).to(dtype)
    adam = torch.optim.Adam(model.parameters(), lr=RATE)
    losses = []
    for _ in range(STEPS):
        adam.zero_grad()
        loss = model(x)["loss"]
        loss.backward()
        adam.step()
        losses.append(loss.item())
    return losses


def main():
    torch.set_num_threads(1)
    table, model, batch = names(), make().double(), images()
    out = model(torch.tensor(batch).permute(0, 3, 1, 2).double())
    out["loss"].backward()
    params = dict(model.named_parameters())
    assert set(params) == set(table)
    save_tensors(f"{HERE}/weights.safetensors", {table[n]: ours(p) for n, p in params.items()})
    save_tensors(f"{HERE}/gradients.safetensors", {table[n]: ours(p.grad) for n, p in params.items()})
    np.save(f"{HERE}/batch.npy", batch)
    np.save(f"{HERE}/code.npy", out["code"].numpy().astype(np.int32))
    best = out["distance"].detach().sort(1).values
    double, single = train(torch.float64), train(torch.float32)
    with open(f"{HERE}/oracle.json", "w") as f:
        json.dump({
            "loss": out["loss"].item(), "recon_loss": out["recon_loss"].item(), "vq_loss": out["vq_loss"].item(),
            "codes_used": int(out["code"].unique().numel()),
            "smallest_margin": (best[:, 1] - best[:, 0]).min().item(),
            "adam": {"lr": RATE, "steps": STEPS, "loss": double,
                     "f32_strays": max(abs(a - b) / b for a, b in zip(single, double))},
        }, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
