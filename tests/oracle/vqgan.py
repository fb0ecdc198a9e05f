"""lib/vqgan.yaml and lib/features.yaml in PyTorch: encoder and decoder, discriminator, losses."""
import re

import torch
from torch import nn
from torch.nn import functional as F


def norm(channels):
    return nn.GroupNorm(32, channels, eps=1e-6)


class Pixels(nn.Linear):
    """A 1x1 convolution."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Unit(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.norm1, self.conv1 = norm(i), nn.Conv2d(i, o, 3, padding=1)
        self.norm2, self.conv2 = norm(o), nn.Conv2d(o, o, 3, padding=1)
        if i != o:
            self.shortcut = Pixels(i, o)

    def forward(self, x):
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (self.shortcut(x) if hasattr(self, "shortcut") else x)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm, self.q, self.k, self.v, self.out = norm(c), Pixels(c, c), Pixels(c, c), Pixels(c, c), Pixels(c, c)

    def forward(self, x):
        n, c, h, w = x.shape
        q, k, v = (f(self.norm(x)).reshape(n, c, h * w) for f in (self.q, self.k, self.v))
        score = (q.transpose(1, 2) @ k * c ** -0.5).softmax(-1)
        return x + self.out((v @ score.transpose(1, 2)).reshape(n, c, h, w))


class Middle(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.first, self.attention, self.second = Unit(c, c), Attention(c), Unit(c, c)

    def forward(self, x):
        return self.second(self.attention(self.first(x)))


class AttendedUnit(nn.Module):
    def __init__(self, i, o, attended):
        super().__init__()
        self.residual = Unit(i, o)
        if attended:
            self.attention = Attention(o)

    def forward(self, x):
        x = self.residual(x)
        return self.attention(x) if hasattr(self, "attention") else x


class Level(nn.Sequential):
    def __init__(self, i, o, blocks, attended):
        super().__init__(*[AttendedUnit(o if k else i, o, attended) for k in range(blocks)])


class Encoder(nn.Module):
    """mult: of the levels; size: height of the images."""

    def __init__(self, channels, width, mult, blocks, size, attention, out):
        super().__init__()
        self.conv_in, c = nn.Conv2d(channels, width, 3, padding=1), width
        self.levels, self.halves = nn.ModuleList(), nn.ModuleList()
        for k, m in enumerate(mult):
            self.levels.append(Level(c, width * m, blocks, size >> k == attention))
            c = width * m
            if k + 1 < len(mult):
                self.halves.append(nn.Conv2d(c, c, 3, 2))
        self.middle, self.norm = Middle(c), norm(c)
        self.conv_out, self.quant = nn.Conv2d(c, out, 3, padding=1), Pixels(out, out)

    def forward(self, x):
        x = self.conv_in(x)
        for k, level in enumerate(self.levels):
            x = level(x)
            if k < len(self.halves):
                x = self.halves[k](F.pad(x, (0, 1, 0, 1)))
        return self.quant(self.conv_out(F.silu(self.norm(self.middle(x)))))


class Decoder(nn.Module):
    def __init__(self, channels, width, mult, blocks, size, attention, z):
        super().__init__()
        c = width * mult[-1]
        self.post_quant, self.conv_in, self.middle = Pixels(z, z), nn.Conv2d(z, c, 3, padding=1), Middle(c)
        levels, doubles = [], []
        for k in reversed(range(len(mult))):
            levels.append(Level(c, width * mult[k], blocks + 1, size >> k == attention))
            c = width * mult[k]
            if k:
                doubles.append(nn.Conv2d(c, c, 3, padding=1))
        self.levels, self.doubles = nn.ModuleList(levels[::-1]), nn.ModuleList(doubles[::-1])
        self.norm, self.last = norm(c), nn.Conv2d(c, channels, 3, padding=1)

    def forward(self, z):
        x = self.middle(self.conv_in(self.post_quant(z)))
        for k in reversed(range(len(self.levels))):
            x = self.levels[k](x)
            if k:
                x = self.doubles[k - 1](F.interpolate(x, scale_factor=2, mode="nearest"))
        return self.last(F.silu(self.norm(x)))


class Discriminator(nn.Module):
    def __init__(self, channels, width, layers):
        super().__init__()
        self.first, self.convs, self.norms = nn.Conv2d(channels, width, 4, 2), nn.ModuleList(), nn.ModuleList()
        c = width
        for k in range(layers):
            o = min(2 * c, 8 * width)
            self.convs.append(nn.Conv2d(c, o, 4, 2 if k + 1 < layers else 1, bias=False))
            self.norms.append(nn.BatchNorm2d(o))
            c = o
        self.last = nn.Conv2d(c, 1, 4)

    def forward(self, x):
        x = F.leaky_relu(self.first(F.pad(x, (1, 1, 1, 1), mode="reflect")), 0.2)
        for f, n in zip(self.convs, self.norms):
            x = F.leaky_relu(n(f(F.pad(x, (1, 1, 1, 1), mode="reflect"))), 0.2)
        return self.last(F.pad(x, (1, 1, 1, 1), mode="reflect"))


def level_of(x):
    """What the activations of a layer add to the vector that distances are measured in."""
    n, _, h, w = x.shape
    return (x / x.square().sum(1, keepdim=True).clamp(min=1e-24).sqrt() / (h * w) ** 0.5).reshape(n, -1)


class Seer(nn.Module):
    """The net of graphs/features_cifar10.yaml."""

    def __init__(self, channels, width, classes):
        super().__init__()
        ends = [channels, width, 2 * width, 4 * width]
        for name, i, o in zip(("fine", "middle", "coarse"), ends, ends[1:]):
            self.add_module(name, nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(),
                                                nn.Conv2d(o, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU()))
        self.logits = nn.Linear(4 * width, classes)

    def forward(self, x):
        fine = self.fine(x)
        middle = self.middle(F.max_pool2d(fine, 2))
        return torch.cat([level_of(y) for y in (fine, middle, self.coarse(F.max_pool2d(middle, 2)))], 1)


def losses(model, image, o):
    """All that a step computes: {name: scalar}.  o: beta, perceptual, judge, generator, factor, limit, clamp, r1, pixels."""
    z = model.enc(image).permute(0, 2, 3, 1)
    code = torch.cdist(z.reshape(-1, z.shape[-1]), model.book).argmin(-1)
    e = model.book[code].reshape(z.shape)
    if isinstance(model.book, nn.Parameter):
        vq = F.mse_loss(e, z.detach()) + o["beta"] * F.mse_loss(z, e.detach())
    else:
        vq = o["beta"] * F.mse_loss(z, e)
    recon = model.dec((z + (e - z).detach()).permute(0, 3, 1, 2))
    y = {"pixel_loss": o["pixels"](recon - image).mean()}
    apart = model.features(recon) - model.features(image)
    y["perceptual_loss"] = apart.square().sum(1).mean()
    y["recon_loss"] = y["pixel_loss"] + o["perceptual"] * y["perceptual_loss"]
    y["loss"] = y["recon_loss"] + vq

    def judged(x):
        x = model.disc(x)
        return x.clamp(-o["clamp"], o["clamp"]) if o["clamp"] else x
    hoped = o["generator"](judged(recon)).mean()
    pull, = torch.autograd.grad(y["recon_loss"], model.dec.last.weight, retain_graph=True)
    push, = torch.autograd.grad(hoped, model.dec.last.weight, retain_graph=True)
    y["weight"] = o["factor"] * (pull.norm() / (push.norm() + 1e-4)).clamp(0, o["limit"])
    y["adversarial_loss"] = hoped
    y["gan_loss"] = y["loss"] + y["weight"] * hoped
    if o["r1"]:
        image = image.detach().requires_grad_()
    fake, real = judged(recon.detach()), judged(image)
    y["logits_real"], y["logits_fake"] = real.mean(), fake.mean()
    y["disc_loss"] = 0.5 * (o["judge"](real).mean() + o["judge"](-fake).mean())
    if o["r1"]:
        slope, = torch.autograd.grad(real.mean((1, 2, 3)).sum(), image, create_graph=True)
        y["disc_loss"] = y["disc_loss"] + o["r1"] * 0.5 * slope.square().sum((1, 2, 3)).mean()
    return y


# --- names -------------------------------------------------------------------

RULES = [
    (r"\.unit\.(\d+)\.", r".\1."), (r"groupnorm\.0", "norm1"), (r"groupnorm\.1", "norm2"), (r"\.inner\.", ".conv2."),
    (r"((?:residual|first|second))\.conv\.0", r"\1.conv1"), (r"^enc\.conv\.0", "enc.conv_in"), (r"^enc\.conv\.1", "enc.conv_out"),
    (r"^dec\.conv\.0", "dec.conv_in"), (r"\.scale$", ".weight"), (r"\.shift$", ".bias"),
    (r"disc\.patch_conv\.0", "disc.first"), (r"disc\.patch_conv\.1", "disc.last"),
    (r"disc\.patch_layer\.(\d+)\.patch_conv\.0", r"disc.convs.\1"), (r"disc\.patch_layer\.(\d+)\.batchnorm\.0", r"disc.norms.\1"),
    (r"^features\.net\.(fine|middle|coarse)\.conv\.0", r"features.\1.0"), (r"^features\.net\.(fine|middle|coarse)\.batchnorm\.0", r"features.\1.1"),
    (r"^features\.net\.(fine|middle|coarse)\.conv\.1", r"features.\1.3"), (r"^features\.net\.(fine|middle|coarse)\.batchnorm\.1", r"features.\1.4"),
    (r"^features\.net\.logits", "features.logits"), (r"^vq\.book", "book"),
]


def numbered(name):
    """level1 is levels.0 there, half1 halves.0, double1 doubles.0."""
    for ours, theirs in ("level", "levels"), ("half", "halves"), ("double", "doubles"):
        name = re.sub(rf"\.{ours}(\d+)(?:\.conv\.0)?\." if ours != "level" else rf"\.{ours}(\d+)\.",
                      lambda m, t=theirs: f".{t}.{int(m[1]) - 1}.", name)
    return name


def translated(name):
    name = numbered(name)
    for pattern, to in RULES:
        name = re.sub(pattern, to, name)
    return name
