#!/usr/bin/env python3
"""
bench_peer -- the PyTorch side of tools/bench: one model, its training steps timed or its gradients checked

    bench_peer.py --time GRAPH.json --weights W [--layout L] [--threads T] [--compile] [--precision P]
        waits on standard input for lines "steps WARMUP N" and answers each with a line of JSON
    bench_peer.py --check --vqgraph V FILE --stage S [--batch B]
        gives vqgraph and PyTorch the same weights and the same batch; compares values and gradients
    bench_peer.py --source GRAPH.json
        prints the PyTorch module that both use

GRAPH.json is what `vqgraph dump FILE --stage S --format json` prints.
"""
import argparse
import ctypes
import json
import math
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
import warnings

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bench_source  # noqa: E402

NO_TORCH = 3      # exit codes
UNSUPPORTED = 4
REFUSED = 5

MOST = 100        # --check: allowance for rounding, in tolerances


def import_torch():
    warnings.filterwarnings("ignore", message="Failed to initialize NumPy")    # it is not needed
    try:
        import torch
    except ImportError as e:
        print(f"bench_peer: {sys.executable} has no PyTorch ({e})", file=sys.stderr)
        sys.exit(NO_TORCH)
    return torch


def peak_rss():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# --- files -----------------------------------------------------------------------

NPY = {"<f4": "float32", "<f8": "float64", "<i4": "int32", "<i8": "int64", "|u1": "uint8", "|b1": "bool"}


def read_npy(torch, path):
    with open(path, "rb") as f:
        data = f.read()
    size, at = (struct.unpack("<H", data[8:10])[0], 10) if data[6] == 1 else (struct.unpack("<I", data[8:12])[0], 12)
    header = data[at:at + size].decode("latin1")
    kind = header.split("'descr':")[1].split("'")[1]
    shape = [int(x) for x in header.split("'shape':")[1].split("(")[1].split(")")[0].split(",") if x.strip()]
    body = bytearray(data[at + size:])
    if math.prod(shape) == 0:
        return torch.empty(shape, dtype=getattr(torch, NPY[kind]))
    return torch.frombuffer(body, dtype=getattr(torch, NPY[kind])).reshape(shape)


def write_npy(torch, path, x):
    kind = next(k for k, name in NPY.items() if getattr(torch, name) == x.dtype)
    shape = "(" + "".join(f"{s}, " for s in x.shape) + ")"
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode("latin1"))
        x = x.contiguous()
        f.write(ctypes.string_at(x.data_ptr(), x.numel() * x.element_size()) if x.numel() else b"")


def read_safetensors(torch, path):
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        header, body = json.loads(f.read(size)), bytearray(f.read())
    kinds = {"F32": torch.float32, "F64": torch.float64, "BF16": torch.bfloat16, "I32": torch.int32,
             "I64": torch.int64, "U8": torch.uint8, "BOOL": torch.bool}
    tensors = {}
    for name, t in header.items():
        if name == "__metadata__":
            continue
        begin, end = t["data_offsets"]
        flat = torch.frombuffer(body, dtype=kinds[t["dtype"]], offset=begin, count=math.prod(t["shape"])) \
            if end > begin else torch.empty(0, dtype=kinds[t["dtype"]])
        tensors[name[len("state/"):] if name.startswith("state/") else name] = flat.reshape(t["shape"])
    return tensors


# --- the model -------------------------------------------------------------------

def mixes_types(torch):
    """Whether group norm takes bf16 with weights in f32, which autocast leads to: older PyTorches refuse it."""
    x, one = torch.ones(1, 2, 2, 2, dtype=torch.bfloat16), torch.ones(2)
    try:
        torch.nn.functional.group_norm(x, 1, one, one)
        return True
    except RuntimeError:
        return False


class Peer:
    """The model of a dumped training step: parameters, states, forward."""

    def __init__(self, torch, graph, weights, layout, double=False, given=False, bf16=False, sides=False):
        self.torch, self.graph, self.layout = torch, graph, layout
        self.dtype = torch.float64 if double else torch.float32
        self.format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
        self.updates = graph["stage"]["updates"]
        scalars = [k for k, v in graph["outputs"].items()
                   if not k.startswith("grad_norm.") and not graph["values"][v]["kind"] == "const"]
        losses = [u["minimize"] for u in self.updates]
        self.outputs = losses + [k for k in scalars if k not in losses]
        attention = hasattr(torch.nn.functional, "scaled_dot_product_attention") and not given
        self.source = bench_source.Source(graph, self.outputs, given=given, attention=attention,
                                          widen=bf16 and not mixes_types(torch), sides=sides)
        self.given, self.choices, self.crossed = {}, {}, {}
        space = {"torch": torch, "nn": torch.nn, "F": torch.nn.functional, "layout": self.format,
                 "dtype": self.dtype, "given": self.given, "choices": self.choices, "crossed": self.crossed}
        exec(compile(self.source.text(), "<model>", "exec"), space)
        self.model = space["Model"]()
        self.param = {}
        self._fill(weights)

    def _fill(self, weights):
        s = self.source
        trained = {n for k in range(len(self.updates)) for names in self.trained(k).values() for n in names}
        for v in s.leaves["param"]:
            how = s.storage[v["id"]]
            x = weights[v["name"]].to(self.dtype)
            if bench_source.AXES[how]:
                x = x.permute(bench_source.AXES[how])
            p = self.torch.nn.Parameter(self.fresh(x, how == "conv"))
            self.param[v["name"]] = p.requires_grad_(v["name"] in trained)
            setattr(self.model, s.attr[v["id"]], p)
        for v in s.leaves["state"]:
            self.model.register_buffer(s.attr[v["id"]], self.fresh(weights[v["name"]].to(self.dtype), False))
        for v in s.leaves["const"]:
            x = self.torch.tensor([float(e) for e in v["value"]] if v["shape"] else float(v["value"]))
            kind = {"i32": self.torch.int64, "bool": self.torch.bool}.get(v["dtype"], self.dtype)
            self.model.register_buffer(f"constant_{v['id']}", x.reshape(v["shape"]).to(kind))

    def fresh(self, x, image):
        """A copy in memory of its own, in the layout asked for where it is an image or a window."""
        y = self.torch.empty(x.shape, dtype=x.dtype, memory_format=self.format if image else
                             self.torch.contiguous_format)
        return y.copy_(x)

    def draw(self, seed=1):
        """Random inputs, as the graph has them: by name."""
        torch, limit = self.torch, bench_source.index_limits(self.graph)
        rng, inputs = torch.Generator().manual_seed(seed), {}
        for v in self.source.leaves["input"]:
            if v["dtype"] in ("f32", "f64"):
                inputs[v["name"]] = torch.rand(v["shape"], generator=rng)
            else:
                below = limit.get(v["name"], 2)
                inputs[v["name"]] = torch.randint(0, max(1, below), v["shape"], generator=rng, dtype=torch.int32)
        return inputs

    def feed(self, inputs):
        """The same as forward takes them."""
        args = []
        for v in self.source.leaves["input"]:
            x = inputs[v["name"]]
            x = x.to(self.dtype) if x.is_floating_point() else x.long()
            image = v["id"] in self.source.c and len(v["shape"]) == 4
            args.append(self.fresh(x.permute(0, 3, 1, 2), True) if image else x)
        return args

    def trained(self, k):
        """Names of the parameters of update k, by weight decay, from the step's optimizer nodes."""
        values, groups = self.graph["values"], {}
        for n in self.graph["nodes"]:
            if n["op"] not in ("adam", "sgd"):
                continue
            lr = values[n["in"][4 if n["op"] == "adam" else 3]]["name"]
            if lr == f"lr.{k}":
                name = values[n["in"][0]]["name"]
                groups.setdefault(n["params"]["weight_decay"], []).append(name)
        return groups


# --- timing ----------------------------------------------------------------------

def number(update, name):
    return float(update["params"][name])


def make_optimizer(torch, update, groups):
    """The optimizer as a PyTorch user has it: fused where this version can, else foreach, else plain."""
    lists = [{"params": params, "weight_decay": float(decay)} for decay, params in groups.items()]
    if update["optimizer"] == "sgd":
        kind, how = torch.optim.SGD, {"momentum": number(update, "momentum"),
                                      "nesterov": update["params"]["nesterov"] == "true"}
    else:
        kind = torch.optim.AdamW if update["optimizer"] == "adamw" else torch.optim.Adam
        how = {"betas": (number(update, "beta1"), number(update, "beta2")), "eps": number(update, "eps")}
    for form in ({"fused": True}, {"foreach": True}, {}):
        try:
            trial = torch.nn.Parameter(torch.ones(2))
            trial.grad = torch.ones(2)
            kind([trial], lr=1e-3, **how, **form).step()
            break
        except Exception:       # of many kinds, by version: it is not there, or not for this device
            continue
    return kind(lists, lr=number(update, "lr"), **how, **form), next(iter(form), "plain")


class Trainer:
    """Whole steps; in bf16 under autocast, as PyTorch's users have it: f32 weights and f32 where it says so."""

    def __init__(self, peer, compiled, precision):
        torch = peer.torch
        self.peer, self.torch, self.bf16 = peer, torch, precision == "bf16"
        self.forward = torch.compile(peer.model) if compiled else peer.model
        self.args = peer.feed(peer.draw())
        self.stages, self.forms = [], []
        for k, u in enumerate(peer.updates):
            groups = {decay: [peer.param[n] for n in names] for decay, names in peer.trained(k).items()}
            opt, form = make_optimizer(torch, u, groups)
            self.forms.append(form)
            self.stages.append((opt, [p for g in groups.values() for p in g], u["clip"]))
        self.keep_grads = any(u["accumulate"] > 1 for u in peer.updates)
        self.average = peer.graph["stage"]["average"]
        self.averages = [p.detach().clone() for p in peer.param.values()] if self.average else []
        self.states = [getattr(peer.model, peer.source.attr[i]) for i in peer.source.stored()]

    def step(self):
        torch, several = self.torch, len(self.stages) > 1
        for opt, _, _ in self.stages:
            opt.zero_grad(set_to_none=not self.keep_grads)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            outs, news = self.forward(*self.args)
        for k, (_, params, clip) in enumerate(self.stages):
            outs[k].backward(retain_graph=k + 1 < len(self.stages), inputs=params if several else None)
            if clip:
                torch.nn.utils.clip_grad_norm_(params, clip)
        for opt, _, _ in self.stages:
            opt.step()
        with torch.no_grad():
            for state, new in zip(self.states, news):
                state.copy_(new) if torch.is_tensor(new) else state.fill_(new)
            for a, p in zip(self.averages, self.peer.param.values()):
                a.lerp_(p, 1 - self.average)
        return outs[0].item()


def serve(o):
    before = time.monotonic()
    torch = import_torch()
    imported = time.monotonic() - before
    torch.set_num_threads(o.threads)
    if o.compile and not hasattr(torch, "compile"):
        print(f"bench_peer: PyTorch {torch.__version__} has no torch.compile", file=sys.stderr)
        return UNSUPPORTED
    rss = peak_rss()
    torch.manual_seed(1)
    try:
        peer = Peer(torch, bench_source.load(o.time), read_safetensors(torch, o.weights), o.layout,
                    bf16=o.precision == "bf16")
    except bench_source.Unsupported as e:
        print(f"bench_peer: {e}", file=sys.stderr)
        return UNSUPPORTED
    t = Trainer(peer, o.compile, o.precision)
    tell = {"torch": torch.__version__, "precision": o.precision, "optimizer": t.forms, "images": peer.source.images,
            "import_s": imported, "import_rss_bytes": rss, "threads": torch.get_num_threads()}
    print(json.dumps(tell), flush=True)
    for line in sys.stdin:
        warmup, steps = (int(x) for x in line.split()[1:3])
        ms = []
        for i in range(warmup + steps):
            start = time.perf_counter()
            loss = t.step()
            if i >= warmup:
                ms.append(1e3 * (time.perf_counter() - start))
        print(json.dumps({"ms": ms, "loss": loss, "peak_rss_bytes": peak_rss()}), flush=True)
    return 0


# --- checking --------------------------------------------------------------------

class Refused(Exception):
    """What vqgraph would not do, in its words."""


def call_vqgraph(o, *args):
    done = subprocess.run([o.vqgraph, *args], capture_output=True, text=True)
    if done.returncode:
        raise Refused(f"vqgraph {args[0]}: {done.stderr.strip()}")
    return done.stdout


def evaluate(o, folder, peer, inputs):
    """What vqgraph computes: outputs, gradients by (loss, parameter), draws and operands of kinks by path."""
    s, files, args = peer.source, {}, []
    for name, x in inputs.items():
        write_npy(peer.torch, f"{folder}/in.{name}.npy", x)
        args += ["--input", f"{name}={folder}/in.{name}.npy"]
    wanted = [("output", name, name) for name in peer.outputs]
    wanted += [("draw", path, path) for path, _, _ in s.drawn]
    wanted += [("kink", path, path) for path in s.kinks]
    for k, u in enumerate(peer.updates):
        wanted += [("grad", (k, name), f"{u['minimize']}:{name}") for names in peer.trained(k).values()
                   for name in names]
    for i, (kind, key, text) in enumerate(wanted):
        files[kind, key] = f"{folder}/{i}.npy"
        args += ["--grad" if kind == "grad" else "--output", f"{text}={folder}/{i}.npy"]
    call_vqgraph(o, "eval", o.file, *o.set, "-q", "--graph", peer.graph["stage"]["graph"], "--train",
                 "--seed", str(o.seed), "--params", f"{folder}/w.safetensors",
                 "--save-after", f"{folder}/after.safetensors", *args)
    values = {key: read_npy(peer.torch, path) for key, path in files.items()}
    for name, x in read_safetensors(peer.torch, f"{folder}/after.safetensors").items():
        values["after", name] = x
    return values


def relative(got, want, floor):
    """Largest difference over the largest element; 0 where both are nothing beside `floor`."""
    got, want = got.double(), want.double()
    if got.shape != want.shape:
        return math.inf
    if got.numel() == 0:
        return 0.0
    size, off = want.abs().max().item(), (got - want).abs().max().item()
    if not math.isfinite(off):
        return math.inf
    return 0.0 if max(off, size) <= floor else off / size if size else math.inf


def fill_draws(peer, values):
    """
    Random nodes give what vqgraph drew, `nearest` what it found; a dropout's mask is read off its result. Kinks have the
    sides that vqgraph's operands are on.
    """
    for path in peer.source.kinks:
        peer.given[f"side of {path}"] = values["kink", path].to(peer.dtype)
    for path, i, p in peer.source.drawn:
        y = values["draw", path]
        if p is not None:
            peer.given[path] = (y != 0).to(peer.dtype) / (1 - p)
        else:
            peer.given[path] = y.to(peer.dtype) if y.is_floating_point() else y.long()


def results(peer, inputs):
    """What PyTorch computes, under the same keys as `evaluate`, in the graph's axes."""
    torch, s, found = peer.torch, peer.source, {}
    outs, news = peer.model(*peer.feed(inputs))
    for name, x in zip(peer.outputs, outs):
        found["output", name] = x.detach()
    axes = {v["name"]: bench_source.AXES[s.storage[v["id"]]] for v in s.leaves["param"]}
    for k, _ in enumerate(peer.updates):
        names = [n for names in peer.trained(k).values() for n in names]
        grads = torch.autograd.grad(outs[k], [peer.param[n] for n in names], retain_graph=True, allow_unused=True)
        for name, g in zip(names, grads):
            g = torch.zeros_like(peer.param[name]) if g is None else g
            found["grad", (k, name)] = g.permute([axes[name].index(i) for i in range(g.dim())]) if axes[name] else g
    after = dict(zip(s.stored(), news))
    for leaf, _ in s.stores:
        x = after[leaf] if leaf in after else getattr(peer.model, s.attr[leaf])    # batch norm keeps its own
        found["after", s.values[leaf]["name"]] = x.detach() if torch.is_tensor(x) else torch.full(
            s.values[leaf]["shape"], x, dtype=peer.dtype)
    return found


def differences(got, want):
    """By key: the largest difference beside the largest element; of integers, the share that differs."""
    largest, rows = {}, {}
    for (kind, key), x in want.items():
        if kind == "grad" and x.numel():
            largest[key[0]] = max(largest.get(key[0], 0.0), x.abs().max().item())
    for (kind, key), x in want.items():
        y = got[kind, key]
        if x.is_floating_point():
            rows[kind, key] = relative(y, x, 1e-6 * largest[key[0]] if kind == "grad" and x.numel() else 0)
        else:
            rows[kind, key] = (x.long() != y.long()).double().mean().item()
    return rows


def describe(peer, kind, key):
    if kind == "grad":
        return f"d {peer.updates[key[0]]['minimize']} / d {key[1]}"
    return key if kind == "output" else f"{key} afterwards"


def farther(x, table, index):
    """How much farther than the nearest row the chosen ones are, at most, beside the vectors' squares."""
    x, index, worst = x.reshape(-1, table.shape[1]), index.reshape(-1), 0.0
    squares = table.square().sum(1)
    for a, i in zip(x.split(4096), index.split(4096)):
        distance = squares - 2 * a @ table.t()
        excess = distance.gather(1, i[:, None])[:, 0] - distance.amin(1)
        worst = max(worst, (excess / (a.square().sum(1) + squares[i]).clamp(min=1e-30)).max().item())
    return worst


def check_choices(o, peer):
    rows = []
    for path, (x, table, index) in peer.choices.items():
        off = farther(x, table, index) if index.numel() else 0.0
        rows.append({"what": f"{path} is nearest", "shape": list(index.shape), "largest": float(table.shape[0] - 1),
                     "relative": off, "rounding": None, "ok": off <= o.tolerance})
    return rows


def check_sides(o, peer):
    """Ops of which vqgraph has elements on another side of the kink: their operands must be right themselves."""
    rows = []
    for index, (x, g, crossed) in peer.crossed.items():
        node, off = peer.source.nodes[index], relative(g, x, 0)
        if crossed or off > o.tolerance:
            what = f"{node.path}, {crossed} beyond its kink" if crossed else f"operand of {node.path}"
            rows.append({"what": what, "shape": list(peer.source.shape(node.ins[0])),
                         "largest": x.abs().max().item(), "relative": off, "rounding": None, "ok": off <= o.tolerance})
    return rows


def verdicts(o, peer, values, inputs, again):
    """
    A row for each value: it holds within the tolerance; or, where rounding is larger than that, within
    4 times what PyTorch's own f32 is off, up to MOST times the tolerance.
    """
    want = results(peer, inputs)
    off, own = differences(values, want), {}
    if any(x > o.tolerance for x in off.values()):
        own = differences(results(again(), inputs), want)
    return [{"what": describe(peer, *key), "shape": list(x.shape),
             "largest": x.abs().max().item() if x.numel() else 0.0, "relative": off[key], "rounding": own.get(key),
             "ok": off[key] <= max(o.tolerance, min(4 * own.get(key, 0.0), MOST * o.tolerance))}
            for key, x in want.items()] + check_choices(o, peer) + check_sides(o, peer)


def check_in(o, torch, folder):
    batch = ["--batch", str(o.batch)] if o.batch else []
    call_vqgraph(o, "dump", o.file, *o.set, "-q", "--stage", o.stage, "--format", "json", *batch,
                 "--out", f"{folder}/graph.json")
    graph = bench_source.load(f"{folder}/graph.json")
    weights = ["eval", o.file, *o.set, "-q", "--graph", graph["stage"]["graph"], "--train", "--seed", str(o.seed),
               "--save-params", f"{folder}/w.safetensors"]
    try:
        call_vqgraph(o, *weights, "--size", f"batch={graph['batch']}")
    except Refused:
        call_vqgraph(o, *weights)       # a graph whose sizes are all given
    weights = read_safetensors(torch, f"{folder}/w.safetensors")

    def make(double, sides=False):
        torch.manual_seed(o.seed)
        return Peer(torch, graph, weights, "contiguous", double=double, given=True, sides=sides)

    peer = make(True)
    inputs = peer.draw(o.seed)
    values = evaluate(o, folder, peer, inputs)

    def judge(peer, sides):
        def again():
            single = make(False, sides)
            fill_draws(single, values)
            return single

        fill_draws(peer, values)
        return verdicts(o, peer, values, inputs, again)

    rows = judge(peer, False)
    if all(r["ok"] for r in rows):
        return rows
    # What differs may do so by a value beside a kink. Only the operands are asked for anew: what is judged stays as it was.
    peer = make(True, True)
    values = {**evaluate(o, folder, peer, inputs), **values}
    beside = judge(peer, True)
    return beside if any(crossed for *_, crossed in peer.crossed.values()) else rows


def show(o, rows):
    width = max(len(r["what"]) for r in rows)
    for r in rows:
        own = "" if r["rounding"] is None else f"   PyTorch's f32 {r['rounding']:7.1e}"
        print(f"{r['what']:{width}}  {str(r['shape']):18}  {r['largest']:10.3g}  {r['relative']:9.1e}  "
              f"{'ok' if r['ok'] else 'DIFFERS'}{own}")
    print(f"{o.file}, {o.stage}: {sum(r['ok'] for r in rows)} of {len(rows)} hold, within {o.tolerance:g}; "
          f"largest difference {max(r['relative'] for r in rows):.1e}")


def check(o):
    torch = import_torch()
    torch.set_num_threads(o.threads)
    with tempfile.TemporaryDirectory(prefix="vqgraph-check-") as folder:
        try:
            rows = check_in(o, torch, folder)
        except bench_source.Unsupported as e:
            print(f"bench_peer: {e}", file=sys.stderr)
            return UNSUPPORTED
        except Refused as e:
            print(f"bench_peer: {e}", file=sys.stderr)
            return REFUSED
    if o.json:
        print(json.dumps(rows))
    else:
        show(o, rows)
    return 0 if all(r["ok"] for r in rows) else 1


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = a.add_mutually_exclusive_group(required=True)
    what.add_argument("--time", metavar="GRAPH.json", help="time training steps, as told on standard input")
    what.add_argument("--check", action="store_true", help="compare values and gradients with vqgraph's")
    what.add_argument("--source", metavar="GRAPH.json", help="print the module")
    a.add_argument("file", nargs="?", help="model file (--check)")
    a.add_argument("set", nargs="*", metavar="path=value", help="overrides (--check)")
    a.add_argument("--stage", help="training stage (--check)")
    a.add_argument("--weights", help="safetensors (--time)")
    a.add_argument("--layout", choices=("channels_last", "contiguous"), default="channels_last")
    a.add_argument("--compile", action="store_true", help="with torch.compile")
    a.add_argument("--precision", choices=("f32", "bf16"), default="f32", help="of autocast (--time)")
    a.add_argument("--threads", type=int, default=os.cpu_count())
    a.add_argument("--vqgraph", default="vqgraph", help="the program (--check)")
    a.add_argument("--batch", type=int, help="batch size (--check; default: the stage's)")
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--tolerance", type=float, default=1e-4)
    a.add_argument("--json", action="store_true")
    o = a.parse_args()
    if o.source:
        graph = bench_source.load(o.source)
        names = [k for k in graph["outputs"] if not k.startswith("grad_norm.")]
        print(bench_source.Source(graph, names).text(), end="")
        return 0
    if o.time:
        return serve(o)
    if not o.file or not o.stage:
        a.error("--check needs FILE and --stage")
    return check(o)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
