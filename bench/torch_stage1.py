"""PyTorch's side of compare_torch.py: the paper's SwinIR (spandrel's class) behind the bench's line protocol.

Started by compare_torch.py, never by hand except with --write. Standard input takes one word a line and standard output
gives one JSON object a line: the facts once the network stands, `run` -> {"seconds", "value"}, `memory` -> bytes, `quit`.
"""

import argparse
import json
import sys
import time

import torch
from safetensors.torch import load_file, save_file
from spandrel.architectures.SwinIR import SwinIR

PARAMETERS = 15_792_587
HALVES = {"bf16": torch.bfloat16, "f16": torch.float16}


def process_bytes(field):
    """VmRSS (resident now) or VmHWM (peak since the last reset) of this process."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field + ":"))


def now_at(device):
    """The time at which the device has done what it was given."""
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter()


def reset_peak(device):
    if device != "cpu":
        return torch.cuda.reset_peak_memory_stats()
    with open("/proc/self/clear_refs", "w") as refs:
        refs.write("5")


def peak_bytes(device):
    """Of the device's memory: on a GPU what tensors took, on the CPU the whole process."""
    return process_bytes("VmHWM") if device == "cpu" else torch.cuda.max_memory_allocated()


def make_network():
    # Drop path is off so that both sides compute the same numbers and neither saves the work of a dropped branch.
    network = SwinIR(img_size=64, embed_dim=180, depths=[6] * 8, num_heads=[6] * 8, window_size=8, mlp_ratio=2,
                     drop_path_rate=0.0, upscale=8, upsampler="nearest+conv", start_unshuffle=8)
    count = sum(p.numel() for p in network.parameters())
    if count != PARAMETERS:
        sys.exit(f"spandrel's SwinIR has {count:,} parameters, the paper's has {PARAMETERS:,}; install another spandrel")
    return network


def to_published(name):
    """The official class keeps the unshuffle inside conv_first, spandrel's outside: the only name that differs."""
    return name.replace("conv_first.", "conv_first.1.", 1) if name.startswith("conv_first.") else name


def write_case(weights, pictures, size):
    """What both sides load: seeded weights in the published layout, a degraded and a true picture as [1, H, W, 3]."""
    torch.manual_seed(231)
    save_file({to_published(k): v.contiguous() for k, v in make_network().state_dict().items()}, weights)
    truth = torch.rand(1, size, size, 3)
    save_file({"lq": (truth + 0.1 * torch.randn_like(truth)).clamp(0, 1), "gt": truth}, pictures)


class Contender:
    def __init__(self, args):
        self.mode, self.device, self.precision = args.mode, args.device, args.precision
        layout = torch.contiguous_format if args.layout == "nchw" else torch.channels_last
        published = load_file(args.weights)
        self.network = make_network()
        self.network.load_state_dict({k: published[to_published(k)] for k in self.network.state_dict()})
        self.network = self.network.to(args.device, memory_format=layout).train(args.mode == "train")
        if args.mode == "forward" and args.precision in HALVES:  # in training autocast() keeps the weights in f32, as we do
            self.network = self.network.to(HALVES[args.precision])
        self.lq, self.gt = (load_file(args.pictures)[k].permute(0, 3, 1, 2).contiguous(memory_format=layout) for k in ("lq", "gt"))
        if args.mode == "train":
            self.lq, self.gt = self.lq.to(args.device), self.gt.to(args.device)
        self.optimizer = None
        if args.mode == "train":  # stage one's recipe: constant rate, no decay; the fused step is PyTorch's fastest
            self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-4, weight_decay=0.0, fused=True)
        self.forward = self.network
        if args.compile:
            import torch._inductor.config as inductor
            inductor.freezing = args.mode == "forward"
            if args.mode == "forward":
                self.forward = torch.compile(self.network)
                self.run()  # compiles here, so that the compiler's memory is not counted as the network's
            else:  # block by block: the whole graph, forward and backward, takes longer to compile than a GPU is lent
                for module in self.network.modules():
                    if type(module).__name__ == "SwinTransformerBlock":
                        module.compile()

    def run(self):
        """One forward or one training step. The value is the sum of squares of the output about its mean, or the loss:
        compare_torch.py refuses to compare sides whose values differ."""
        start = now_at(self.device)
        if self.mode == "forward":
            with torch.no_grad():  # the picture comes from the CPU, and the result goes there
                lq = self.lq.to(self.device, dtype=next(self.network.parameters()).dtype)
                pred = self.forward(lq).float().cpu()
            seconds = now_at(self.device) - start
            return {"seconds": seconds, "value": (pred - pred.mean()).square().sum(dtype=torch.float64).item()}
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.split(":")[0], HALVES.get(self.precision), enabled=self.precision in HALVES):
            pred = self.forward(self.lq)
        loss = torch.nn.functional.mse_loss(pred.float(), self.gt, reduction="sum")
        loss.backward()
        self.optimizer.step()
        return {"seconds": now_at(self.device) - start, "value": loss.item()}

    def optimizer_bytes(self):
        states = self.optimizer.state.values() if self.optimizer else []
        return sum(t.nbytes for state in states for t in state.values() if torch.is_tensor(t))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=("forward", "train"), default="forward")
    parser.add_argument("--layout", choices=("nchw", "channels_last"), default="nchw")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("f32", "tf32", *HALVES), default="f32")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--pictures", required=True)
    parser.add_argument("--write", action="store_true", help="write --weights and --pictures, then leave")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.write:
        write_case(args.weights, args.pictures, args.size)
        return

    # f32 is f32, as with us
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = args.precision == "tf32"
    baseline = process_bytes("VmRSS") if args.device == "cpu" else 0
    contender = Contender(args)
    reset_peak(args.device)
    weights = sum(t.nbytes for t in contender.network.state_dict().values())
    reply = {"version": f"PyTorch {torch.__version__}", "threads": torch.get_num_threads()}
    while True:
        print(json.dumps(reply), flush=True)
        word = sys.stdin.readline().strip()
        if word == "run":
            reply = contender.run()
        elif word == "memory":
            reply = {"peak_bytes": peak_bytes(args.device), "weights_bytes": weights,
                     "optimizer_bytes": contender.optimizer_bytes(), "baseline_bytes": baseline}
        elif word in ("quit", ""):
            return
        else:
            sys.exit(f"torch_stage1.py: unknown word '{word}'; it takes run, memory or quit")


if __name__ == "__main__":
    main()
