"""
bench_kinks -- ops of bench_source whose derivative jumps: the side that a value is on can be taken over from vqgraph

Beside a kink rounding decides the side, and with it the whole of an element's gradient. With `sides` the module computes
what it always does, but each element is on the side that vqgraph's own value of the operand is on; the caller judges
whether those values are right.
"""

# x: the operand, s: its side as vqgraph has it, g: vqgraph's operand; how a side is told, and the op with sides given.
KINKS = {
    "relu": ("{x} > 0", "{x} * {s}"),
    "leaky_relu": ("{x} > 0", "torch.where({s}, {x}, {x} * {slope})"),
    "abs": ("{x}.sign()", "{x} * {s}"),
    "clamp": ("({x} >= {low}) & ({x} <= {high})", "torch.where({s}, {x}, {g}.clamp({low}, {high}))"),
}


class Kinks:
    """The part of bench_source.Source for these ops."""

    def _side(self, n, x, side, image):
        """Names of vqgraph's operand and of its side; None where the operand is a leaf, the same on both sides."""
        maker = self.maker.get(n.ins[0])
        if not self.sides or maker is None or maker.outs[0] != n.ins[0] or not maker.path:
            return None
        self.kinks[maker.path] = n.ins[0]
        g, s = f"g{n.index}", f"s{n.index}"
        self.say(f'{g} = given["side of {maker.path}"]' + (".permute(0, 3, 1, 2)" if image else ""))
        self.say(f"{s} = {side.format(x=g, **n.p)}")
        self.say(f'crossed[{n.index}] = {x}.detach(), {g}, int(({s} != ({side.format(x=x, **n.p)})).sum())')
        return g, s

    def _kink(self, n, image):
        """The op's text with its sides given, None without."""
        x, (side, text) = self.operand(n.ins[0], image, True), KINKS[n.op]
        found = self._side(n, x, side, image)
        return found and text.format(x=x, g=found[0], s=found[1], **n.p)

    def _max_pool(self, n, x, pad, how):
        """A pool's text; its sides are places in the image. pad: the image with what stands around it, as text of {x}."""
        found = self._side(n, x, f"F.max_pool2d({pad}, {how}, return_indices=True)[1]", True)
        if not found:
            return f"F.max_pool2d({pad.format(x=x)}, {how})"
        return f"{pad.format(x=x)}.flatten(2).gather(2, {found[1]}.flatten(2)).view({found[1]}.shape)"
