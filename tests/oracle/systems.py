#!/usr/bin/python3
"""Each shipped system beside the same model written by hand in PyTorch.

    /usr/bin/python3 -B tests/oracle/systems.py [--vqgraph build/vqgraph] [--write] [NAME ...]

Needs Debian's python3-torch; check_systems needs only the files that --write makes.

A system is a file NAME.py here. It says which graph of which model file it is beside, with which
overrides and inputs (FILE, GRAPH, SET, INPUTS), builds the model (`build()`, a Module), names vqgraph's
parameters for PyTorch's (`names()`), and computes the loss from the inputs (`loss(model, inputs)`).
vqgraph draws the parameters, PyTorch takes them over; inputs are hashes of their index (`drawn`), so
nothing large is kept. A system of several losses computes them all instead (`losses(model, inputs)`, by name), and says which
parameters' gradients are of which (MINIMIZE, by the beginning of their names) and which values are compared besides (VALUES);
`name(ours)` may stand in place of `names()`. Compared element by element are the loss and the gradient of every parameter: largest
difference beside largest element at most TOLERANCE, PyTorch computing in f64.

NAME.json keeps of that what tells a wrong gradient from a right one, for machines without PyTorch:
the loss, the number of parameters, and of each gradient its norm, its sum, and its product with a
vector of hashes.
"""
import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from torch import nn

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)

TOLERANCE = 1e-4
# Smaller than this beside the largest gradient of all is rounding: a bias before a norm.
NOTHING = 1e-5


def hashes(count, salt):
    """count numbers of 24 bits; tests/check_systems.c has the same."""
    x = np.arange(count, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(0x9e3779b9 * (salt + 1) & 0xffffffff)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x45d9f3b)
    x ^= x >> np.uint32(16)
    return x >> np.uint32(8)


def drawn(spec, salt):
    """An input: {"shape"} with "below" for integers from 0, or "range" for real numbers."""
    h = hashes(int(np.prod(spec["shape"])), salt).reshape(spec["shape"])
    if "below" in spec:
        return (h % spec["below"]).astype(np.int32)
    low, high = spec["range"]
    return (low + (high - low) * (h / 2.0 ** 24)).astype(np.float32)


def read_safetensors(path):
    with open(path, "rb") as f:
        size = int.from_bytes(f.read(8), "little")
        header, body = json.loads(f.read(size)), f.read()
    return {k: np.frombuffer(body, "<f4", offset=t["data_offsets"][0],
                             count=int(np.prod(t["shape"], dtype=int))).reshape(t["shape"])
            for k, t in header.items() if k != "__metadata__" and t["dtype"] == "F32"}


def theirs(module, leaf, x):
    """A parameter of vqgraph as PyTorch's layer has it: images are channels first there, matrices [out, in]."""
    if leaf == "weight" and isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        return np.transpose(x, (3, 2, 0, 1))
    if leaf == "weight" and isinstance(module, nn.Linear):
        return np.transpose(x)
    return x


def ours(module, leaf, x):
    if leaf == "weight" and isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        return np.transpose(x, (2, 3, 1, 0))
    if leaf == "weight" and isinstance(module, nn.Linear):
        return np.transpose(x)
    return x


def owner(model, name):
    path, _, leaf = name.rpartition(".")
    return model.get_submodule(path), leaf


def minimized(case, name):
    """The loss whose gradient a parameter gets."""
    table = getattr(case, "MINIMIZE", {"": "loss"})
    return table[max((k for k in table if name.startswith(k)), key=len)]


def seed_of(case):
    """Of the parameters. Another where with 1 a relu or a code turns at less than rounding."""
    return getattr(case, "SEED", 1)


def values_of(case):
    return getattr(case, "VALUES", ["loss"])


def names_of(o, case):
    """PyTorch's names by vqgraph's."""
    if hasattr(case, "names"):
        return case.names()
    dump = subprocess.run([o.vqgraph, "dump", f"{ROOT}/{case.FILE}", *case.SET, "-q", "--graph", case.GRAPH,
                           "--format", "text"], check=True, capture_output=True, text=True).stdout
    return {line.split()[3]: case.name(line.split()[3]) for line in dump.splitlines() if line.split()[2:3] == ["param"]}


def vqgraph(o, case, folder, inputs, names):
    """What vqgraph has: its parameters and state, the values, the gradients by name."""
    common = [o.vqgraph, "eval", f"{ROOT}/{case.FILE}", *case.SET, "-q", "--graph", case.GRAPH, "--train",
              "--seed", str(seed_of(case))]
    for k, x in inputs.items():
        np.save(f"{folder}/in.{k}.npy", x)
        common += ["--input", f"{k}={folder}/in.{k}.npy"]
    grads = {k: f"{folder}/{i}.npy" for i, k in enumerate(names)}
    done = subprocess.run(common + ["--save-params", f"{folder}/w.safetensors"] +
                          [a for v in values_of(case) for a in ("--output", f"{v}=-")] +
                          [a for k, f in grads.items() for a in ("--grad", f"{minimized(case, k)}:{k}={f}")],
                          check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return (read_safetensors(f"{folder}/w.safetensors"), json.loads(done.stdout),
            {k: np.load(f) for k, f in grads.items()})


def torch_side(case, weights, inputs, names):
    model = case.build().double().train()
    params = dict(model.named_parameters())
    if set(params) != set(names.values()):
        sys.exit(f"names() and the model differ: {set(params) ^ set(names.values())}")
    given = {k for k in weights if not k.startswith("state/")}
    if given != set(names):
        sys.exit(f"names() and vqgraph differ: {given ^ set(names)}")
    with torch.no_grad():
        for k, name in names.items():
            want = torch.tensor(theirs(*owner(model, name), weights[k]).astype(np.float64))
            assert want.shape == params[name].shape, (k, want.shape, params[name].shape)
            params[name].copy_(want)
        if hasattr(case, "state"):
            case.state(model, {k[6:]: torch.tensor(x).double() for k, x in weights.items() if k.startswith("state/")})
    tensors = {k: torch.tensor(x).double() if x.dtype == np.float32 else torch.tensor(x).long()
               for k, x in inputs.items()}
    losses = case.losses(model, tensors) if hasattr(case, "losses") else {"loss": case.loss(model, tensors)}
    grads = {}
    for loss in {minimized(case, k) for k in names}:
        mine = {k: n for k, n in names.items() if minimized(case, k) == loss}
        wanted = {k: params[n] for k, n in mine.items() if params[n].requires_grad}
        given = torch.autograd.grad(losses[loss], list(wanted.values()), retain_graph=True, allow_unused=True)
        given = dict(zip(wanted, given))
        for k, n in mine.items():
            g = given.get(k)
            grads[k] = np.zeros(weights[k].shape) if g is None else ours(*owner(model, n), g.numpy())
    return {v: losses[v].item() for v in values_of(case)}, grads


def compare(name, case, got, want):
    """Prints the worst; whether all hold."""
    largest = max(np.abs(g).max() for g in want[1].values())
    rows = [(abs(got[0][v] - x) / abs(x), v) for v, x in want[0].items()]
    for k, g in want[1].items():
        size, off = np.abs(g).max(), np.abs(got[1][k] - g).max()
        rows.append((off / size if max(off, size) > NOTHING * largest else 0.0, f"d {minimized(case, k)} / d {k}"))
    off, what = max(rows)
    print(f"{name}: {', '.join(f'{v} {x:.7f}' for v, x in want[0].items())}, {sum(r[0] <= TOLERANCE for r in rows)} of {len(rows)} hold; "
          f"largest difference {off:.1e}, of {what}")
    return off <= TOLERANCE


def numbers(g):
    flat = np.ascontiguousarray(g, dtype=np.float64).reshape(-1)
    return [float(f"{x:.9g}") for x in (np.sqrt((flat * flat).sum()), flat.sum(),
                                        flat @ (hashes(flat.size, 0) / 2.0 ** 23 - 1))]


def write(name, case, want):
    head = {"file": case.FILE, "graph": case.GRAPH, "set": case.SET, "seed": seed_of(case), "inputs": case.INPUTS,
            "parameters": sum(g.size for g in want[1].values())}
    if hasattr(case, "MINIMIZE"):
        head["minimize"] = case.MINIMIZE
        head["values"] = want[0]
    else:
        head["loss"] = want[0]["loss"]
    text = ",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in head.items())
    rows = ",\n".join(f"  {json.dumps(k)}: {json.dumps(numbers(g))}" for k, g in sorted(want[1].items()))
    with open(f"{HERE}/{name}.json", "w", encoding="utf-8") as f:
        f.write("{\n" + text + ",\n \"gradients\": {\n" + rows + "\n }\n}\n")


def one(o, name):
    case = importlib.import_module(name)
    inputs = {k: drawn(spec, i + 1) for i, (k, spec) in enumerate(case.INPUTS.items())}
    names = names_of(o, case)
    with tempfile.TemporaryDirectory(prefix="vqgraph-oracle-") as folder:
        weights, values, grads = vqgraph(o, case, folder, inputs, names)
    want = torch_side(case, weights, inputs, names)
    good = compare(name, case, (values, grads), want)
    if good and o.write:
        write(name, case, want)
    return good


def main():
    systems = sorted(f[:-5] for f in os.listdir(HERE) if f.endswith(".json") and os.path.exists(f"{HERE}/{f[:-5]}.py"))
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("name", nargs="*", help="all that have a NAME.json: " + ", ".join(systems))
    a.add_argument("--vqgraph", default=f"{ROOT}/build/vqgraph")
    a.add_argument("--write", action="store_true", help="keep the numbers in NAME.json")
    o = a.parse_args()
    torch.set_num_threads(1)
    return 0 if all([one(o, n) for n in o.name or systems]) else 1


if __name__ == "__main__":
    sys.exit(main())
