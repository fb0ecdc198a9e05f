"""graphs/features_vgg16.yaml in PyTorch: LPIPS (Zhang et al. 2018) as its authors' lpips 0.1 computes it, with VGG16 as torchvision
has it; also what a file of its weights does.

    /usr/bin/python3 -B tests/oracle/features_vgg16.py VQGRAPH

makes a file of random weights with torchvision's and lpips's names, loads it with vqgraph, and compares distances."""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from torch import nn

FILE = "graphs/features_vgg16.yaml"
GRAPH = "distance"
SET = []
SEED = 3
INPUTS = {"image": {"shape": [2, 32, 32, 3], "range": [-1, 1]}, "other": {"shape": [2, 32, 32, 3], "range": [-1, 1]}}
WIDTHS = [64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512]
TAPS = {3: 64, 8: 128, 15: 256, 22: 512, 29: 512}       # after these layers of `features`


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        layers, c = [], 3
        for o in WIDTHS:
            layers += [nn.Conv2d(c, o, 3, padding=1), nn.ReLU()] if o else [nn.MaxPool2d(2)]
            c = o or c
        self.features = nn.Sequential(*layers)
        for i, c in enumerate(TAPS.values()):
            lin = nn.Module()
            lin.model = nn.Sequential(nn.Dropout(), nn.Conv2d(c, 1, 1, bias=False))
            lin.model.eval()
            self.add_module(f"lin{i}", lin)

    def look(self, x):
        shift, scale = (torch.tensor(v, dtype=x.dtype).view(3, 1, 1) for v in ([-.030, -.088, -.188], [.458, .448, .450]))
        x, seen = (x - shift) / scale, []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in TAPS:
                seen.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return seen

    def forward(self, a, b):
        parts = zip(self.look(a), self.look(b))
        return sum(getattr(self, f"lin{i}").model[1]((x - y).square()).mean((2, 3)) for i, (x, y) in enumerate(parts))


def build():
    return Model()


def names():
    table, i, level, k = {}, 0, 1, 0
    for o in WIDTHS:
        if o == 0:
            i, level, k = i + 1, level + 1, 0
            continue
        for leaf in "weight", "bias":
            table[f"net.level{level}.{k}.conv.0.{leaf}"] = f"features.{i}.{leaf}"
        i, k = i + 2, k + 1
    table.update({f"net.part{i + 1}.weight": f"lin{i}.model.1.weight" for i in range(5)})
    return table


def loss(model, inputs):
    return model(*(inputs[k].permute(0, 3, 1, 2) for k in ("image", "other"))).mean()


def save(path, tensors):
    header, body = {}, []
    at = 0
    for k, x in tensors.items():
        header[k] = {"dtype": "F32", "shape": list(x.shape), "data_offsets": [at, at + 4 * x.numel()]}
        at += 4 * x.numel()
        body.append(x.numpy().tobytes())
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text + b"".join(body))


def main():
    vq, root = os.path.abspath(sys.argv[1]), os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    torch.manual_seed(3)
    model = build().eval()
    for i in range(5):
        getattr(model, f"lin{i}").model[1].weight.data.uniform_(0, 0.1)
    pictures = [torch.rand(2, 3, 32, 32) * 2 - 1 for _ in range(2)]
    with torch.no_grad():
        want = model(*pictures).mean().item()
    with tempfile.TemporaryDirectory(prefix="vqgraph-oracle-") as folder:
        save(f"{folder}/w.safetensors", model.state_dict())
        for name, x in zip(("image", "other"), pictures):
            np.save(f"{folder}/{name}.npy", x.permute(0, 2, 3, 1).contiguous().numpy())
        subprocess.run([vq, "run", f"{root}/{FILE}", f"stages.weights.file={folder}/w.safetensors", "--out", f"{folder}/runs",
                        "--name", "vgg", "-q"], check=True)
        done = subprocess.run([vq, "eval", f"{root}/{FILE}", "-q", "--graph", "distance", "--params",
                               f"{folder}/runs/vgg/checkpoints/last.safetensors", "--input", f"image={folder}/image.npy",
                               "--input", f"other={folder}/other.npy", "--output", "loss=-"], check=True, capture_output=True, text=True)
    got = json.loads(done.stdout)["loss"]
    print(f"LPIPS of a loaded file: {got:.7f}, PyTorch has {want:.7f}")
    return abs(got - want) > 1e-5 * want


if __name__ == "__main__":
    sys.exit(main())
