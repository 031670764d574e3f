"""PyTorch's side of compare_torch.py stage2: the networks of stage two as diffusers has them, behind the bench's line protocol.

Started by compare_torch.py, never by hand except with --write. Standard input takes one word a line and standard output
gives one JSON object a line: the facts once the networks stand, `run` -> {"seconds", "value"}, `memory` -> bytes, `quit`.
"""

import argparse
import json
import sys

import diffusers
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from torch_stage1 import HALVES, now_at, peak_bytes, process_bytes, reset_peak

CHANNELS = (320, 640, 1280, 1280)
SHARED = dict(in_channels=4, block_out_channels=CHANNELS, layers_per_block=2, cross_attention_dim=1024,
              attention_head_dim=(5, 10, 20, 20), use_linear_projection=True,
              down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",))
RESNET = {"in_layers.0": "norm1", "in_layers.2": "conv1", "out_layers.0": "norm2", "out_layers.3": "conv2",
          "emb_layers.1": "time_emb_proj", "skip_connection": "conv_shortcut"}


def write_inputs(path, size):
    torch.manual_seed(231)
    side = size // 8
    save_file({"x": torch.randn(1, side, side, 4), "hint": torch.randn(1, side, side, 4), "text": torch.randn(2, 77, 1024),
               "picture": torch.rand(1, size, size, 3) * 2 - 1}, path)


def read_part(path, prefix):
    with safe_open(path, "pt") as file:
        return {name[len(prefix):]: file.get_tensor(name).float() for name in file.keys() if name.startswith(prefix)}


def unet_places():
    """The published names of the U-Net's parts -> those of diffusers; residual blocks end in '@'."""
    places = {"time_embed.0": "time_embedding.linear_1", "time_embed.2": "time_embedding.linear_2",
              "input_blocks.0.0": "conv_in", "out.0": "conv_norm_out", "out.2": "conv_out",
              "middle_block.0@": "mid_block.resnets.0", "middle_block.1": "mid_block.attentions.0",
              "middle_block.2@": "mid_block.resnets.1"}
    for level in range(4):
        for block in range(2):
            at = 3 * level + block + 1
            places[f"input_blocks.{at}.0@"] = f"down_blocks.{level}.resnets.{block}"
            if level < 3:
                places[f"input_blocks.{at}.1"] = f"down_blocks.{level}.attentions.{block}"
        for block in range(3):
            at = 3 * level + block
            places[f"output_blocks.{at}.0@"] = f"up_blocks.{level}.resnets.{block}"
            if level > 0:
                places[f"output_blocks.{at}.1"] = f"up_blocks.{level}.attentions.{block}"
        if level < 3:
            places[f"input_blocks.{3 * level + 3}.0.op"] = f"down_blocks.{level}.downsamplers.0.conv"
            places[f"output_blocks.{3 * level + 2}.{1 if level == 0 else 2}.conv"] = f"up_blocks.{level}.upsamplers.0.conv"
    for k in range(12):
        places[f"zero_convs.{k}.0"] = f"controlnet_down_blocks.{k}"
    places["middle_block_out.0"] = "controlnet_mid_block"
    return places


def renamed(weights, places, blocks):
    """Weights under diffusers' names; `blocks` renames what stands inside a residual block."""
    out = {}
    longest_first = sorted(places.items(), key=lambda place: -len(place[0]))
    for name, value in weights.items():
        for ours, theirs in longest_first:
            stem = ours.rstrip("@") + "."
            if name.startswith(stem):
                rest = name[len(stem):]
                if ours.endswith("@"):
                    part, _, leaf = rest.rpartition(".")
                    rest = blocks.get(part, part) + "." + leaf
                out[f"{theirs}.{rest}"] = value
                break
        else:
            sys.exit(f"torch_stage2.py: no place for {name}")
    return out


def make_unet(weights):
    unet = diffusers.UNet2DConditionModel(**SHARED, sample_size=64, up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3)
    unet.load_state_dict(renamed(read_part(weights, "model.diffusion_model."), unet_places(), RESNET))
    return unet


def make_control_net(weights):
    """IRControlNet: the latent and the condition side by side go into the first convolution, which is the sum of two."""
    control = diffusers.ControlNetModel(**SHARED)
    control.controlnet_cond_embedding = torch.nn.Conv2d(4, CHANNELS[0], 3, padding=1, bias=False)
    named = renamed(read_part(weights, "control_model."), unet_places(), RESNET)
    first = named.pop("conv_in.weight")
    named["conv_in.weight"], named["controlnet_cond_embedding.weight"] = first[:, :4].clone(), first[:, 4:].clone()
    control.load_state_dict(named)
    return control


def make_autoencoder(weights):
    vae = diffusers.AutoencoderKL(in_channels=3, out_channels=3, latent_channels=4, layers_per_block=2,
                                  block_out_channels=(128, 256, 512, 512), down_block_types=("DownEncoderBlock2D",) * 4,
                                  up_block_types=("UpDecoderBlock2D",) * 4)
    places = {"quant_conv": "quant_conv", "post_quant_conv": "post_quant_conv"}
    for half in ("encoder", "decoder"):
        places |= {f"{half}.conv_in": f"{half}.conv_in", f"{half}.norm_out": f"{half}.conv_norm_out",
                   f"{half}.conv_out": f"{half}.conv_out", f"{half}.mid.block_1@": f"{half}.mid_block.resnets.0",
                   f"{half}.mid.block_2@": f"{half}.mid_block.resnets.1", f"{half}.mid.attn_1@": f"{half}.mid_block.attentions.0"}
    for level in range(4):
        for block in range(3):
            places[f"encoder.down.{level}.block.{block}@"] = f"encoder.down_blocks.{level}.resnets.{block}"
            places[f"decoder.up.{level}.block.{block}@"] = f"decoder.up_blocks.{3 - level}.resnets.{block}"
        places[f"encoder.down.{level}.downsample.conv"] = f"encoder.down_blocks.{level}.downsamplers.0.conv"
        places[f"decoder.up.{level}.upsample.conv"] = f"decoder.up_blocks.{3 - level}.upsamplers.0.conv"
    inside = {"nin_shortcut": "conv_shortcut", "norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
    named = renamed(read_part(weights, "first_stage_model."), places, inside)
    expected = vae.state_dict()
    vae.load_state_dict({name: value.reshape(expected[name].shape) for name, value in named.items()})  # 1x1 as linear
    return vae


class Contender:
    def __init__(self, args):
        layout = torch.contiguous_format if args.layout == "nchw" else torch.channels_last
        self.device, kind = args.device, HALVES.get(args.precision, torch.float32)
        inputs = {name: tensor.to(self.device, kind) for name, tensor in load_file(args.inputs).items()}
        maps = lambda name: inputs[name].permute(0, 3, 1, 2).contiguous(memory_format=layout)
        place = lambda network: network.eval().requires_grad_(False).to(self.device, kind, memory_format=layout)
        if args.mode == "unet_control_step":
            unet, control = place(make_unet(args.weights)), place(make_control_net(args.weights))
            x, hint = (maps(name).repeat(2, 1, 1, 1).contiguous(memory_format=layout) for name in ("x", "hint"))
            self.networks, text = (unet, control), inputs["text"]

            def step():
                down, mid = control(x, 500, text, hint, return_dict=False)
                return unet(x, 500, text, down_block_additional_residuals=down, mid_block_additional_residual=mid).sample

            if args.compile:
                unet.forward, control.forward = (torch.compile(network.forward) for network in (unet, control))
            self.work = step
        else:
            vae = place(make_autoencoder(args.weights))
            self.networks = (vae,)
            if args.mode == "vae_encode":
                picture = maps("picture")
                self.work = lambda: vae.encode(picture).latent_dist.parameters
            else:
                latents = maps("x")
                self.work = lambda: vae.decode(latents).sample

    def run(self):
        start = now_at(self.device)
        with torch.no_grad():
            result = self.work()
        seconds = now_at(self.device) - start
        result = result.float()
        return {"seconds": seconds, "value": (result - result.mean()).square().sum(dtype=torch.float64).item()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=("unet_control_step", "vae_encode", "vae_decode"), default="unet_control_step")
    parser.add_argument("--layout", choices=("nchw", "channels_last"), default="nchw")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("f32", "tf32", *HALVES), default="f32")
    parser.add_argument("--compile", action="store_true", help="the U-Net and the control network through torch.compile")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--inputs", required=True)
    parser.add_argument("--write", action="store_true", help="write --inputs, then leave")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = args.precision == "tf32"
    if args.write:
        write_inputs(args.inputs, args.size)
        return
    baseline = process_bytes("VmRSS") if args.device == "cpu" else 0
    contender = Contender(args)
    reset_peak(args.device)
    weights = sum(t.nbytes for network in contender.networks for t in network.state_dict().values())
    reply = {"version": f"PyTorch {torch.__version__}, diffusers {diffusers.__version__}", "threads": torch.get_num_threads()}
    while True:
        print(json.dumps(reply), flush=True)
        word = sys.stdin.readline().strip()
        if word == "run":
            reply = contender.run()
        elif word == "memory":
            reply = {"peak_bytes": peak_bytes(args.device), "weights_bytes": weights, "optimizer_bytes": 0,
                     "baseline_bytes": baseline}
        elif word in ("quit", ""):
            return
        else:
            sys.exit(f"torch_stage2.py: unknown word '{word}'; it takes run, memory or quit")


if __name__ == "__main__":
    main()
