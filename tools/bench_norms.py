"""
bench_norms -- softmax, norms and losses of bench_source: what PyTorch has one call for and a graph several nodes
"""
import math


class Unsupported(Exception):
    """An op that has no PyTorch form here."""


class Norms:
    """The part of bench_source.Source for these ops."""

    LOSSES = {"mse": "F.mse_loss", "l1": "F.l1_loss", "huber": "F.huber_loss",
              "bce_logits": "F.binary_cross_entropy_with_logits"}

    def op_softmax(self, n):
        image = n.ins[0] in self.c
        self.put(n.outs[0], f"F.{n.op}({self.operand(n.ins[0], image, True)}, {self._axis(n, image)})", image)

    op_log_softmax = op_softmax

    def op_logsumexp(self, n):
        self.put(n.outs[0], f"torch.logsumexp({self.as_graph(n.ins[0])}, {self._axis(n, False)}, {n.p['keep']})")

    def _affine(self, y, shape):
        """y * scale + shift and nothing else done with y: names of both and the id of the end."""
        mul = self.only_use(y)
        if mul is None or mul.op != "mul":
            return "None", "None", y
        add, scale = self.only_use(mul.outs[0]), self.other(mul, y)
        if add is None or add.op != "add" or self.shape(scale) != shape or self.kind(scale) != "param":
            return "None", "None", y
        shift = self.other(add, mul.outs[0])
        if self.shape(shift) != shape or self.kind(shift) != "param":
            return "None", "None", y
        self.skip |= {mul.index, add.index}
        return self.as_graph(scale), self.as_graph(shift), add.outs[0]

    def _statistics(self, n, text):
        if not (self.unused(n.outs[1]) and self.unused(n.outs[2])):
            self.put(n.outs[2], text)
            self.lines[-1] = self.lines[-1].replace(f"v{n.outs[2]} =", f"v{n.outs[2]}, v{n.outs[1]} =", 1)
            self.v[n.outs[1]] = f"v{n.outs[1]}"

    def op_layer_norm(self, n):
        shape = self.shape(n.ins[0])[-n.p["axes"]:]
        x = self.as_graph(n.ins[0])
        dims = tuple(range(-n.p["axes"], 0))
        self._statistics(n, f"torch.var_mean({x}, {dims}, unbiased=False, keepdim=True)")
        scale, shift, y = self._affine(n.outs[0], shape)
        self.put(y, f"F.layer_norm({x}, {tuple(shape)}, {scale}, {shift}, {n.p['eps']})")

    def op_layer_norm_affine(self, n):
        x, scale, shift = (self.as_graph(i) for i in n.ins)
        self._statistics(n, f"torch.var_mean({x}, -1, unbiased=False, keepdim=True)")
        self.put(n.outs[0], f"F.layer_norm({x}, {scale}.shape, {scale}, {shift}, {n.p['eps']})")

    def op_rms_norm(self, n):
        x = self.as_graph(n.ins[0])
        self.put(n.outs[1], f"{x}.square().mean(-1, keepdim=True)")
        self.put(n.outs[0], f"{x} * (v{n.outs[1]} + {n.p['eps']}).rsqrt()")

    def op_group_norm(self, n):
        i, shape = n.ins[0], self.shape(n.ins[0])
        if not (self.unused(n.outs[1]) and self.unused(n.outs[2])):
            raise Unsupported(f"statistics of group_norm ({n.path}) have no PyTorch form in tools/bench_source.py")
        scale, shift, y = self._affine(n.outs[0], shape[-1:])
        if len(shape) == 4:
            self.put(y, f"F.group_norm({self.as_image(i)}{self.widen}, {n.p['groups']}, {scale}, {shift}, {n.p['eps']})", True)
        else:
            self.put(y, f"F.group_norm({self.as_graph(i)}.movedim(-1, 1){self.widen}, {n.p['groups']}, {scale}, {shift}, "
                        f"{n.p['eps']}).movedim(1, -1)")

    def _average_of(self, i, most):
        """The state that i (times a factor up to `most`) is averaged into: its id, the decay, the nodes."""
        m, nodes = self.only_use(i), []
        if m is not None and m.op == "mul" and 1 <= (self.number(self.other(m, i)) or 0) <= most:
            nodes, i = [m.index], m.outs[0]
            m = self.only_use(i)
        if m is None or m.op != "ema" or m.ins[1] != i:
            return None
        leaf = self._state_of(m)
        return leaf and (*leaf, m.p["decay"], nodes + [m.index])

    def _state_of(self, m):
        """A norm may be called several times in a step, each call averaging into what the one before left: (the state,
        how often), None where anything else is done in between."""
        first, last, count = m, m, 1
        while first.ins[0] in self.maker:
            first, count = self.maker[first.ins[0]], count + 1
            if first.op != "ema" or self.only_use(first.outs[0]) is None:
                return None
        while (first.ins[0], last.outs[0]) not in self.stores:
            last, i, count = self.only_use(last.outs[0]), last.outs[0], count + 1
            if last is None or last.op != "ema" or last.ins[0] != i:
                return None
        return (first.ins[0], count) if self.used[first.ins[0]] == [first] else None

    def _averages(self, n):
        """The states that PyTorch's batch norm keeps itself: of mean and variance, as _average_of has them."""
        count = math.prod(self.shape(n.ins[0])[:-1])
        mean, variance = n.outs[-2:]
        found = [self._average_of(mean, 1), self._average_of(variance, 1.0001 * count / max(1, count - 1))]
        return found if all(found) and found[0][2] == found[1][2] else None

    def _find_running(self):
        """Only where all calls of a norm can: by node, what _averages gives."""
        found = {n.index: self._averages(n) for n in self.live if n.op in ("batch_norm", "batch_norm_affine")}
        calls = [a[0][0] for a in found.values() if a]
        pairs = {(a[0][0], a[1][0]) for a in found.values() if a}
        alone = {s for s in sum(pairs, ()) if sum(s in p for p in pairs) > 1}
        return {k: a for k, a in found.items() if a and a[0][1] == a[1][1] == calls.count(a[0][0])
                and not alone & {a[0][0], a[1][0]}}

    def op_batch_norm(self, n):
        scale, shift, y = self._affine(n.outs[0], self.shape(n.ins[0])[-1:])
        self._batch_norm(n, n.outs[1], n.outs[2], scale, shift, y)

    def op_batch_norm_affine(self, n):
        y, normal, mean, variance = n.outs
        if self.unused(normal):
            self._batch_norm(n, mean, variance, self.as_graph(n.ins[1]), self.as_graph(n.ins[2]), y)
            return
        self._batch_norm(n, mean, variance, "None", "None", normal)
        image = normal in self.c
        x, scale, shift = (self.operand(i, image, True) for i in (normal, n.ins[1], n.ins[2]))
        self.put(y, f"{x} * {scale} + {shift}", image)

    def _batch_norm(self, n, mean, variance, scale, shift, y):
        i, shape = n.ins[0], self.shape(n.ins[0])
        running = "None, None"
        momentum = 0
        averages = self.averages.get(n.index)
        if averages:
            for state, _, decay, nodes in averages:
                self.skip |= set(nodes)
                self.running.add(state)
                momentum = 1 - decay
            running = ", ".join("self." + self.attr[a[0]] for a in averages)
        elif not (self.unused(mean) and self.unused(variance)):
            dims = tuple(range(len(shape) - 1))
            self.put(variance, f"torch.var_mean({self.as_graph(i)}, {dims}, unbiased=False)")
            self.lines[-1] = self.lines[-1].replace(f"v{variance} =", f"v{variance}, v{mean} =", 1)
            self.v[mean] = f"v{mean}"
        image = len(shape) == 4
        x = self.as_image(i) if image else self.as_graph(i) + (f".reshape(-1, {shape[-1]})" if len(shape) != 2 else "")
        back = "" if image or len(shape) == 2 else f".reshape({tuple(shape)})"
        self.put(y, f"F.batch_norm({x}, {running}, {scale}, {shift}, True, {momentum}, {n.p['eps']}){back}", image)

    def _loss(self, n):
        image = any(i in self.c for i in n.ins)
        a, b = (self.operand(i, image, True) for i in n.ins)
        more = f", delta={n.p['delta']}" if n.op == "huber" else ""
        self.put(n.outs[0], f'{self.LOSSES[n.op]}({a}, {b}, reduction="{n.p["reduction"]}"{more})',
                 image and n.p["reduction"] == "none")

    def op_cross_entropy(self, n):
        x, index = self.as_graph(n.ins[0]), self.as_graph(n.ins[1])
        shape = self.shape(n.ins[0])
        none = n.p["reduction"] == "none"
        if not self.unused(n.outs[1]):
            self.put(n.outs[1], f"torch.logsumexp({x}, -1)")
        self.put(n.outs[0], f"F.cross_entropy({x}.reshape(-1, {shape[-1]}), {index}.reshape(-1), "
                            f'reduction="{n.p["reduction"]}", ignore_index={n.p["ignore"]}, '
                            f"label_smoothing={n.p['smoothing']})" + (f".reshape({tuple(shape[:-1])})" if none else ""))
