"""The training step of `bench_training` in PyTorch, as its users write it: a module for each head, a batch at once."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class Network(nn.Module):
    """A shared trunk and a head for each outcome of each of two treatments, from `shared_trunk`'s parameters."""

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__()
        layers = {name: (np.asarray(layer["kernel"]), np.asarray(layer["bias"])) for name, layer in params.items()}
        (trunk, trunk_bias), (first, first_bias), (last, last_bias) = (
            layers[name] for name in ("Dense_0", "heads_0", "heads_1")
        )
        self.trunk = nn.Sequential(_linear(trunk, trunk_bias), nn.ReLU())
        self.heads = nn.ModuleList()
        for head, columns in enumerate(np.split(np.arange(first.shape[1]), len(last))):
            hidden = _linear(first[:, columns], first_bias[columns])
            self.heads.append(nn.Sequential(hidden, nn.ReLU(), _linear(last[head], last_bias[head]), nn.Sigmoid()))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Revenue and cost, [n, 2] each."""
        h = self.trunk(x)
        r0, r1, c0, c1 = (head(h) for head in self.heads)
        return torch.cat([r0, r1], dim=1), torch.cat([c0, c1], dim=1)

    def params(self) -> dict[str, dict[str, np.ndarray]]:
        """As `shared_trunk` has them."""
        hidden, last = ([head[k] for head in self.heads] for k in (0, 2))

        def layer(kernel: list[Tensor], bias: list[Tensor], join: Callable[..., Tensor]) -> dict[str, np.ndarray]:
            return {"kernel": join(kernel, -1).detach().numpy(), "bias": join(bias, -1).detach().numpy()}

        return {
            "Dense_0": layer([self.trunk[0].weight.T], [self.trunk[0].bias], torch.cat),
            "heads_0": layer([h.weight.T for h in hidden], [h.bias for h in hidden], torch.cat),
            "heads_1": {
                "kernel": torch.stack([h.weight.T for h in last]).detach().numpy(),
                "bias": torch.stack([h.bias for h in last]).detach().numpy(),
            },
        }


def _linear(kernel: np.ndarray, bias: np.ndarray) -> nn.Linear:
    weight = torch.tensor(kernel.T)
    layer = nn.Linear(*kernel.shape, dtype=weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(torch.tensor(bias))
    return layer


def cross_entropy(r_hat: Tensor, c_hat: Tensor, data: dict[str, Tensor]) -> Tensor:
    """(D4), every treatment counting alike."""
    t = data["t"][:, None]
    r, c = (surface.gather(1, t)[:, 0].clamp(1e-7, 1 - 1e-7) for surface in (r_hat, c_hat))
    misfit = nn.functional.binary_cross_entropy(r, data["r"], reduction="none")
    misfit = misfit + nn.functional.binary_cross_entropy(c, data["c"], reduction="none")
    return (data["w"].gather(1, t)[:, 0] * misfit).mean() / 2


def policy_learning(r_hat: Tensor, c_hat: Tensor, data: dict[str, Tensor], lam: float) -> Tensor:
    """(D6)."""
    z = torch.softmax(r_hat - lam * c_hat, dim=1)
    return -(z * (data["G_r"] - lam * data["G_c"])).sum(dim=1).mean()


def finite_difference(r_hat: Tensor, c_hat: Tensor, data: dict[str, Tensor], lam: float, window: float) -> Tensor:
    """(D10) through revenue, self-normalised: a surrogate with the estimate as its gradient."""
    with torch.no_grad():
        a, g, w = r_hat - lam * c_hat, data["G_r"] - lam * data["G_c"], data["w"]
        z = a.argmax(dim=1, keepdim=True)
        g_z, w_z = g.gather(1, z), w.gather(1, z)
        size = w_z.sum()
        value = g_z.sum() / size
        seen = (g != g_z) | (w != w_z)
        s = torch.where(seen, a, -torch.inf).argmax(dim=1, keepdim=True)
        more, weight = g.gather(1, s) - g_z, w.gather(1, s) - w_z
        step = a.gather(1, z) - a.gather(1, s) + 1e-6
        slope = torch.where(step < window, (more - value * weight) / (size + weight) / window, 0)
        gradient = torch.zeros_like(r_hat).scatter_add_(1, s, -slope).scatter_add_(1, z, slope)
    return (r_hat * gradient).sum()


Loss = Callable[[Tensor, Tensor, dict[str, Tensor]], Tensor]


def make_step(params: dict[str, Any], loss: Loss, rate: float, decay: float, arrays: dict[str, np.ndarray]):
    """A network and a function that takes one step of AdamW on the whole batch."""
    network = Network(params)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay)
    data = {name: torch.tensor(array) for name, array in arrays.items()}
    data["t"] = data["t"].long()

    def step() -> None:
        optimiser.zero_grad()
        loss(*network(data["x"]), data).backward()
        optimiser.step()

    return network, step
