"""
bench_parts -- what tools/bench measures beside training steps: threads, growth, sampling, starting, data

Each part is a function of the options that yields rows as they are done; show_NAME prints one.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import time

from bench_common import (HERE, TOP, Failed, Missing, Table, bench, find_stages, median, median_ms, ms, named, note,
                          spread, vqgraph)
from bench_steps import batch_for

GRAPHS = os.path.join(TOP, "graphs")


def graph(name):
    return os.path.join(GRAPHS, name + ".yaml")


# --- two threads over one --------------------------------------------------------

def scaling(o):
    """Steps of more than 1 GFLOP on one thread and on all, in turn, and a plain matrix product in the same processes:
    what the machine itself gives for its threads."""
    for file, stage in find_stages(o):
        if isinstance(stage, Failed) or stage.flops < 1e9:
            continue        # its file's failure is told with the steps
        try:
            batch = batch_for(o, stage)
            one, all_, roof = [], [], []
            for k in range(1 if o.quick else 3):
                steps = 2 if k == 0 else max(2, min(50, int(500 * o.seconds / 12 / one[0])))
                alone = bench(o, file, stage.name, steps, 1, batch, threads=1)
                one.append(median_ms(alone))
                got = bench(o, file, stage.name, 2 * steps, 1, batch)
                all_.append(median_ms(got))
                roof.append(got["roof_gflops"] / alone["roof_gflops"])
            yield {"file": named(file), "stage": stage.name, "batch": batch, "stage_batch": stage.batch,
                   "threads": got["threads"], "one_ms": median(one), "all_ms": median(all_),
                   "times": median(a / b for a, b in zip(one, all_)), "roof_times": median(roof)}
        except Failed as e:
            yield e


SCALING = Table("threads: a step on all over one", ("stage", 31, True), ("batch", 6, False), ("threads", 7, False),
                ("1 thread ms", 11, False), ("all ms", 8, False), ("times", 6, False), ("a product's", 11, False))


def show_scaling(r):
    SCALING.row(f"{os.path.basename(r['file']).removesuffix('.yaml')}, {r['stage']}", r["batch"], r["threads"],
                ms(r["one_ms"]), ms(r["all_ms"]), f"{r['times']:.2f}", f"{r['roof_times']:.2f}")


# --- growth ----------------------------------------------------------------------

GROWTH = {"batch": [32, 64, 128, 256, 512], "width": [64, 128, 256, 512]}


def growth(o):
    """Time per FLOP of the VQ-VAE over its batch size, and over its width at a batch of 32; sizes in turn."""
    file = graph("vqvae_mnist")
    for what, sizes in GROWTH.items():
        try:
            found = {x: [] for x in sizes}
            for _ in range(1 if o.quick else 3):
                for x in sizes:
                    at = {"batch": x} if what == "batch" else {"batch": 32, "sets": [f"width={x}"]}
                    steps = max(2, 256 // x) if what == "batch" else max(2, 512 // x)
                    found[x].append(bench(o, file, "vqvae", steps, 1, **at))
            rows = [{"size": x, "step_ms": median(map(median_ms, got)), "flops": got[0]["flops_per_step"]}
                    for x, got in found.items()]
            for r in rows:
                r["ps_per_flop"] = 1e9 * r["step_ms"] / r["flops"]
            yield {"file": named(file), "what": what, "sizes": rows, "spread": spread([r["ps_per_flop"] for r in rows])}
        except Failed as e:
            yield e


GROWTH_TABLE = Table("growth: time per FLOP of vqvae_mnist", ("over", 6, True), ("ps a FLOP, at each size", 60, True),
                     ("largest over smallest", 21, False))


def show_growth(r):
    GROWTH_TABLE.row(r["what"], "  ".join(f"{x['size']}: {x['ps_per_flop']:.2f}" for x in r["sizes"]),
                     f"+{100 * r['spread']:.0f} %")


def attention(o):
    """Memory of a transformer's step over the sequence length, one sequence: linear when a token's share stays."""
    file = graph("vqvae_transformer")
    for size in [32, 64, 128] if o.quick else [32, 64, 128, 256]:
        try:
            got = bench(o, file, "prior", 1, 0, 1, sets=[f"size={size}"])
            length = (size // 4) ** 2
            yield {"file": named(file), "length": length, "arena_bytes": got["arena_bytes"],
                   "peak_rss_bytes": got["peak_rss_bytes"], "bytes_per_token": got["arena_bytes"] / length,
                   "step_ms": median_ms(got)}
        except Failed as e:
            yield e


ATTENTION = Table("growth: memory of vqvae_transformer's prior, one sequence", ("length", 6, False), ("step ms", 8, False),
                  ("arena MB", 8, False), ("kB a token", 10, False), ("process MB", 10, False))


def show_attention(r):
    ATTENTION.row(r["length"], ms(r["step_ms"]), f"{r['arena_bytes'] / 1e6:.1f}", f"{r['bytes_per_token'] / 1e3:.1f}",
                  f"{r['peak_rss_bytes'] / 1e6:.0f}")


# --- sampling --------------------------------------------------------------------

def sampling(o):
    """Tokens of the largest prior, 8 and 256 at once, beside PyTorch with and without kept keys and values."""
    if not o.python:
        yield Missing("sampling: there is no PyTorch")
        return
    for batch in (8, 256):
        command = [o.python, os.path.join(HERE, "bench_sampling"), graph("prior_fashion_small"), "--batch", str(batch),
                   "--vqgraph", o.vqgraph, "--turns", "1" if o.quick else "3"]
        command += ["--threads", str(o.threads)] if o.threads else []
        command += ["--some"] if batch > 8 or o.quick else []
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            yield Failed(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "bench_sampling ended")
            continue
        yield {**json.loads(done.stdout), "file": named(graph("prior_fashion_small")), "stage": "samples"}


SAMPLING = Table("sampling, beside PyTorch in the same precision", ("tokens", 10, True), ("", 4, True), ("s", 8, False),
                 ("PyTorch s", 9, False), ("ratio", 6, False), ("PyTorch, cached, s", 18, False), ("ratio", 6, False))


def show_sampling(r):
    for p in (r, r["bf16"]):
        SAMPLING.row(f"{r['batch']} x {r['length']}", p["precision"], f"{p['vqgraph_s']:.4f}", f"{p['torch_s']:.2f}",
                     f"{p['ratio']:.1f}", f"{p['cached_s']:.3f}", f"{p['cached_ratio']:.2f}")


# --- starting --------------------------------------------------------------------

def rows_of(folder):
    with open(os.path.join(folder, "metrics.jsonl"), encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def train(o, file, stage, folder, *more):
    """A short run: its folder."""
    try:
        vqgraph(o, "run", file, *o.set, "-q", "--stage", stage, "--out", folder, "--name", "run",
                *(["--threads", str(o.threads)] if o.threads else []), *more)
    except Failed as e:
        gone = re.search(r"the data of .* is not on this machine", str(e))
        raise Missing(f"{os.path.basename(file)}: {gone.group()}") if gone else e
    return os.path.join(folder, "run")


def start(o):
    """From the start of the process to its first step, data in the page cache: the best of five."""
    for name, stage in (("mlp_mnist", "classifier"), ("vqvae_mnist", "vqvae"), ("vqvae_cifar10", "vqvae")):
        try:
            process, run = [], []
            for _ in range(6):
                begin = time.monotonic()
                vqgraph(o, "--version")
                process.append(1e3 * (time.monotonic() - begin))
                with tempfile.TemporaryDirectory(prefix="vqgraph-bench-") as folder:
                    with open(os.path.join(train(o, graph(name), stage, folder, "--max-steps", "1"), "log.txt"),
                              encoding="utf-8") as f:
                        run.append(1e3 * float(re.search(r"([0-9.]+) s after the start", f.read()).group(1)))
            yield {"file": named(graph(name)), "stage": stage, "process_ms": min(process), "run_ms": min(run[1:]),
                   "start_ms": min(process) + min(run[1:]), "first_ms": run[0]}
        except Failed as e:
            yield e


START = Table("start to first step, data in the page cache", ("stage", 31, True), ("ms", 7, False),
              ("of these, the program's start", 29, False))


def show_start(r):
    START.row(f"{os.path.basename(r['file']).removesuffix('.yaml')}, {r['stage']}", f"{r['start_ms']:.1f}",
              f"{r['process_ms']:.1f}")


# --- data ------------------------------------------------------------------------

def data(o):
    """The share of the time that training waits for data, in short runs."""
    augmented = ["--set", "stages.vqvae.data.crop=4", "--set", "stages.vqvae.data.flip=true"]
    for name, stage, more in (("mlp_mnist", "classifier", []), ("classifier_fashion", "classifier", []),
                              ("vqvae_mnist", "vqvae", []), ("vqvae_cifar10", "vqvae", augmented)):
        try:
            every = max(4, int(1e3 * o.seconds / 30 / median_ms(bench(o, graph(name), stage, 3))))
            with tempfile.TemporaryDirectory(prefix="vqgraph-bench-") as folder:
                run = train(o, graph(name), stage, folder, "--max-steps", str(8 * every), *more, "--set",
                            f"stages.{stage}.log_every={every}")
                rows = [r for r in rows_of(run) if r["split"] == "train"][1:]   # the first has the pictures of steps 1, 2, 4
            yield {"file": named(graph(name)), "stage": stage, "augmented": bool(more), "rows": len(rows),
                   "data_wait": sum(r["data_wait"] / r["samples_per_s"] for r in rows)
                   / sum(1 / r["samples_per_s"] for r in rows),
                   "samples_per_s": median(r["samples_per_s"] for r in rows)}
        except Failed as e:
            yield e


DATA = Table("waiting for data while training", ("stage", 31, True), ("samples/s", 9, False), ("waiting", 8, False),
             ("", 14, True))


def show_data(r):
    DATA.row(f"{os.path.basename(r['file']).removesuffix('.yaml')}, {r['stage']}", f"{r['samples_per_s']:.0f}",
             f"{100 * r['data_wait']:.2f} %", "crop and flip" if r["augmented"] else "")


PARTS = {"scaling": (scaling, show_scaling), "growth": (growth, show_growth), "attention": (attention, show_attention),
         "sampling": (sampling, show_sampling), "start": (start, show_start), "data": (data, show_data)}


# --- Markdown --------------------------------------------------------------------

def markdown(found):
    """The rows of --out for a README."""
    def line(*cells):
        print("| " + " | ".join(str(c) for c in cells) + " |")

    def stage_of(r):
        return f"`{os.path.basename(r['file']).removesuffix('.yaml')}`, {r['stage']}"

    print(f"`{found['command']}`, {found['date'][:10]}, {found['cpu']}\n")
    if found.get("steps"):
        line("training step", "batch", "ms", "of the roof", "PyTorch", "ratio", "memory, MB", "PyTorch")
        line("---", "---", "---", "---", "---", "---", "---", "---")
    for r in found.get("steps", []):
        a, b = r["vqgraph"], r["torch"]
        line(stage_of(r) + (", bf16" if r["precision"] == "bf16" else ""), r["batch"], ms(a["step_ms"]),
             f"{a['share_of_roof']:.2f}", ms(b["step_ms"]) if b else "", f"{r['ratio']:.1f}" if b else "",
             f"{a['peak_rss_bytes'] / 1e6:.0f}", f"{b['peak_rss_bytes'] / 1e6:.0f}" if b else "")
    print()
    line("what", "figure")
    line("---", "---")
    for r in found.get("sampling", []):
        for p in (r, r["bf16"]):
            line(f"drawing {r['batch']} x {r['length']} tokens in {p['precision']}, {stage_of(r)}", f"{p['vqgraph_s']:.3f} s; PyTorch "
                 f"{p['ratio']:.0f} times as long, with kept keys and values {p['cached_ratio']:.1f} times")
    if found.get("scaling"):
        rows = sorted(found["scaling"], key=lambda r: r["times"])
        line(f"{rows[0]['threads']} threads over one, steps above 1 GFLOP",
             f"{rows[0]['times']:.2f} ({stage_of(rows[0])}) to {rows[-1]['times']:.2f} ({stage_of(rows[-1])}); "
             f"a matrix product alone {median(r['roof_times'] for r in rows):.2f}")
    for r in found.get("growth", []):
        line(f"time per FLOP of `vqvae_mnist`, {r['what']} {r['sizes'][0]['size']} to {r['sizes'][-1]['size']}",
             f"within {100 * r['spread']:.0f} %")
    rows = found.get("attention", [])
    if rows:
        line("memory of a transformer's step, a token: " + ", ".join(str(r["length"]) for r in rows) + " tokens",
             ", ".join(f"{r['bytes_per_token'] / 1e3:.0f}" for r in rows) + " kB")
    for r in found.get("start", []):
        line(f"start to first step, {stage_of(r)}", f"{r['start_ms']:.0f} ms")
    for r in found.get("data", []):
        line(f"waiting for data, {stage_of(r)}" + (", crop and flip" if r["augmented"] else ""),
             f"{100 * r['data_wait']:.1f} % of the time")


if __name__ == "__main__":
    sys.exit("bench_parts: a part of tools/bench")
