"""
bench_steps -- training steps in vqgraph and in PyTorch, in turn in one run

A turn is a few steps of each side. vqgraph's is a process of its own; PyTorch's processes wait between
their turns. Of several forms of PyTorch (memory formats, compiled) all have the first turn, then only
those within a tenth of the best.
"""
import json
import os
import re
import subprocess
import tempfile

from bench_common import PEER, Failed, Missing, Table, bench, median, median_ms, ms, named, note, vqgraph

MOST_STEPS = 200            # of a turn
NEAR = 1.1


class Peer:
    """A process with the model in PyTorch, waiting between its turns."""

    def __init__(self, o, folder, layout, compiled, precision):
        self.name = layout.replace("contiguous", "channels_first") + (", compiled" if compiled else "")
        self.errors = tempfile.TemporaryFile(mode="w+", dir=folder)
        threads = str(o.threads)
        args = [o.python, PEER, "--time", f"{folder}/graph.json", "--weights", f"{folder}/w.safetensors", "--layout",
                layout, "--threads", threads, "--precision", precision] + (["--compile"] if compiled else [])
        self.process = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                                        text=True, env={**os.environ, "OMP_NUM_THREADS": threads})
        self.ms, self.least, self.peak, self.steps = [], [], 0, 1
        self.layout, self.about = layout, None

    def wait(self):
        """Until it has imported PyTorch and made the model."""
        self.about = self.answer()
        if not self.about["images"]:
            self.name = "compiled" if "compiled" in self.name else "eager"

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            lines = [s for s in self.errors.read().splitlines() if s.strip()]
            told = [s for s in lines if re.match(r"[\w.]+(Error|Exception)\b|bench_peer:", s)] or lines
            raise Failed(f"PyTorch, {self.name}: {told[-1] if told else 'ended without a word'}")
        return json.loads(line)

    def run(self, warmup, steps):
        try:
            self.process.stdin.write(f"steps {warmup} {steps}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        return self.answer()

    def turn(self, seconds, o):
        """A first turn warms up and sees how long a step takes."""
        if not self.ms:
            self.steps = steps_for(o, seconds, median(self.run(1, 1)["ms"]))
        got = self.run(0, self.steps)
        self.ms.append(median(got["ms"]))
        self.least.append(min(got["ms"]))
        self.peak = got["peak_rss_bytes"]

    def close(self):
        if not self.about:      # still starting, or failed
            self.process.kill()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
        self.errors.close()


def steps_for(o, seconds, step_ms):
    return o.steps or max(1, min(MOST_STEPS, int(1e3 * seconds / step_ms)))


def prepare(o, stage, batch, folder):
    """The dump that the peers read, and first weights."""
    batch = ["--batch", str(batch)] if batch else []
    vqgraph(o, "dump", stage.file, *o.set, "-q", "--stage", stage.name, "--format", "json", *batch,
            "--out", f"{folder}/graph.json")
    with open(f"{folder}/graph.json", encoding="utf-8") as f:
        graph = json.load(f)["graphs"][0]
    weights = ["eval", stage.file, *o.set, "-q", "--graph", graph["stage"]["graph"], "--train", "--save-params",
               f"{folder}/w.safetensors"]
    try:
        vqgraph(o, *weights, "--size", f"batch={graph['batch']}")
    except Failed:
        vqgraph(o, *weights)    # no free size


def start_peers(o, folder, precision):
    """The variants that make sense for the model: formats where it has images, eager and compiled."""
    peers = []
    started = [Peer(o, folder, layout, compiled, precision) for compiled in ([False, True] if o.compile else [False])
               for layout in ("channels_last", "contiguous")]   # together: nothing is measured before the first turn
    try:
        while started:
            p = started[0]
            if p.layout == "contiguous" and peers and not peers[0].about["images"]:
                drop(started, p)
                continue
            try:
                p.wait()
                peers.append(started.pop(0))
            except Failed as e:
                note(f"  {e}")
                if not peers:
                    break
                drop(started, p)
    finally:
        for p in started:
            p.close()
    return peers


def drop(peers, p):
    p.close()
    peers.remove(p)


def turns(o, stage, batch, precision, peers, probe):
    """A B A B ...: vqgraph, then each peer; one that fails drops out, and so does one that is not near the best."""
    mine, tried = [], {}
    seconds = o.seconds / o.rounds / 2
    steps, rounds = steps_for(o, seconds, median_ms(probe)), o.rounds
    while len(mine) < rounds:
        mine.append(bench(o, stage.file, stage.name, steps, o.warmup, batch, precision=precision))
        for p in list(peers):
            try:
                p.turn(seconds, o)
                tried[p.name] = median(p.ms)
            except Failed as e:
                note(f"  {e}")
                drop(peers, p)
        for p in list(peers):
            if p.ms[0] > NEAR * min(q.ms[0] for q in peers):
                drop(peers, p)
        note(f"  turn {len(mine)} of {rounds}: vqgraph {ms(median_ms(mine[-1]))} ms" + "".join(
            f"; {p.name} {ms(p.ms[-1])} ms" for p in peers))
        pair = (steps + o.warmup) * median_ms(mine[-1]) + sum(p.steps * p.ms[-1] for p in peers)
        rounds = min(rounds, max(2, 1 + int(1e3 * o.seconds / pair)))   # long steps: fewer turns, never one
    return mine, tried, steps


def side(times, least, peak, batch, flops, roof):
    t = median(times)
    return {"step_ms": t, "min_ms": least, "turns_ms": times, "samples_per_s": 1e3 * batch / t,
            "gflops": flops / t / 1e6, "share_of_roof": flops / t / 1e6 / roof, "peak_rss_bytes": peak}


def row_of(stage, precision, steps, mine, peers, tried):
    times = [median_ms(m) for m in mine]
    roof = max(m["roof_gflops"] for m in mine)      # the others were disturbed
    flops, batch = mine[0]["flops_per_step"], mine[0]["batch"]
    row = {"file": named(stage.file), "stage": stage.name, "precision": precision, "batch": batch,
           "stage_batch": stage.batch, "threads": mine[0]["threads"], "isa": mine[0]["isa"], "steps": steps,
           "flops_per_step": flops, "roof_gflops": roof,
           "vqgraph": side(times, min(m["step_ms"]["min"] for m in mine), max(m["peak_rss_bytes"] for m in mine), batch,
                           flops, roof),
           "torch": None, "ratio": None, "ratios": None, "memory_ratio": None, "own_memory_ratio": None}
    row["vqgraph"]["arena_bytes"] = mine[0]["arena_bytes"]
    if peers:
        best = min(peers, key=lambda p: median(p.ms))
        own = best.peak - best.about["import_rss_bytes"]
        row["torch"] = {"variant": best.name, **best.about, **side(best.ms, min(best.least), best.peak, batch, flops, roof),
                        "own_rss_bytes": own, "variants": tried}
        pairs = [b / a for a, b in zip(times, best.ms)]
        mine_peak = row["vqgraph"]["peak_rss_bytes"]
        row.update(ratio=median(pairs), ratios=pairs, memory_ratio=best.peak / mine_peak, own_memory_ratio=own / mine_peak)
    return row


def batch_for(o, stage):
    """The stage's own, or halves of it where a step would take many seconds."""
    batch, flops = o.batch or stage.batch, stage.flops
    if o.batch or o.full or not batch:
        return batch
    while batch > 1 and flops > 1e9 * o.most:
        batch, flops = batch // 2, flops * (batch // 2) / batch
    if flops > 3e9 * o.most:
        raise Missing(f"{stage.label()}: a step of one sample is {flops / 1e9:.0f} GFLOP; --full measures it")
    return batch


def measure(o, stage, precision):
    note(f"{stage.label()}, {precision}")
    batch = batch_for(o, stage)
    probe = bench(o, stage.file, stage.name, 1, 1, batch, precision=precision)
    o.threads = o.threads or probe["threads"]
    peers = []
    with tempfile.TemporaryDirectory(prefix="vqgraph-bench-") as folder:
        try:
            if o.python:
                prepare(o, stage, batch, folder)
                peers = start_peers(o, folder, precision)
            mine, tried, steps = turns(o, stage, batch, precision, peers, probe)
            return row_of(stage, precision, steps, mine, peers, tried)
        finally:
            for p in peers:
                p.close()


def table(precision):
    return Table(f"training steps, {precision}", ("stage", 31, True), ("batch", 6, False), ("GFLOP", 7, False),
                 ("ms", 7, False), ("PyTorch", 7, False), ("ratio", 5, False), ("of roof", 7, False), ("PyTorch", 7, False),
                 ("MB", 6, False), ("PyTorch", 7, False), ("ratio", 5, False), ("PyTorch's form", 14, True))


def show(t, r):
    a, b = r["vqgraph"], r["torch"]
    half = "*" if r["batch"] != r["stage_batch"] else ""
    t.row(f"{os.path.basename(r['file']).removesuffix('.yaml')}, {r['stage']}", f"{r['batch']}{half}",
          f"{r['flops_per_step'] / 1e9:.1f}", ms(a["step_ms"]), ms(b["step_ms"]) if b else "-",
          f"{r['ratio']:.2f}" if b else "-", f"{100 * a['share_of_roof']:.0f} %",
          f"{100 * b['share_of_roof']:.0f} %" if b else "-", f"{a['peak_rss_bytes'] / 1e6:.0f}",
          f"{b['peak_rss_bytes'] / 1e6:.0f}" if b else "-",
          f"{b['peak_rss_bytes'] / a['peak_rss_bytes']:.1f}" if b else "-",
          b["variant"] if b else "")


LEGEND = """
ratio: PyTorch / vqgraph, the median over pairs of turns. of roof: of a matrix product of that precision in vqgraph's process.
MB: peak memory of each process, as `time -v` reports it; `import torch` takes its part of PyTorch's (own_rss_bytes in --out FILE is without).
*: a smaller batch than the stage's (--full: its own)."""
