"""Optimizers of the pytorch_optimizer package: that they are those of their papers."""

from __future__ import annotations

import numpy as np
from convex import GRADIENTS, START, trained


def test_lion_follows_algorithm_2_of_its_paper(settings_of):
    w, m, expected = START.copy(), np.zeros(6), []
    for g in GRADIENTS:
        w = w - 0.1 * (np.sign(0.8 * m + 0.2 * g) + 0.3 * w)
        m = 0.95 * m + 0.05 * g
        expected.append(w)
    values = trained(settings_of, "lion", START, GRADIENTS, lr=0.1, betas=[0.8, 0.95], weight_decay=0.3)
    np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_adabelief_follows_its_paper(settings_of):
    w, m, s, expected = START.copy(), np.zeros(6), np.zeros(6), []
    for t, g in enumerate(GRADIENTS, 1):
        m = 0.9 * m + 0.1 * g
        s = 0.99 * s + 0.01 * (g - m) ** 2 + 1e-6
        w = w - 0.1 * m / (1 - 0.9**t) / (np.sqrt(s / (1 - 0.99**t)) + 1e-6)
        expected.append(w)
    values = trained(settings_of, "adabelief", START, GRADIENTS, lr=0.1, betas=[0.9, 0.99], eps=1e-6)
    np.testing.assert_allclose(values, expected, rtol=1e-9)


def test_yogi_follows_its_paper(settings_of):
    w, m, v, expected = START.copy(), np.full(6, 0.01), np.full(6, 0.01), []
    for t, g in enumerate(GRADIENTS, 1):
        m = 0.9 * m + 0.1 * g
        v = v - 0.01 * np.sign(v - g * g) * g * g
        w = w - 0.1 * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.99**t)) + 0.001)
        expected.append(w)
    values = trained(settings_of, "yogi", START, GRADIENTS, lr=0.1, betas=[0.9, 0.99], initial_accumulator=0.01)
    np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_adopt_follows_algorithm_2_of_its_paper(settings_of):
    w, m, v, expected = START.copy(), np.zeros(6), GRADIENTS[0] ** 2, [START.copy()]
    for t, g in enumerate(GRADIENTS[1:], 1):
        bound = t**0.25
        m = 0.9 * m + 0.1 * np.clip(g / np.maximum(np.sqrt(v), 1e-6), -bound, bound)
        w = w - 0.1 * m
        v = 0.99 * v + 0.01 * g * g
        expected.append(w)
    values = trained(settings_of, "adopt", START, GRADIENTS, lr=0.1, betas=[0.9, 0.99])
    np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_lamb_follows_its_paper(settings_of):
    w, m, v, expected = START.copy(), np.zeros(6), np.zeros(6), []
    for g in GRADIENTS:
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
        step = m / (np.sqrt(v) + 1e-6) + 0.3 * w
        w = w - 0.1 * np.linalg.norm(w) / (np.linalg.norm(step) + 1e-6) * step
        expected.append(w)
    values = trained(settings_of, "lamb", START, GRADIENTS, lr=0.1, betas=[0.9, 0.99], weight_decay=0.3)
    np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_lars_follows_algorithm_1_of_its_paper(settings_of):
    w, v, expected = START.reshape(2, 3), np.zeros((2, 3)), []
    gradients = GRADIENTS.reshape(-1, 2, 3)
    for g in gradients:
        rate = 0.02 * np.linalg.norm(w) / (np.linalg.norm(g) + 0.3 * np.linalg.norm(w))
        v = 0.9 * v + rate * (g + 0.3 * w)
        w = w - 0.5 * v
        expected.append(w)
    values = trained(settings_of, "lars", START.reshape(2, 3), gradients, lr=0.5, weight_decay=0.3)
    np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_adan_follows_algorithm_1_of_its_paper(settings_of):
    w, m, v, n, expected = START.copy(), np.zeros(6), np.zeros(6), np.zeros(6), []
    last = GRADIENTS[0]
    for t, g in enumerate(GRADIENTS, 1):
        m = 0.9 * m + 0.1 * g
        v = 0.8 * v + 0.2 * (g - last)
        n = 0.95 * n + 0.05 * (g + 0.8 * (g - last)) ** 2
        root = np.sqrt(n / (1 - 0.95**t)) + 1e-8
        w = (w - 0.1 * (m / (1 - 0.9**t) + 0.8 * v / (1 - 0.8**t)) / root) / (1 + 0.1 * 0.3)
        last = g
        expected.append(w)
    values = trained(settings_of, "adan", START, GRADIENTS, lr=0.1, betas=[0.9, 0.8, 0.95], weight_decay=0.3)
    np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_ademamix_follows_algorithm_1_of_its_paper(settings_of):
    w, fast, slow, v, expected = START.copy(), np.zeros(6), np.zeros(6), np.zeros(6), []
    for t, g in enumerate(GRADIENTS, 1):
        alpha = min(1, t / 10) * 5
        log_fast, log_slow = np.log(0.9), np.log(0.999)
        share = t / 10
        decay = min(np.exp(log_fast * log_slow / ((1 - share) * log_slow + share * log_fast)), 0.999)
        fast, slow, v = 0.9 * fast + 0.1 * g, decay * slow + (1 - decay) * g, 0.99 * v + 0.01 * g * g
        step = (fast / (1 - 0.9**t) + alpha * slow) / (np.sqrt(v / (1 - 0.99**t)) + 1e-8)
        w = w - 0.1 * (step + 0.3 * w)
        expected.append(w)
    changes = {"betas": [0.9, 0.99, 0.999], "warmup_steps": 10, "weight_decay": 0.3}
    values = trained(settings_of, "ademamix", START, GRADIENTS, lr=0.1, **changes)
    np.testing.assert_allclose(values, expected, rtol=1e-9)


def test_madgrad_follows_algorithm_1_of_its_paper(settings_of):
    w, s, v, expected = START.copy(), np.zeros(6), np.zeros(6), []
    for t, g in enumerate(GRADIENTS):
        rate = (0.1 + 1e-6) * np.sqrt(t + 1)
        s, v = s + rate * g, v + rate * g * g
        w = 0.9 * w + 0.1 * (START - s / (np.cbrt(v) + 1e-6))
        expected.append(w)
    values = trained(settings_of, "madgrad", START, GRADIENTS, lr=0.1)
    np.testing.assert_allclose(values, expected, rtol=1e-9)
