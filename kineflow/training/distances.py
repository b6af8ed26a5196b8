"""How far what a student gives, s, is from what a teacher gives, t: scalars, float32, and zero where both are equal.

============  =====================================  ====================================================
mse           mean (s − t)²                          over clips, channels and places (D3D; MARS)
kl            τ² · KL(softmax(t/τ) ‖ softmax(s/τ))   over classes, mean over clips (Hinton et al. 2015)
cosine        1 − s·t / (|s| |t|)                    over channels, mean over clips and places
pseudo_label  1[max q ≥ θ] · CE(s, argmax q)         q = softmax(t), mean over clips (Lee 2013)
============  =====================================  ====================================================

All take tensors [B, C, …] of the same shape; ``kl`` and ``pseudo_label`` logits [B, K]. ``pseudo_label`` is not zero
between equals, but where they are sure. The factor τ² keeps its gradient of one size
whatever the temperature τ.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kineflow.training.semi_supervised.pseudo_labels import pseudo_label_loss, pseudo_labels
from kineflow.training.term_settings import DistanceName


def distance(
    student: Tensor, teacher: Tensor, name: DistanceName, *, temperature: float = 1.0, threshold: float = 0.0
) -> Tensor:
    """The distance of this name; ``temperature`` is τ of ``kl``, ``threshold`` is θ of ``pseudo_label``."""
    match name:
        case "mse":
            return F.mse_loss(student, teacher)
        case "kl":
            soft, softened = (F.log_softmax(x.float() / temperature, dim=1) for x in (student, teacher))
            return temperature**2 * F.kl_div(soft, softened, reduction="batchmean", log_target=True)
        case "cosine":
            return 1 - F.cosine_similarity(student.float(), teacher.float(), dim=1).mean()
        case "pseudo_label":
            return pseudo_label_loss(student, *pseudo_labels(teacher, threshold))
