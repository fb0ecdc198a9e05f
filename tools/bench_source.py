"""
bench_source -- a graph that `vqgraph dump --format json` printed, as the source of a PyTorch module

The module is what a PyTorch programmer would write for the same model: layers with their bias in one
call, F.batch_norm with its running statistics, attention in one call where PyTorch has it, images as
[n, c, h, w] and convolution weights as [out, in, kh, kw] in whichever memory format the caller
chooses, each tensor dropped after its last use. It needs no PyTorch itself: it writes text.

Forms: an image value has two names, v<id> as the graph has it, [n, h, w, c], and c<id>, the same
memory seen as [n, c, h, w]. Each op takes the form it wants.
"""
import json
import math
import re

from bench_kinks import KINKS, Kinks
from bench_norms import Norms, Unsupported

# How the parameters of a graph are kept: as axes of the graph's array, in order.
AXES = {"conv": (3, 2, 0, 1), "linear": (1, 0), None: None}
IMAGE_AXIS = {0: 0, 1: 2, 2: 3, 3: 1}


def parameter(text):
    """A parameter of an op, as the dump prints it: a boolean, a list of integers, a number or a word."""
    if text in ("true", "false"):
        return text == "true"
    if text.startswith("["):
        return [int(x) for x in text[1:-1].split(",") if x.strip()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def literal(x):
    x = float(x)
    return repr(x) if abs(x) < float("inf") else f'float("{x}")'


def pair(list_):
    return (list_[0], list_[1 if len(list_) > 1 else 0])


def sides(pad):
    """top, bottom, left, right"""
    return (pad * 4, [pad[0], pad[0], pad[-1], pad[-1]], None, pad)[len(pad) - 1]


class Node:
    def __init__(self, index, d):
        self.index, self.op, self.ins, self.outs, self.path = index, d["op"], d["in"], d["out"], d.get("path", "")
        self.p = {k: parameter(v) for k, v in d["params"].items()}


# x, y, z: the operands in order; parameters by name.
ELEMENTWISE = {
    "neg": "-{x}", "abs": "{x}.abs()", "sign": "{x}.sign()", "square": "{x}.square()", "sqrt": "{x}.sqrt()",
    "rsqrt": "{x}.rsqrt()", "reciprocal": "{x}.reciprocal()", "exp": "{x}.exp()", "log": "{x}.log()",
    "sin": "{x}.sin()", "cos": "{x}.cos()", "tanh": "{x}.tanh()", "sigmoid": "{x}.sigmoid()", "erf": "{x}.erf()",
    "floor": "{x}.floor()", "round": "{x}.round()", "relu": "F.relu({x})",
    "leaky_relu": "F.leaky_relu({x}, {slope})", "elu": "F.elu({x}, {alpha})", "softplus": "F.softplus({x})",
    "silu": "F.silu({x})", "gelu": "F.gelu({x})", "gelu_tanh": 'F.gelu({x}, approximate="tanh")',
    "clamp": "{x}.clamp({low}, {high})", "affine": "{x} * {scale} + {offset}", "power": "{x}.pow({exponent})",
    "add": "{x} + {y}", "sub": "{x} - {y}", "mul": "{x} * {y}", "div": "{x} / {y}", "pow": "{x} ** {y}",
    "maximum": "torch.maximum({x}, {y})", "minimum": "torch.minimum({x}, {y})", "axpy": "{x} * {a} + {y}",
    "fma": "{x} * {y} + {z}", "gate": "{x} * ({y} > 0)", "leaky_gate": "{x} * torch.where({y} > 0, 1.0, {slope})",
    "elu_gate": "{x} * torch.where({y} > 0, 1.0, {y} + {alpha})",
    "gelu_gate": "{x} * (0.5 * torch.erfc({y} * -0.5 ** 0.5) + {y} * torch.exp(-0.5 * {y} ** 2) * (0.5 / math.pi) ** 0.5)",
    "greater": "{x} > {y}", "greater_equal": "{x} >= {y}", "less": "{x} < {y}", "less_equal": "{x} <= {y}",
    "equal": "{x} == {y}", "not_equal": "{x} != {y}", "logical_and": "{x} & {y}", "logical_or": "{x} | {y}",
    "logical_not": "~{x}", "copy": "{x}", "stop": "{x}.detach()",
    "straight_through": "{y} + ({x} - {y}).detach()", "ema": "torch.lerp({y}, {x}, {decay})",
}
TENSORS_ONLY = {"maximum", "minimum", "ema", "gate", "leaky_gate", "elu_gate", "gelu_gate"}
IMAGE_OPS = {"conv2d", "conv2d_input", "max_pool2d", "avg_pool2d", "resize", "batch_norm",
             "batch_norm_affine", "group_norm"}
RANDOM = {"random_uniform", "random_normal", "random_integer", "random_uniform_like", "random_normal_like",
          "random_integer_like", "random_rows"}


class Source(Norms, Kinks):
    """
    outputs: names to return. given: what random nodes draw and `nearest` finds is taken from `given`, by path.
    sides: with given, on which side of a kink a value is, too.
    widen: group norms take f32, for a PyTorch whose autocast hands them bf16 beside weights in f32, which it refuses.
    """

    def __init__(self, graph, outputs, given=False, attention=True, widen=False, sides=False):
        self.sides, self.kinks = sides, {}      # kinks: the operands whose sides are given, by path
        self.values, self.given, self.attention, self.widen = graph["values"], given, attention, ".float()" if widen else ""
        self.nodes = [Node(i, d) for i, d in enumerate(graph["nodes"])]
        self._take_gradients(graph)
        self.outputs = {name: graph["outputs"][name] for name in outputs}
        self.stores = [(s["leaf"], s["value"]) for s in graph["stores"]
                       if not re.match(r"optimizer\.|average\.", self.values[s["leaf"]].get("name", ""))
                       and self.values[s["leaf"]]["kind"] == "state"]
        self.v, self.c, self.lines, self.drawn = {}, {}, [], []
        self.skip, self.dropped, self.running = set(), set(), set()
        self.state_shape = {}       # of states that the module keeps in another one
        self._find_live()
        self.images = any(n.op in IMAGE_OPS and self.rank(n.ins[0]) == 4 for n in self.live)
        self._choose_storage()
        self.averages = self._find_running()
        self._write()

    # --- the graph -----------------------------------------------------------

    def shape(self, i):
        return self.values[i]["shape"]

    def rank(self, i):
        return len(self.values[i]["shape"])

    def kind(self, i):
        return self.values[i]["kind"]

    def number(self, i):
        """The value of a scalar constant, None for anything else."""
        v = self.values[i]
        return float(v["value"]) if v["kind"] == "const" and not v["shape"] else None

    def _take_gradients(self, graph):
        """A step `gradient` is one call to autograd, in place of the nodes that compute it."""
        made = {i: n for n in self.nodes for i in n.outs}
        losses = [graph["outputs"][u["minimize"]] for u in graph["stage"]["updates"]] if "stage" in graph else []
        through = set(losses or graph["outputs"].values())     # what losses are differentiated through
        for n in reversed(self.nodes):
            if n.op != "stop" and through & set(n.outs):
                through |= set(n.ins)
        self.sloped, self.origin = set(), {}
        for g in graph.get("gradients", []):
            n, of = made.get(g["value"]), made.get(g["of"])
            if n is None or of is None or n.index < of.index:
                continue
            self.nodes[n.index] = made[g["value"]] = Node(n.index, {
                "op": "gradient", "in": [g["of"], g["to"]], "out": [g["value"]], "path": n.path,
                "params": {"again": "true" if g["value"] in through else "false"}})
            self.sloped.add(g["to"])

    def _find_live(self):
        need = set(self.outputs.values()) | {value for _, value in self.stores}
        self.live = []
        for n in reversed(self.nodes):
            if need & set(n.outs):
                need |= set(n.ins)
                self.live.append(n)
        self.live.reverse()
        self.used, self.maker = {}, {}
        for n in self.live:
            for i in n.outs:
                self.maker[i] = n
            for i in n.ins:
                self.used.setdefault(i, []).append(n)
        self.kept = set(self.outputs.values()) | {value for _, value in self.stores}
        names = [v for v in self.values if v["id"] in need]
        self.leaves = {k: [v for v in names if v["kind"] == k] for k in ("input", "param", "state", "const")}
        attrs = {}
        for v in self.leaves["param"] + self.leaves["state"]:
            a = re.sub(r"\W", "_", v["name"])
            attrs[v["id"]] = a if a not in attrs.values() and not a[0].isdigit() else f"{a}_{v['id']}"
        self.attr = attrs

    def _choose_storage(self):
        self.storage = {v["id"]: None for v in self.leaves["param"]}
        for n in self.live:
            w = n.ins[1] if len(n.ins) > 1 else None
            if w not in self.storage or self.storage[w]:
                continue
            if n.op in ("conv2d", "conv2d_input"):
                self.storage[w] = "conv"
            elif n.op == "matmul" and self.rank(w) == 2 and not n.p["transpose_a"] and not n.p["transpose_b"]:
                self.storage[w] = "linear"

    def only_use(self, i):
        """The one node that reads the value, None if there are others or it is kept."""
        uses = self.used.get(i, [])
        return uses[0] if len(uses) == 1 and i not in self.kept else None

    def other(self, n, i):
        return n.ins[1] if n.ins[0] == i else n.ins[0]

    def unused(self, i):
        return i not in self.used and i not in self.kept

    # --- names of values -----------------------------------------------------

    def say(self, line):
        self.lines.append(line)

    def as_graph(self, i):
        if i not in self.v:
            v = self.values[i]
            if i in self.c:
                self.v[i] = f"v{i}"
                self.say(f"v{i} = {self.c[i]}.permute(0, 2, 3, 1)")
            elif v["kind"] == "const":
                self.v[i] = f"self.constant_{i}"
            else:
                self.v[i] = "self." + self.attr[i] + {"conv": ".permute(2, 3, 1, 0)", "linear": ".t()",
                                                      None: ""}[self.storage.get(i)]
        return self.v[i]

    def as_image(self, i):
        """[n, c, h, w] of a value of rank 4; of a smaller one what broadcasts against it."""
        if i in self.c:
            return self.c[i]
        x, shape = self.as_graph(i), self.shape(i)
        if not shape:
            return x
        if len(shape) == 1:
            return f"{x}.view(-1, 1, 1)"
        if len(shape) < 4:
            return f"{x}.reshape({(1,) * (4 - len(shape)) + tuple(shape)}).permute(0, 3, 1, 2)"
        self.c[i] = f"c{i}"
        self.say(f"c{i} = {x}.permute(0, 3, 1, 2).contiguous(memory_format=layout)")
        return self.c[i]

    def put(self, i, text, image=False):
        self.origin.setdefault(i, image)
        (self.c if image else self.v)[i] = f"{'c' if image else 'v'}{i}"
        self.say(f"{'c' if image else 'v'}{i} = {text}")

    def wants_image(self, n, out):
        return self.rank(out) == 4 and any(i in self.c for i in n.ins)

    def operand(self, i, image, tensor):
        x = self.number(i)
        if x is not None and not tensor:
            return str(int(x)) if self.values[i]["dtype"] in ("i32", "i64", "u8") else literal(x)
        return self.as_image(i) if image else self.as_graph(i)

    def _drop(self, n):
        """Deletes what no node after n reads, of what n and the nodes taken into it read."""
        read = {i for m in self.live if m is n or m.index in self.skip - self.dropped for i in m.ins}
        self.dropped |= self.skip
        gone = [name for i in read if i not in self.kept
                and all(m.index <= n.index or m.index in self.skip for m in self.used[i])
                for name in (self.v.get(i), self.c.get(i)) if name and re.fullmatch(r"[vc]\d+", name)]
        if gone:
            self.say("del " + ", ".join(sorted(gone)))

    # --- the module ----------------------------------------------------------

    def _write(self):
        for v in self.leaves["input"]:
            image = self.images and len(v["shape"]) == 4 and v["dtype"] in ("f32", "f64")
            (self.c if image else self.v)[v["id"]] = name = "x_" + re.sub(r"\W", "_", v["name"])
            self.origin[v["id"]] = image
            if v["id"] in self.sloped:
                self.say(f"{name} = {name}.detach().requires_grad_()")
        for n in self.live:
            if n.index in self.skip:
                continue
            if n.op in ELEMENTWISE:
                self._elementwise(n)
            elif n.op in self.LOSSES:
                self._loss(n)
            elif n.op in RANDOM:
                self._random(n)
            elif hasattr(self, "op_" + n.op):
                getattr(self, "op_" + n.op)(n)
            else:
                raise Unsupported(f"op {n.op} ({n.path}) has no PyTorch form in tools/bench_source.py")
            self._drop(n)
        outs = "".join(f"{self.operand(i, False, True)}, " for i in self.outputs.values())
        news = "".join(f"{self.operand(i, False, False)}, " for leaf, i in self.stores if leaf not in self.running)
        self.say(f"return ({outs}), ({news})")

    def stored(self):
        """The states that the second result of forward holds, in order."""
        return [leaf for leaf, _ in self.stores if leaf not in self.running]

    def input_names(self):
        return [self.c.get(v["id"], self.v.get(v["id"])) for v in self.leaves["input"]]

    def text(self):
        head = "".join(f", {name}" for name in self.input_names())
        return f"class Model(nn.Module):\n    def forward(self{head}):\n" + "".join(
            f"        {line}\n" for line in self.lines)

    # --- elementwise ---------------------------------------------------------

    def _elementwise(self, n):
        out, numbers = n.outs[0], [self.number(i) for i in n.ins]
        image = self.wants_image(n, out)
        tensor = n.op in TENSORS_ONLY or None not in numbers and n.op != "copy"
        names = dict(zip("xyz", (self.operand(i, image, tensor) for i in n.ins)))
        kinked = self._kink(n, image) if n.op in KINKS else None
        self.put(out, kinked or ELEMENTWISE[n.op].format(**names, **n.p), image)

    def op_where(self, n):
        cond, a, b = n.ins
        out, image = n.outs[0], self.wants_image(n, n.outs[0])
        test = self.operand(cond, image, True)
        if self.values[cond]["dtype"] != "bool":
            test = f"({test} != 0)"
        x, y = self.operand(a, image, False), self.operand(b, image, False)
        if self.number(b) is not None and self.shape(a) == self.shape(out):
            self.put(out, f"{x}.masked_fill(~{test}, {y})", image)
        elif self.number(a) is not None and self.shape(b) == self.shape(out):
            self.put(out, f"{y}.masked_fill({test}, {x})", image)
        else:
            self.put(out, f"torch.where({test}, {x}, {y})", image)

    def op_cast(self, n):
        image, to = n.ins[0] in self.c, n.p["to"]
        x = self.operand(n.ins[0], image, True)
        kinds = {"i32": ".long()", "i64": ".long()", "u8": ".to(torch.uint8)", "bool": " != 0",
                 "bf16": ".to(torch.bfloat16)"}
        self.put(n.outs[0], x + kinds.get(to, ".to(dtype)"), image)

    def op_dropout(self, n):
        image = n.ins[0] in self.c
        x = self.operand(n.ins[0], image, True)
        if self.given:
            self.drawn.append((n.path, n.outs[0], n.p["p"]))
            mask = f'given["{n.path}"]' + (".permute(0, 3, 1, 2)" if image else "")
            self.put(n.outs[0], f"{x} * {mask}", image)
        else:
            self.put(n.outs[0], f"F.dropout({x}, {n.p['p']})", image)

    def op_gradient(self, n):
        """By the parameter or the tensor that `of` was computed from, not by a view of it that was made since."""
        (of, to), y = n.ins, n.outs[0]
        loss = self.as_graph(of) + (".sum()" if self.rank(of) else "")
        image, back = self.origin.get(to, False), ""
        if to in self.attr:
            x = "self." + self.attr[to]
            back = {"conv": ".permute(2, 3, 1, 0)", "linear": ".t()"}.get(self.storage.get(to), "")
        else:
            x = (self.c if image else self.v)[to]
        create = ", create_graph=True" if n.p["again"] else ""
        self.put(y, f"torch.autograd.grad({loss}, {x}, retain_graph=True{create})[0]{back}", image)

    # --- shapes --------------------------------------------------------------

    def op_reshape(self, n):
        self.put(n.outs[0], f"{self.as_graph(n.ins[0])}.reshape({tuple(self.shape(n.outs[0]))})")

    def op_transpose(self, n):
        axes = n.p["axes"] or list(reversed(range(self.rank(n.ins[0]))))
        self.put(n.outs[0], f"{self.as_graph(n.ins[0])}.permute({tuple(axes)})")

    def op_broadcast_to(self, n):
        self.put(n.outs[0], f"{self.as_graph(n.ins[0])}.expand({tuple(self.shape(n.outs[0]))})")

    def _axis(self, n, image):
        axis = n.p["axis"] % self.rank(n.ins[0])
        return IMAGE_AXIS[axis] if image else axis

    def op_concat(self, n):
        image = self.wants_image(n, n.outs[0])
        xs = ", ".join(self.operand(i, image, True) for i in n.ins)
        self.put(n.outs[0], f"torch.cat(({xs}), {self._axis(n, image)})", image)

    def _range(self, n, image, start, length, step):
        cut = f"{start}:{start + (length - 1) * step + 1}" + (f":{step}" if step > 1 else "")
        return "[" + ":, " * self._axis(n, image) + cut + "]"

    def op_slice(self, n):
        image, axis = n.ins[0] in self.c, n.p["axis"] % self.rank(n.ins[0])
        start = n.p["start"] % self.shape(n.ins[0])[axis]
        cut = self._range(n, image, start, self.shape(n.outs[0])[axis], n.p["step"])
        self.put(n.outs[0], self.operand(n.ins[0], image, True) + cut, image)

    def op_slice_input(self, n):
        g, y, axis = self.as_graph(n.ins[0]), n.outs[0], n.p["axis"] % self.rank(n.ins[0])
        self.put(y, f"{g}.new_zeros({tuple(self.shape(y))})")
        self.say(f"v{y}{self._range(n, False, n.p['start'], self.shape(n.ins[0])[axis], n.p['step'])} = {g}")

    def op_pad(self, n):
        image, mode = self.rank(n.ins[0]) == 4, n.p["mode"]
        order = (2, 1, 3, 0) if image else range(self.rank(n.ins[0]) - 1, -1, -1)
        pads = [x for a in order for x in (n.p["before"][a], n.p["after"][a])]
        while len(pads) > 2 and not any(pads[-2:]):
            del pads[-2:]
        how = ', mode="reflect"' if mode == "reflect" else ""
        self.put(n.outs[0], f"F.pad({self.operand(n.ins[0], image, True)}, {tuple(pads)}{how})", image)

    # --- sums ----------------------------------------------------------------

    def _reduce(self, n, name, more=""):
        i, axes, keep = n.ins[0], [a % self.rank(n.ins[0]) for a in n.p["axes"]], n.p["keep"]
        image = i in self.c and (keep or not axes or {1, 2} <= set(axes))
        axes = axes or list(range(self.rank(i)))
        dims = tuple(IMAGE_AXIS[a] if image else a for a in axes)
        x = self.operand(i, image, True)
        if len(axes) == self.rank(i) and not keep and name in ("sum", "mean"):
            self.put(n.outs[0], f"{x}.{name}()")
        else:
            self.put(n.outs[0], f"{x}.{name}({dims}{more}, keepdim={keep})", image and keep)

    def op_sum(self, n):
        self._reduce(n, "sum")

    def op_mean(self, n):
        self._reduce(n, "mean")

    def op_max(self, n):
        self._reduce(n, "amax")

    def op_min(self, n):
        self._reduce(n, "amin")

    def op_variance(self, n):
        self._reduce(n, "var", f", unbiased={n.p['unbiased']}")

    def op_argmax(self, n):
        self.put(n.outs[0], f"{self.as_graph(n.ins[0])}.{n.op}({self._axis(n, False)}, keepdim={n.p['keep']})")

    op_argmin = op_argmax

    def op_sum_squares(self, n):
        self.put(n.outs[0], " + ".join(f"{self.operand(i, i in self.c, True)}.square().sum()" for i in n.ins))

    # --- products and convolutions -------------------------------------------

    def _bias(self, y):
        """The bias added to y and nothing else done with it: (its name, the sum's id); else (None, y)."""
        add = self.only_use(y)
        if add is None or add.op != "add" or add.ins[0] == add.ins[1]:
            return "None", y
        b = self.other(add, y)
        if self.kind(b) != "param" or self.shape(b) != self.shape(y)[-1:]:
            return "None", y
        self.skip.add(add.index)
        return self.as_graph(b), add.outs[0]

    def _weight(self, w):
        if self.storage.get(w) == "conv":
            return "self." + self.attr[w]
        return self.as_graph(w) + ".permute(3, 2, 0, 1)"

    def op_conv2d(self, n):
        x, w = self.as_image(n.ins[0]), self._weight(n.ins[1])
        bias, y = self._bias(n.outs[0])
        pad = sides(n.p["pad"])
        if pad[0] != pad[1] or pad[2] != pad[3]:
            x, pad = f"F.pad({x}, {(pad[2], pad[3], pad[0], pad[1])})", [0] * 4
        self.put(y, f"F.conv2d({x}, {w}, {bias}, {pair(n.p['stride'])}, {(pad[0], pad[2])}, "
                    f"{pair(n.p['dilation'])}, {n.p['groups']})", True)

    def op_conv2d_input(self, n):
        x, w = self.as_image(n.ins[0]), self._weight(n.ins[1])
        y, size, kernel = n.outs[0], self.shape(n.outs[0])[1:3], self.shape(n.ins[1])[:2]
        pad, stride, dilation = sides(n.p["pad"]), pair(n.p["stride"]), pair(n.p["dilation"])
        even = pad[0] == pad[1] and pad[2] == pad[3]
        bias, y = self._bias(y) if even else ("None", y)
        padding = (pad[0], pad[2]) if even else (0, 0)
        whole = size if even else (size[0] + pad[0] + pad[1], size[1] + pad[2] + pad[3])
        more = tuple(whole[a] + 2 * padding[a] - (self.shape(n.ins[0])[1 + a] - 1) * stride[a]
                     - dilation[a] * (kernel[a] - 1) - 1 for a in (0, 1))
        cut = "" if even else f"[:, :, {pad[0]}:{pad[0] + size[0]}, {pad[2]}:{pad[2] + size[1]}]"
        self.put(y, f"F.conv_transpose2d({x}, {w}, {bias}, {stride}, {padding}, {more}, {n.p['groups']}, "
                    f"{dilation}){cut}", True)

    def op_matmul(self, n):
        a, b = n.ins
        if self.attention and self._attention(n):
            return
        linear = self.rank(b) == 2 and self.kind(b) == "param" and not n.p["transpose_a"] and (
            n.p["transpose_b"] or self.storage[b] == "linear")
        if not linear:
            x = self.as_graph(a) + (".transpose(-1, -2)" if n.p["transpose_a"] else "")
            y = self.as_graph(b) + (".transpose(-1, -2)" if n.p["transpose_b"] else "")
            self.put(n.outs[0], f"{x} @ {y}")
            return
        w = "self." + self.attr[b] if not n.p["transpose_b"] else self.as_graph(b)
        bias, y = self._bias(n.outs[0])
        if a in self.c:
            self.put(y, f"F.conv2d({self.c[a]}, {w}[:, :, None, None], {bias})", True)
        else:
            self.put(y, f"F.linear({self.as_graph(a)}, {w}, {bias})")

    def op_matmul_packed(self, n):
        """The matrix that was packed is a state; here it is as F.linear wants it."""
        a, b = n.ins
        self.state_shape[b] = [n.p["columns"], self.shape(b)[1]]
        bias, y = self._bias(n.outs[0])
        self.put(y, f"F.linear({self.as_graph(a)}, {self.as_graph(b)}, {bias})")

    def _chain(self, n, keep):
        """From the scores q k' on: (scale, mask, dropout, the product with the values), or None."""
        scale, mask, drop, softmax, i = 1.0, None, 0.0, None, n.outs[0]
        while True:
            m = self.only_use(i)
            if m is None:
                return None
            keep.append(m.index)
            if m.op in ("mul", "div") and not softmax and m.ins[0] == i and self.number(m.ins[1]) is not None:
                factor = self.number(m.ins[1])
                scale *= factor if m.op == "mul" else 1 / factor
            elif m.op == "affine" and not softmax and m.p["offset"] == 0:
                scale *= m.p["scale"]
            elif m.op == "where" and not softmax and not mask and i == m.ins[1] and (self.number(m.ins[2]) or 0) < -1e8:
                mask = m.ins[0]
            elif m.op == "softmax" and not softmax and m.p["axis"] % self.rank(i) == self.rank(i) - 1:
                softmax = m
            elif m.op == "dropout" and softmax and not drop and not self.given:
                drop = m.p["p"]
            elif m.op == "matmul" and softmax and m.ins[0] == i and not m.p["transpose_a"] and not m.p["transpose_b"]:
                return scale, mask, drop, m
            else:
                return None
            i = m.outs[0]

    def _attention(self, n):
        """softmax(q k' scale, masked) v in one call, where the graph has just that."""
        if not n.p["transpose_b"] or n.p["transpose_a"] or self.rank(n.outs[0]) != 4:
            return False
        within = []
        found = self._chain(n, within)
        if not found:
            return False
        scale, mask, drop, end = found
        early = [i for i in (end.ins[1], mask) if i is not None and i in self.maker]
        if any(self.maker[i].index > n.index for i in early) or self.rank(end.ins[1]) != 4:
            return False
        q, k, v = (self.as_graph(i) for i in (n.ins[0], n.ins[1], end.ins[1]))
        m = self.as_graph(mask) if mask is not None else "None"
        if mask is not None and self.values[mask]["dtype"] != "bool":
            m = f"({m} != 0)"
        native = self.shape(n.ins[0])[-1] ** -0.5
        if abs(scale / native - 1) > 1e-6:
            q = f"({q} * {scale / native!r})"
        self.skip |= set(within)
        self.put(end.outs[0], f"F.scaled_dot_product_attention({q}, {k}, {v}, {m}, {drop})")
        return True

    def _scores(self, q, k, scale, causal, t, s):
        masked = f".masked_fill(torch.ones({t}, {s}, dtype=torch.bool).triu({s - t + 1}), -torch.inf)" if causal else ""
        return f"({q} @ {k}.transpose(-1, -2) * {scale!r}){masked}"

    def op_attention(self, n):
        if n.op == "attention_dropout" and self.given:
            raise Unsupported(f"weights dropped inside attention_dropout ({n.path}) cannot be taken over from outside")
        (count, t, c), (_, s, e), heads = self.shape(n.ins[0]), self.shape(n.ins[2]), n.p["heads"]
        q, k, v = (f"{self.as_graph(i)}.view({count}, {size}, {heads}, {width // heads}).transpose(1, 2)"
                   for i, size, width in zip(n.ins, (t, s, s), (c, c, e)))
        native, drop = (c // heads) ** -0.5, n.p.get("p", 0)
        scale = n.p["scale"] or native
        if not self.unused(n.outs[1]):
            self.put(n.outs[1], f"torch.logsumexp({self._scores(q, k, scale, n.p['causal'], t, s)}, -1)")
        if self.attention and (t == s or not n.p["causal"]):
            factor = f" * {scale / native!r}" if abs(scale / native - 1) > 1e-6 else ""
            y = f"F.scaled_dot_product_attention({q}{factor}, {k}, {v}, None, {drop}, {n.p['causal']})"
        else:
            weights = f"{self._scores(q, k, scale, n.p['causal'], t, s)}.softmax(-1)"
            y = (f"F.dropout({weights}, {drop})" if drop else weights) + f" @ {v}"
            y = f"({y})"
        self.put(n.outs[0], f"{y}.transpose(1, 2).reshape({count}, {t}, {e})")

    op_attention_dropout = op_attention

    def op_attention_step(self, n):
        """Keys and values of the positions before are states, which the newest's are written into."""
        (count, heads, room, width), (_, _, c), i = self.shape(n.ins[4]), self.shape(n.ins[0]), n.index
        q, k, v, keys, values, at = (self.as_graph(j) for j in n.ins)
        native = (c // heads) ** -0.5
        scale = n.p["scale"] or native
        self.running |= {n.ins[3], n.ins[4]}
        self.state_shape[n.ins[3]] = [count, heads, room, c // heads]     # as PyTorch wants them
        self.say(f"t{i} = int({at})")
        self.say(f"{keys}[:, :, t{i}], {values}[:, :, t{i}] = {k}.view({count}, {heads}, {c // heads}), "
                 f"{v}.view({count}, {heads}, {width})")
        q = f"{q}.view({count}, {heads}, 1, {c // heads})"
        k, v = f"{keys}[:, :, :t{i} + 1]", f"{values}[:, :, :t{i} + 1]"
        if self.attention:
            factor = f" * {scale / native!r}" if abs(scale / native - 1) > 1e-6 else ""
            y = f"F.scaled_dot_product_attention({q}{factor}, {k}, {v})"
        else:
            y = f"(({q} * {scale!r} @ {k}.transpose(-1, -2)).softmax(-1) @ {v})"
        self.put(n.outs[0], f"{y}.reshape({count}, 1, {heads * width})")

    def op_rotary(self, n):
        (count, t, c), heads = self.shape(n.ins[0]), n.p["heads"]
        half, i = c // heads // 2, n.index
        back = "-" if n.p["inverse"] else ""
        self.say(f"t{i} = {back}{self.as_graph(n.ins[1])}[:, None] * torch.tensor({n.p['base']!r}, dtype=dtype) ** "
                 f"(-torch.arange({half}, dtype=dtype) / {half})")
        self.say(f"a{i}, b{i} = {self.as_graph(n.ins[0])}.view({count}, {t}, {heads}, 2, {half}).unbind(3)")
        self.say(f"s{i}, t{i} = t{i}.sin()[:, None], t{i}.cos()[:, None]")
        self.put(n.outs[0], f"torch.stack((a{i} * t{i} - b{i} * s{i}, a{i} * s{i} + b{i} * t{i}), 3)"
                            f".view({count}, {t}, {c})")
        self.say(f"del a{i}, b{i}, s{i}, t{i}")

    # --- tables --------------------------------------------------------------

    def op_nearest(self, n):
        x, table = self.as_graph(n.ins[0]), self.as_graph(n.ins[1])
        d = self.shape(n.ins[1])[1]
        if self.given:      # ties, and near ties, are for the caller to judge
            self.drawn.append((n.path, n.outs[0], None))
            self.put(n.outs[0], f'given["{n.path}"]')
            self.say(f'choices["{n.path}"] = {x}.detach(), {table}.detach(), v{n.outs[0]}')
            return
        self.say(f"t{n.index} = {table}.detach()")
        self.put(n.outs[0], f"torch.addmm(t{n.index}.square().sum(1), {x}.detach().reshape(-1, {d}), t{n.index}.t(), "
                            f"alpha=-2).argmin(1).view({tuple(self.shape(n.outs[0]))})")
        self.say(f"del t{n.index}")

    def op_kmeans(self, n):
        x, table, done = (self.as_graph(i) for i in n.ins)
        y, (codes, d) = n.outs[0], self.shape(n.ins[1])
        if self.given:
            self.drawn.append((n.path, y, None))
            self.put(y, f'given["{n.path}"]')
            return
        self.put(y, f"{table}.detach()")
        self.say(f"if {done} == 0:")
        self.say(f"    rows = {x}.detach().reshape(-1, {d})")
        self.say(f"    for _ in range({n.p['iterations']}):")
        self.say(f"        near = torch.addmm(v{y}.square().sum(1), rows, v{y}.t(), alpha=-2).argmin(1)")
        self.say(f"        uses = torch.bincount(near, minlength={codes})[:, None]")
        self.say(f"        v{y} = torch.where(uses > 0, torch.zeros_like(v{y}).index_add(0, near, rows) / uses, v{y})")

    def op_nearest_books(self, n):
        x, (books, _, d), k = self.as_graph(n.ins[0]), self.shape(n.ins[1]), n.index
        lead, codes, rests = tuple(self.shape(n.outs[0])[:-1]), [], []
        self.say(f"t{k} = {self.as_graph(n.ins[1])}.detach()")
        for b in range(books):
            if n.p["residual"]:
                self.say(f"r{k}_{b} = " + (f"r{k}_{b - 1} - F.embedding(i{k}_{b - 1}, t{k}[{b - 1}])" if b else x))
            else:
                self.say(f"r{k}_{b} = {x}[..., {b * d}:{b * d + d}]")
            self.say(f"i{k}_{b} = (r{k}_{b}.detach().reshape(-1, 1, {d}) - t{k}[{b}]).square().sum(-1).argmin(1).view({lead})")
            codes.append(f"i{k}_{b}")
            rests.append(f"r{k}_{b}")
        self.put(n.outs[0], f"torch.stack(({', '.join(codes)},), -1)")
        self.put(n.outs[1], f"torch.stack(({', '.join(rests)},), -2)")

    def op_number_books(self, n):
        books = self.shape(n.ins[0])[-1]
        self.put(n.outs[0], f"{self.as_graph(n.ins[0])} + torch.arange({books}) * {n.p['size']}")

    # --- codes of levels and signs -------------------------------------------

    def op_fsq_bound(self, n):
        x, levels = self.as_graph(n.ins[0]), n.p["levels"]
        half = [(l - 1) * (1 - 1e-3) / 2 for l in levels]
        offset = [0 if l % 2 else 0.5 for l in levels]
        shift = [math.tan(o / h) for o, h in zip(offset, half)]
        rows = [f"torch.tensor({v}, dtype=dtype)" for v in (shift, half, offset, [l // 2 for l in levels])]
        self.put(n.outs[0], "(({} + {}).tanh() * {} - {}) / {}".format(x, *rows))

    def _basis(self, levels):
        return [math.prod(levels[:i]) for i in range(len(levels))]

    def op_fsq_code(self, n):
        x, levels = self.as_graph(n.ins[0]), n.p["levels"]
        width = f"torch.tensor({[l // 2 for l in levels]})"
        self.put(n.outs[0], f"((({x}.detach() * {width}).round().long() + {width}) * torch.tensor({self._basis(levels)})).sum(-1)")

    def op_fsq_lookup(self, n):
        levels = n.p["levels"]
        width = f"torch.tensor({[l // 2 for l in levels]})"
        self.put(n.outs[0], f"(({self.as_graph(n.ins[0])}.unsqueeze(-1) // torch.tensor({self._basis(levels)}) % "
                            f"torch.tensor({levels}) - {width}) / {width}).to(dtype)")

    def op_sign_code(self, n):
        self.put(n.outs[0], f"(({self.as_graph(n.ins[0])} > 0) * 2 ** torch.arange({self.shape(n.ins[0])[-1]})).sum(-1)")

    def op_sign_lookup(self, n):
        self.put(n.outs[0], f"({self.as_graph(n.ins[0])}.unsqueeze(-1) // 2 ** torch.arange({n.p['dim']}) % 2 * 2 - 1)"
                            ".to(dtype)")

    def op_reshape_like(self, n):
        self.op_reshape(n)

    def op_lookup(self, n):
        table, index = (self.as_graph(i) for i in n.ins)
        self.put(n.outs[0], f"F.embedding({index}, {table})" if self.rank(n.ins[0]) == 2 else f"{table}[{index}]")

    def op_scatter_add(self, n):
        index, x = (self.as_graph(i) for i in n.ins)
        shape = tuple(self.shape(n.outs[0]))
        self.put(n.outs[0], f"{x}.new_zeros({shape}).index_add(0, {index}.reshape(-1), "
                            f"{x}.reshape({(-1,) + shape[1:]}))")

    def op_count(self, n):
        index = self.as_graph(n.ins[0])
        count = 1
        for s in self.shape(n.ins[0]):
            count *= s
        self.put(n.outs[0], f"torch.zeros({n.p['size']}, dtype=dtype).index_add(0, {index}.reshape(-1), "
                            f"torch.ones({count}, dtype=dtype))")

    def op_positions(self, n):
        self.put(n.outs[0], f"torch.arange({self.shape(n.outs[0])[0]})")

    def op_reorder(self, n):
        shape, count = self.shape(n.ins[0]), self.shape(n.outs[0])[1]
        width = n.p["width"] or (shape[2] if len(shape) == 3 else round(count ** 0.5))
        cell = list(range(count))
        if n.p["order"] == "s_curve":
            cell.sort(key=lambda i: (i // width, i % width * (-1) ** (i // width % 2)))
        elif n.p["order"] == "z_curve":
            cell.sort(key=lambda i: sum((i // width >> b & 1) << 2 * b + 1 | (i % width >> b & 1) << 2 * b
                                        for b in range(count.bit_length())))
        if n.p["inverse"]:
            cell = [cell.index(i) for i in range(count)]
        self.put(n.outs[0], f"{self.as_graph(n.ins[0])}.reshape({shape[0]}, {count})[:, {cell}]")

    def op_one_hot(self, n):
        self.put(n.outs[0], f"F.one_hot({self.as_graph(n.ins[0])}, {n.p['size']}).to(dtype)")

    # --- random numbers ------------------------------------------------------

    def _random(self, n):
        y, shape, p = n.outs[0], tuple(self.shape(n.outs[0])), n.p
        if self.given:
            self.drawn.append((n.path, y, None))
            self.put(y, f'given["{n.path}"]')
        elif n.op == "random_rows":
            x, size = self.as_graph(n.ins[0]), self.shape(n.ins[0])
            rows = 1
            for s in size[:-1]:
                rows *= s
            pick = (f"torch.randperm({rows})[:{shape[0]}]" if rows >= shape[0] else
                    f"torch.randint({rows}, ({shape[0]},))")
            self.put(y, f"{x}.reshape(-1, {shape[-1]})[{pick}]")
        elif n.op.startswith("random_integer"):
            self.put(y, f"torch.randint({p['from']}, {p['below']}, {shape})")
        elif n.op.startswith("random_uniform"):
            self.put(y, f"torch.rand({shape}, dtype=dtype) * {p['high'] - p['low']!r} + {p['low']}")
        else:
            self.put(y, f"torch.randn({shape}, dtype=dtype) * {p['deviation']} + {p['mean']}")

    # --- pools and sizes -----------------------------------------------------

    def op_max_pool2d(self, n):
        x, kernel, pad, around = self.as_image(n.ins[0]), pair(n.p["kernel"]), sides(n.p["pad"]), "{x}"
        if pad[0] != pad[1] or pad[2] != pad[3] or max(pad[0] * 2 - kernel[0], pad[2] * 2 - kernel[1]) > 0:
            around, pad = f'F.pad({{x}}, {(pad[2], pad[3], pad[0], pad[1])}, value=float("-inf"))', [0] * 4
        stride = pair(n.p["stride"] or n.p["kernel"])
        self.put(n.outs[0], self._max_pool(n, x, around, f"{kernel}, {stride}, {(pad[0], pad[2])}"), True)

    def op_avg_pool2d(self, n):
        x, kernel, pad = self.as_image(n.ins[0]), pair(n.p["kernel"]), sides(n.p["pad"])
        if pad[0] != pad[1] or pad[2] != pad[3] or max(pad[0] * 2 - kernel[0], pad[2] * 2 - kernel[1]) > 0:
            x, pad = f"F.pad({x}, {(pad[2], pad[3], pad[0], pad[1])})", [0] * 4
        stride = pair(n.p["stride"] or n.p["kernel"])
        self.put(n.outs[0], f"F.avg_pool2d({x}, {kernel}, {stride}, {(pad[0], pad[2])})", True)

    def op_resize(self, n):
        size = tuple(self.shape(n.outs[0])[1:3])
        how = ', mode="bilinear", align_corners=False' if n.p["mode"] == "bilinear" else ""
        self.put(n.outs[0], f"F.interpolate({self.as_image(n.ins[0])}, {size}{how})", True)


def index_limits(graph):
    """How many different values each integer input may have, as its readers tell."""
    values, limit = graph["values"], {}
    alias = {}
    for n in graph["nodes"]:
        p = n["params"]
        if n["op"] in ("reshape", "stop", "copy", "slice", "concat", "transpose", "broadcast_to"):
            alias.setdefault(n["out"][0], []).extend(n["in"])
        for port, i in enumerate(n["in"]):
            size = None
            if n["op"] == "lookup" and port == 1:
                size = values[n["in"][0]]["shape"][0]
            elif n["op"] in ("one_hot", "count", "scatter_add") and port == 0:
                size = int(p["size"])
            elif n["op"] == "cross_entropy" and port == 1:
                size = values[n["in"][0]]["shape"][-1]
            todo = [i] if size else []
            while todo:
                k = todo.pop()
                limit[k] = min(size, limit.get(k, size))
                todo += alias.get(k, [])
    return {v["name"]: limit.get(v["id"], 2) for v in values if v["kind"] == "input" and v["dtype"] in ("i32", "i64")}


def load(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)["graphs"][0]
