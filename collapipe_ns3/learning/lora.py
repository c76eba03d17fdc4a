"""LoRA: blocks whose weights are frozen, and which learn low-rank changes of them (Hu et al. 2022).

A linear layer with the weight W [o, i] computes (W + alpha / rank · B·A)·x, with A [rank, i] drawn
at random and B [o, rank] zero at first. By default A is frozen, and the same in all replicas. Then
the average of the replicas' B gives the average of their products, mean(B_k·A) = mean(B_k)·A (Sun
et al. 2024, FFA-LoRA). If A is trained too, averaging A and B is only an approximation of that.

What is trained, and so has to travel and to be averaged, are the parameters that `trained` names.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import nn

from collapipe_ns3.learning.protocol import BadTask
from collapipe_ns3.learning.split_model import SplitModel

#: Layers that are changed by default: queries and values (Hu et al. 2022, §7.1) of Hugging Face's
#: models, and the feed-forward layers of the built-in ones. The first that a block has are taken.
_DEFAULT_TARGETS = (
    ("query", "value"),
    ("q_lin", "v_lin"),
    ("q_proj", "v_proj"),
    ("linear1", "linear2"),
)


@dataclass(frozen=True, slots=True)
class LoRA:
    """Settings of LoRA; `targets` are last names of linear layers, empty for the usual ones."""

    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ()
    train_a: bool = False


def add_lora(model: SplitModel, settings: LoRA, seed: int) -> None:
    """Freezes the first part and the blocks of a model, and adds LoRA to the blocks.

    The last part is trained as before, with its copies of parameters that were tied to those of the
    first part: as these are frozen, nothing is exchanged for them any more. A is drawn from `seed`,
    and torch's global generator is left unchanged. Raises `BadTask` if the package `peft` is
    missing, or a block has no such target.
    """
    if find_spec("peft") is None:
        raise BadTask(
            "model.lora", "LoRA needs peft; install it by: pip install 'collapipe-ns3[hf]'"
        )
    first, *blocks, _ = model.parts().values()
    first.requires_grad_(False)
    model.tied = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for block in blocks:
            _add_to_block(block, settings)


def trained(model: nn.Module) -> list[str]:
    """Names of the parameters that are trained, in the model's order."""
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def possible_targets(block: nn.Module) -> list[str]:
    """Last names of the linear layers of a block to which LoRA can be added.

    Not those of `nn.MultiheadAttention`: it has Q, K and V in one tensor and reads the weight of
    its `out_proj` itself, so that a change of either would not be seen.
    """
    attention = tuple(
        f"{name}."
        for name, each in block.named_modules()
        if isinstance(each, nn.MultiheadAttention)
    )
    return list(
        dict.fromkeys(
            name.rpartition(".")[2]
            for name, each in block.named_modules()
            if isinstance(each, nn.Linear) and not (attention and name.startswith(attention))
        )
    )


def _add_to_block(block: nn.Module, settings: LoRA) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    targets = list(settings.targets) or _default_targets(block)
    possible = possible_targets(block)
    missing = [name for name in targets if name not in possible]
    if missing or not targets:
        wrong = f"no linear layer {' and no '.join(missing)}" if missing else "no usual layer"
        message = f"a block has {wrong}; LoRA can be added to {', '.join(possible) or 'none'}"
        raise BadTask("model.lora.targets", message)
    config = LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules=targets)
    inject_adapter_in_model(config, block)
    for name, parameter in block.named_parameters():
        if ".lora_A." in name:
            parameter.requires_grad_(settings.train_a)
    for module in block.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            # the fused kernel of evaluation reads the original weights and bypasses LoRA
            module.activation_relu_or_gelu = 0


def _default_targets(block: nn.Module) -> list[str]:
    possible = possible_targets(block)
    for names in _DEFAULT_TARGETS:
        if set(names) <= set(possible):
            return list(names)
    return []
