"""The groups that a model's variables fall in, each with an optimizer of its own."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

GROUPS = ("bias", "network", "architecture")


Gradients = tuple[tf.Tensor, dict[str, list[Any]]]
