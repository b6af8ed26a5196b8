import numpy as np
import pytest

from kineflow.selection.linear import Whitening, fit_linear, joined


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(0).normal(3.0, 5.0, (80, 10))


def test_what_is_given_back_is_over_the_columns_as_they_were(rows):
    labels = (rows[:, 0] + rows[:, 7] > 6).astype(np.int64)
    ones = np.ones(len(rows))
    whitening = joined([Whitening.of(rows[:, :4], ones), Whitening.of(rows[:, 4:], ones)])
    linear = fit_linear(whitening.apply(rows), labels, ones, whitening, strength=100.0, classes=2)
    assert (linear.logits(rows).argmax(axis=1) == labels).mean() > 0.9
    shifted = Whitening.of(rows * 1000 - 7, ones).apply(rows * 1000 - 7)
    np.testing.assert_allclose(shifted, Whitening.of(rows, ones).apply(rows), atol=1e-9)


def test_a_column_that_hardly_varies_in_training_decides_nothing_elsewhere(rows):
    labels = (rows[:, 0] > 3).astype(np.int64)
    rows[:, 9] = 1.0
    rows[0, 9] = 1.004
    whitening = Whitening.of(rows, np.ones(80))
    linear = fit_linear(whitening.apply(rows), labels, np.ones(80), whitening, strength=100.0, classes=2)
    other = rows.copy()
    other[:, 9] = 3.0
    assert np.abs(linear.logits(other) - linear.logits(rows)).max() < np.abs(linear.logits(rows)).max()


def test_a_block_of_many_columns_keeps_what_its_clips_span():
    rows = np.random.default_rng(1).normal(size=(30, 500))
    whitened = Whitening.of(rows, np.ones(30)).apply(rows)
    assert whitened.shape == (30, 30)
    scaled = (rows - rows.mean(axis=0)) / rows.std(axis=0) / np.sqrt(500)
    np.testing.assert_allclose(whitened @ whitened.T, scaled @ scaled.T, atol=1e-9)


def test_a_class_without_rows_is_never_answered(rows):
    labels = np.where(rows[:, 0] > 3, 2, 0)
    whitening = Whitening.of(rows, np.ones(80))
    linear = fit_linear(whitening.apply(rows), labels, np.ones(80), whitening, strength=1.0, classes=3)
    assert set(linear.logits(rows * 10).argmax(axis=1)) <= {0, 2}
