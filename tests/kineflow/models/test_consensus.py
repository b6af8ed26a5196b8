import pytest
import torch

from kineflow.models.consensus import Consensus
from kineflow.storage.errors import KineflowError

SCORES = torch.tensor([[[1.0, 4.0], [2.0, 0.0], [6.0, 2.0]]])  # [1,3,2]


def test_each_consensus():
    torch.testing.assert_close(Consensus("average", 3)(SCORES), torch.tensor([[3.0, 2.0]]))
    torch.testing.assert_close(Consensus("max", 3)(SCORES), torch.tensor([[6.0, 4.0]]))
    weighted = Consensus("weighted", 3)
    torch.testing.assert_close(weighted(SCORES), torch.tensor([[3.0, 2.0]]))  # as the average, at first
    with torch.no_grad():
        weighted.weights.copy_(torch.tensor([1.0, 0.5, 0.0]))
    torch.testing.assert_close(weighted(SCORES), torch.tensor([[2.0, 4.0]]))


def test_gradients_are_the_consensus_own():
    for name, expected in (("average", [[1 / 3] * 2] * 3), ("max", [[0, 1], [0, 0], [1, 0]])):
        scores = SCORES.clone().requires_grad_()
        Consensus(name, 3)(scores).sum().backward()
        torch.testing.assert_close(scores.grad[0], torch.tensor(expected, dtype=torch.float32))


def test_weights_learn():
    consensus = Consensus("weighted", 3)
    consensus(SCORES)[0, 0].backward()
    torch.testing.assert_close(consensus.weights.grad, SCORES[0, :, 0])


def test_a_single_snippet_stands_for_all_segments():
    consensus = Consensus("weighted", 3)
    with torch.no_grad():
        consensus.weights.copy_(torch.tensor([1.0, 0.5, 0.5]))
    alike = SCORES[:, :1]
    torch.testing.assert_close(consensus(alike), consensus(alike.expand(-1, 3, -1)))


def test_other_numbers_of_snippets_have_no_weights():
    assert Consensus("average", 3)(SCORES[:, :2]).shape == (1, 2)
    with pytest.raises(KineflowError, match="3 segments cannot weigh 2 snippets"):
        Consensus("weighted", 3)(SCORES[:, :2])
