"""The field's recipes in Python, the other side of compare_torch.py degrade: OpenCV and NumPy for the wide one, PyTorch for the
batch part of the second-order one, written from the published description (the ranges are those of configs/degrade).

Started by compare_torch.py. Standard input takes one word a line and standard output gives one JSON object a line: the facts
once the pictures are loaded, `run` -> {"seconds", "value"}, `quit`. The value is the mean squared error of the degraded
pictures: both sides draw numbers of their own, so it agrees in the mean alone.

What the reference does the slow way is done the fast way here: f32 noise from NumPy's ziggurat, sharpening by two
one-dimensional passes (the reference convolves with 51 x 51 taps), chroma by pooling.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file, save_file

KINDS = ("iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso")
LUMA_TABLE = torch.tensor([
    [16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55], [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62], [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99]], dtype=torch.float32).T.contiguous()
CHROMA_TABLE = torch.full((8, 8), 99.0)
CHROMA_TABLE[:4, :4] = torch.tensor([[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]])


class Random:
    """Draws of one run, shared by both recipes."""

    def __init__(self, seed):
        self.generator = np.random.default_rng(seed)

    def uniform(self, low, high):
        return float(self.generator.uniform(low, high))

    def coin(self, probability):
        return self.uniform(0, 1) < probability

    def choice(self, options, weights=None):
        return options[self.generator.choice(len(options), p=weights)]

    def blur_kernel(self, size, kinds, weights, sigma, beta_generalized=(0.5, 4), beta_plateau=(1, 2)):
        kind = self.choice(kinds, weights)
        sigma_x = sigma_y = self.uniform(*sigma)
        theta = 0.0
        if kind.endswith("aniso"):
            sigma_y, theta = self.uniform(*sigma), self.uniform(-math.pi, math.pi)
        turn = np.array([[math.cos(theta), -math.sin(theta)], [math.sin(theta), math.cos(theta)]])
        inverse = np.linalg.inv(turn @ np.diag([sigma_x**2, sigma_y**2]) @ turn.T)
        line = np.arange(size) - size // 2
        x, y = np.meshgrid(line, line)
        q = inverse[0, 0] * x * x + 2 * inverse[0, 1] * x * y + inverse[1, 1] * y * y
        if kind in ("iso", "aniso"):
            kernel = np.exp(-q / 2)
        else:
            low, high = beta_plateau if kind.startswith("plateau") else beta_generalized
            beta = self.uniform(low, 1) if self.coin(0.5) else self.uniform(1, high)
            kernel = 1 / (1 + q**beta) if kind.startswith("plateau") else np.exp(-q**beta / 2)
        return kernel / kernel.sum()

    def sinc_kernel(self, size, cutoff):
        line = np.arange(size) - size // 2
        radius = np.hypot(*np.meshgrid(line, line))
        radius[size // 2, size // 2] = 1
        kernel = cutoff * torch.special.bessel_j1(torch.from_numpy(cutoff * radius)).numpy() / (2 * math.pi * radius)
        kernel[size // 2, size // 2] = cutoff**2 / (4 * math.pi)
        return kernel / kernel.sum()

    def kernel_size(self):
        return 7 + 2 * int(self.generator.integers(8))


def wide(pictures, random):
    """The one-pass recipe, picture by picture in BGR; pairs of f32 RGB [H, W, 3]."""
    pairs = []
    for picture in pictures:
        gt = picture[..., ::-1].astype(np.float32) / np.float32(255)
        height, width = gt.shape[:2]
        kernel = random.blur_kernel(41, ("iso", "aniso"), (0.5, 0.5), (0.1, 12))
        x = cv2.filter2D(gt, -1, kernel.astype(np.float32))
        scale = random.uniform(1, 12)
        x = cv2.resize(x, (int(width // scale), int(height // scale)), interpolation=cv2.INTER_LINEAR)
        sigma = np.float32(random.uniform(0, 15) / 255)
        x = np.clip(x + random.generator.standard_normal(x.shape, dtype=np.float32) * sigma, 0, 1)
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.uniform(30, 100))]
        x = cv2.imdecode(cv2.imencode(".jpg", np.rint(x * np.float32(255)).astype(np.uint8), quality)[1], 1)
        x = cv2.resize(x.astype(np.float32) / np.float32(255), (width, height), interpolation=cv2.INTER_LINEAR)
        pairs.append((np.ascontiguousarray(x[..., ::-1]), np.ascontiguousarray(gt[..., ::-1])))
    return pairs


def filter_batch(x, kernels):
    b, c, h, w = x.shape
    side = kernels.shape[-1]
    x = F.pad(x, (side // 2,) * 4, mode="reflect").view(1, b * c, h + side - 1, w + side - 1)
    return F.conv2d(x, kernels.repeat_interleave(c, 0).unsqueeze(1), groups=b * c).view(b, c, h, w)


def sharpen(x, line=torch.exp(-(torch.arange(51) - 25.0) ** 2 / (2 * 8.0**2))):
    line = line / line.sum()

    def blurred(t):
        b, c, h, w = t.shape
        t = F.pad(t.view(b * c, 1, h, w), (25,) * 4, mode="reflect")
        return F.conv2d(F.conv2d(t, line.view(1, 1, 51, 1)), line.view(1, 1, 1, 51)).view(b, c, h, w)

    residual = x - blurred(x)
    soft = blurred((residual.abs() * 255 > 10).float())
    return soft * (x + 0.5 * residual).clamp(0, 1) + (1 - soft) * x


def noise(x, random, sigma, poisson_scale):
    b, _, h, w = x.shape
    gaussian = random.coin(0.5)
    strength = torch.tensor([random.uniform(*(sigma if gaussian else poisson_scale)) for _ in range(b)]).view(b, 1, 1, 1)
    grey = torch.tensor([random.coin(0.4) for _ in range(b)]).view(b, 1, 1, 1)
    if gaussian:
        field = torch.randn(x.shape)
        if grey.any():
            field = torch.where(grey, torch.randn(h, w), field)
        return (x + field * (strength / 255)).clamp(0, 1)

    def shot(t):
        t = (t * 255).round().clamp(0, 255) / 255
        levels = [2 ** math.ceil(math.log2(len(torch.unique(sample)))) for sample in t]
        levels = torch.tensor(levels, dtype=torch.float32).view(b, 1, 1, 1)
        return torch.poisson(t * levels) / levels - t

    field = shot(x)
    if grey.any():
        field = torch.where(grey, shot((x * torch.tensor([0.2989, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)), field)
    return (x + field * strength).clamp(0, 1)


def transform_matrix():
    """[64 positions, 64 frequencies] of the 8 x 8 cosine transform."""
    i = torch.arange(8, dtype=torch.float64)
    basis = torch.cos((2 * i.view(8, 1) + 1) * i.view(1, 8) * math.pi / 16) * 0.5
    basis[:, 0] *= math.sqrt(0.5)
    return torch.einsum("iu,jv->ijuv", basis, basis).reshape(64, 64).float()


class Jpeg:
    TRANSFORM = transform_matrix()
    TO_YCC = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    TO_RGB = torch.tensor([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]])

    @classmethod
    def plane(cls, x, table):
        """[b, h, w] around zero through the quantised transform; table [b, 1, 64]."""
        b, h, w = x.shape
        blocks = x.view(b, h // 8, 8, w // 8, 8).transpose(2, 3).reshape(b, -1, 64)
        blocks = torch.round(blocks @ cls.TRANSFORM / table) * table @ cls.TRANSFORM.T
        return blocks.view(b, h // 8, w // 8, 8, 8).transpose(2, 3).reshape(b, h, w)

    @classmethod
    def apply(cls, x, random):
        b, _, h, w = x.shape
        q = torch.tensor([random.uniform(30, 95) for _ in range(b)])
        factor = (torch.where(q < 50, 5000 / q, 200 - 2 * q) / 100).view(b, 1, 1)
        x = F.pad(x.clamp(0, 1), (0, -w % 16, 0, -h % 16)) * 255
        y, cb, cr = torch.einsum("oc,bchw->bohw", cls.TO_YCC, x).unbind(1)
        y = cls.plane(y - 128, factor * LUMA_TABLE.view(1, 1, 64)) + 128
        chroma = [F.avg_pool2d(c.unsqueeze(1), 2).squeeze(1) for c in (cb, cr)]
        chroma = [cls.plane(c, factor * CHROMA_TABLE.view(1, 1, 64)) for c in chroma]
        chroma = [F.interpolate(c.unsqueeze(1), scale_factor=2).squeeze(1) for c in chroma]
        x = torch.einsum("oc,bchw->bohw", cls.TO_RGB, torch.stack([y, *chroma], 1))
        return x.clamp(0, 255)[:, :, :h, :w] / 255


def resize(x, random, size=None, scale=None):
    mode = random.choice(("area", "bilinear", "bicubic"))
    if mode != "area":
        return F.interpolate(x, size=size, scale_factor=scale, mode=mode, align_corners=False)
    return F.interpolate(x, size=size or [int(side * scale) for side in x.shape[2:]], mode=mode)


def draw_scale(random, weights, low, high):
    direction = random.choice(("up", "down", "keep"), weights)
    return random.uniform(1, high) if direction == "up" else random.uniform(low, 1) if direction == "down" else 1.0


def second_order_kernels(random):
    """Three 21 x 21 kernels of one picture."""
    kernels = []
    for sigma in ((0.2, 3), (0.2, 1.5)):
        size = random.kernel_size()
        if random.coin(0.1):
            kernel = random.sinc_kernel(size, random.uniform(math.pi / 3 if size < 13 else math.pi / 5, math.pi))
        else:
            kernel = random.blur_kernel(size, KINDS, (0.45, 0.25, 0.12, 0.03, 0.12, 0.03), sigma)
        kernels.append(np.pad(kernel, (21 - size) // 2))
    if random.coin(0.8):
        size = random.kernel_size()
        kernels.append(np.pad(random.sinc_kernel(size, random.uniform(math.pi / 3, math.pi)), (21 - size) // 2))
    else:
        kernels.append(np.pad(np.ones((1, 1)), 10))
    return np.stack(kernels)


def second_order(pictures, random):
    """The two-pass recipe on one batch; (LQ, GT) f32 RGB [N, 3, H, W]."""
    kernels = torch.from_numpy(np.stack([second_order_kernels(random) for _ in pictures])).float().unbind(1)
    gt = sharpen(torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous().float() / 255)
    height, width = gt.shape[2:]
    x = filter_batch(gt, kernels[0])
    x = resize(x, random, scale=draw_scale(random, (0.2, 0.7, 0.1), 0.15, 1.5))
    x = Jpeg.apply(noise(x, random, (1, 30), (0.05, 3)), random)
    if random.coin(0.8):
        x = filter_batch(x, kernels[1])
    small = (height // 4, width // 4)
    scale = draw_scale(random, (0.3, 0.4, 0.3), 0.3, 1.2)
    x = resize(x, random, size=(int(small[0] * scale), int(small[1] * scale)))
    x = noise(x, random, (1, 25), (0.05, 2.5))
    if random.coin(0.5):
        x = Jpeg.apply(filter_batch(resize(x, random, size=small), kernels[2]), random)
    else:
        x = filter_batch(resize(Jpeg.apply(x, random), random, size=small), kernels[2])
    x = F.interpolate(x, size=(height, width), mode="bicubic", align_corners=False)
    return (x * 255).round().clamp(0, 255) / 255, gt


def make_pictures(count, size):
    """u8 [count, size, size, 3] with a photograph's share of coarse and fine structure, and edges."""
    generator = np.random.default_rng(231)
    pictures = []
    for _ in range(count):
        picture = np.full((size, size, 3), 128, np.float32)
        for cells in (4, 8, 16, 32, 64, 128, 256):
            waves = generator.standard_normal((cells, cells, 3), dtype=np.float32)
            picture += cv2.resize(waves, (size, size), interpolation=cv2.INTER_CUBIC) * (140 / cells**0.7)
        for _ in range(6):
            corner, extent = generator.integers(0, size, 2), generator.integers(size // 16, size // 3, 2)
            picture[corner[0]:corner[0] + extent[0], corner[1]:corner[1] + extent[1]] += generator.normal(0, 50, 3)
        pictures.append(np.clip(picture, 0, 255).astype(np.uint8))
    return np.stack(pictures)


def write_case(file, folder, size):
    """What both sides read: pictures in one file, and as JPEG files for the loader."""
    pictures = make_pictures(8, size)
    save_file({"pictures": pictures}, file)
    for i, picture in enumerate(pictures):
        cv2.imwrite(str(Path(folder) / f"{i}.jpg"), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])


class Contender:
    def __init__(self, args):
        self.args, self.random, self.done = args, Random(231), 0
        self.pictures = load_file(args.pictures)["pictures"]

    def batch(self):
        indices = [(self.done + i) % len(self.pictures) for i in range(self.args.batch)]
        self.done += self.args.batch
        return self.pictures[indices]

    def run(self):
        """Degrades --count pictures; torch's own generator is seeded once."""
        start = time.perf_counter()
        pairs = []
        for _ in range(self.args.count // self.args.batch):
            if self.args.recipe == "wide":
                pairs += wide(self.batch(), self.random)
            else:
                with torch.inference_mode():
                    pairs.append(second_order(self.batch(), self.random))
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "value": float(np.mean([((lq - gt) ** 2).mean() for lq, gt in pairs]))}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--recipe", choices=("wide", "second_order"), default="wide")
    parser.add_argument("--pictures", required=True, help="safetensors file with pictures u8 [N, size, size, 3]")
    parser.add_argument("--count", type=int, default=16, help="pictures of a run")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--write", metavar="FOLDER", help="write --pictures, and JPEG files into FOLDER, then leave")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(231)
    if args.write:
        write_case(args.pictures, args.write, args.size)
        return
    contender = Contender(args)
    library = f"OpenCV {cv2.__version__}" if args.recipe == "wide" else f"PyTorch {torch.__version__}"
    reply = {"version": library, "threads": torch.get_num_threads()}
    while True:
        print(json.dumps(reply), flush=True)
        word = sys.stdin.readline().strip()
        if word in ("quit", ""):
            return
        if word != "run":
            sys.exit(f"torch_degrade.py: unknown word '{word}'; it takes run or quit")
        reply = contender.run()


if __name__ == "__main__":
    main()
