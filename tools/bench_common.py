"""
bench_common -- what the parts of tools/bench share: running vqgraph, failures, tables
"""
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
PEER = os.path.join(HERE, "bench_peer.py")


class Failed(Exception):
    """Of one measurement; the others go on."""


class Missing(Failed):
    """What it needs is not on this machine: told, and no failure."""


def note(text):
    print(text, file=sys.stderr, flush=True)


def vqgraph(o, *args):
    done = subprocess.run([o.vqgraph, *args], capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"vqgraph {args[0]}: {done.stderr.strip()}")
    return done.stdout


def named(file):
    """A file as rows name it."""
    return os.path.relpath(file, TOP) if os.path.abspath(file).startswith(TOP + os.sep) else file


def bench(o, file, stage, steps, warmup=1, batch=None, threads=None, precision="f32", sets=()):
    """One process of vqgraph bench: what it printed."""
    more = [x for s in sets for x in ("--set", s)]
    for name, x in (("--batch", batch or o.batch), ("--threads", threads or o.threads)):
        more += [name, str(x)] if x else []
    return json.loads(vqgraph(o, "bench", file, *o.set, *more, "-q", "--stage", stage, "--precision", precision,
                              "--steps", str(steps), "--warmup", str(warmup), "--json"))


def median_ms(got):
    return got["step_ms"]["median"]


class Stage:
    """A training stage: its file, name and, at its own batch size, FLOPs a step."""

    def __init__(self, file, name, batch, flops):
        self.file, self.name, self.batch, self.flops = file, name, batch, flops

    def label(self):
        return f"{os.path.basename(self.file).removesuffix('.yaml')}, {self.name}"


def find_stages(o):
    """Each training stage asked for, or what was wrong with its file: (file, Stage or Failed)."""
    files = o.file or sorted(os.path.join(TOP, "graphs", f) for f in os.listdir(os.path.join(TOP, "graphs"))
                             if f.endswith(".yaml"))
    for file in files:
        wanted = o.stage
        if not os.path.exists(file) and ":" in file:
            file, wanted = file.rsplit(":", 1)
        batch = ["--batch", str(o.batch)] if o.batch else []
        try:
            found = json.loads(vqgraph(o, "check", file, *o.set, *batch, "-q", "--json"))
            steps = [g for g in found["graphs"] if g["mode"] == "step"]
            if wanted and wanted not in [g["name"] for g in steps]:
                bench(o, file, wanted, 1, 0)    # says what is wrong with it
                raise Failed(f"stage {wanted} does not train")
        except Failed as e:
            yield file, e
            continue
        for g in steps:
            if wanted in (None, g["name"]):
                yield file, Stage(file, g["name"], g["batch"], g["flops"])


def ms(x):
    return f"{x:.0f}" if x >= 1000 else f"{x:.1f}" if x >= 100 else f"{x:.2f}" if x >= 10 else f"{x:.3f}"


class Table:
    """Rows printed as they come, in columns of given widths: (title, width, left)."""

    def __init__(self, title, *columns):
        self.title, self.columns, self.begun = title, columns, False

    def line(self, cells):
        print("  ".join(str(x).ljust(w) if left else str(x).rjust(w)
                        for x, (_, w, left) in zip(cells, self.columns)).rstrip(), flush=True)

    def row(self, *cells):
        if not self.begun:
            print(f"\n{self.title}\n", flush=True)
            self.line([name for name, _, _ in self.columns])
            self.begun = True
        self.line(cells)


def spread(x):
    """How far the largest is above the smallest."""
    return max(x) / min(x) - 1


def median(x):
    return statistics.median(x)
