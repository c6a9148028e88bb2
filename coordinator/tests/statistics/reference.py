"""Independent values of the statistical functions, from Python's standard library alone.

    python3 reference.py          writes one JSON object a line: name, arguments, value, variance, low, high

They are computed another way than the coordinator does where there is one: distribution functions by
numerical integration, the pooled estimates by solving the weighted least squares, τ² from the moment
equation by bisection, total limits checked by simulation. The test `against_python` of the crate
`skerry-coordinator` compares: `cargo test --workspace --lib against_python -- --ignored`.
"""

import json
import math
import random
from statistics import NormalDist

Z = NormalDist().inv_cdf(0.975)


def integral(f, low, high, steps=20_000):
    """Simpson's rule."""
    h = (high - low) / steps
    total = f(low) + f(high)
    for i in range(1, steps):
        total += f(low + i * h) * (4 if i % 2 else 2)
    return total * h / 3


def bisect(f, low, high):
    """Where an increasing f is 0."""
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if f(middle) < 0 else (low, middle)
    return (low + high) / 2


def t_quantile(p, df):
    """By integrating the density of Student's t."""
    c = math.gamma((df + 1) / 2) / (math.sqrt(df * math.pi) * math.gamma(df / 2))
    density = lambda x: c * (1 + x * x / df) ** (-(df + 1) / 2)
    return bisect(lambda t: 0.5 + integral(density, 0, t, 2_000) - p, 0, 1_000)


def chi_squared_tail(x, df):
    """1 less the integral of the density; substituted so that the density has no pole at 0."""
    c = 2 / (2 ** (df / 2) * math.gamma(df / 2))
    return 1 - integral(lambda u: c * u ** (df - 1) * math.exp(-u * u / 2), 0, math.sqrt(x))


def byar(o):
    cube = lambda n, z: n * (1 - 1 / (9 * n) + z / (3 * math.sqrt(n))) ** 3
    return (cube(o, -Z) if o > 0 else 0.0), cube(o + 1, Z)


def wilson(x, n):
    """The p with (p̂ − p)² = z² p (1 − p) / n, by bisection on either side."""
    share = x / n
    score = lambda p: (share - p) / math.sqrt(p * (1 - p) / n)
    low = bisect(lambda p: Z - score(p), 1e-12, share)
    high = bisect(lambda p: -score(p) - Z, share, 1 - 1e-12)
    return low, high


def emit(name, rows, value, variance=None, low=None, high=None):
    print(json.dumps({"name": name, "rows": rows, "value": value, "variance": variance,
                      "low": low, "high": high}))


def rates(rng):
    for _ in range(20):
        o, n, per = rng.randint(1, 900), rng.randint(1_000, 90_000), rng.choice([1, 1_000, 100_000])
        low, high = byar(o)
        emit("event_count", [[o]], o, o, low, high)
        emit("crude_rate", [[o, n, per]], per * o / n, per * per * o / n / n, per * low / n, per * high / n)
        expected = rng.uniform(5, 500)
        emit("standardised_ratio", [[o, expected]], o / expected, o / expected**2, low / expected, high / expected)
        whole = o + rng.randint(1, 2_000)
        p = o / whole
        emit("share", [[o, whole]], p, p * (1 - p) / whole, *wilson(o, whole))
        a, m = rng.randint(1, 900), rng.randint(1_000, 90_000)
        sd = per * math.sqrt(o / n**2 + a / m**2)
        difference = per * (o / n - a / m)
        emit("rate_difference", [[o, n, a, m, per]], difference, sd**2, difference - Z * sd, difference + Z * sd)
        ratio, sd = o * m / n / a, math.sqrt(1 / o + 1 / a)
        emit("rate_ratio", [[o, n, a, m]], ratio, (ratio * sd) ** 2,
             math.exp(math.log(ratio) - Z * sd), math.exp(math.log(ratio) + Z * sd))


def means(rng):
    for rows in (2, 3, 10, 200):
        values = [rng.gauss(5, 3) for _ in range(rows)]
        mean = sum(values) / rows
        variance = sum((x - mean) ** 2 for x in values) / (rows - 1)
        half = t_quantile(0.975, rows - 1) * math.sqrt(variance / rows)
        emit("sample_mean", [[mean, variance, rows]], mean, variance / rows, mean - half, mean + half)


def standardised(rng):
    for _ in range(10):
        bands = [[rng.randint(0, 300), rng.randint(500, 90_000), rng.randint(0, 7_000), 1_000]
                 for _ in range(rng.randint(2, 21))]
        total = sum(w for _, _, w, _ in bands)
        rate = sum(w / total * o / n for o, n, w, _ in bands) * 1_000
        variance = sum((w / total / n) ** 2 * o for o, n, w, _ in bands) * 1e6
        events = sum(o for o, _, w, _ in bands if w)
        low, high = byar(events)
        scale = math.sqrt(variance / events)
        emit("direct_rate", bands, rate, variance, rate + scale * (low - events), rate + scale * (high - events))


def differences(rng):
    for _ in range(10):
        cells = {(after, treated): [rng.randint(5, 400), rng.randint(500, 9_000)]
                 for after in (0, 1) for treated in (0, 1)}
        rows = [[o, n, after, treated] for (after, treated), (o, n) in cells.items()]
        # Ordinary least squares of the four rates on 1, after, treated and their product.
        rate = {key: o / n for key, (o, n) in cells.items()}
        value = rate[1, 1] - rate[0, 1] - rate[1, 0] + rate[0, 0]
        sd = math.sqrt(sum(o / n**2 for o, n in cells.values()))
        emit("difference_in_differences", [row + [1] for row in rows], value, sd**2, value - Z * sd, value + Z * sd)
        logs = {key: math.log(r) for key, r in rate.items()}
        log = logs[1, 1] - logs[0, 1] - logs[1, 0] + logs[0, 0]
        sd = math.sqrt(sum(1 / o for o, _ in cells.values()))
        emit("ratio_of_rate_ratios", rows, math.exp(log), (math.exp(log) * sd) ** 2,
             math.exp(log - Z * sd), math.exp(log + Z * sd))


def pools(rng):
    for k in (2, 3, 5, 5, 12):
        tau = rng.uniform(0, 3)
        rows = []
        for _ in range(k):
            s, noise = rng.uniform(0.3, 4), rng.uniform(0, 3)
            rows.append([rng.gauss(10, math.sqrt(tau**2 + s + noise)), s, noise])
        y = [row[0] for row in rows]
        v = [s + noise for _, s, noise in rows]

        def mean(weights):
            return sum(w * x for w, x in zip(weights, y)) / sum(weights)

        fixed = [1 / x for x in v]
        centre = mean(fixed)
        sd = math.sqrt(1 / sum(fixed))
        emit("pooled_fixed", rows, centre, sd**2, centre - Z * sd, centre + Z * sd)
        q = sum(w * (x - centre) ** 2 for w, x in zip(fixed, y))
        emit("heterogeneity_q", rows, q)
        emit("heterogeneity_p", rows, chi_squared_tail(q, k - 1))
        # The moment equation E[Q] = k − 1 + τ² (Σw − Σw²/Σw), solved for what was seen.
        slope = sum(fixed) - sum(w * w for w in fixed) / sum(fixed)
        tau2 = bisect(lambda t: k - 1 + t * slope - q, 0, 1e6) if q > k - 1 else 0.0
        emit("tau_squared", rows, tau2)
        ws = [1 / s for _, s, _ in rows]
        typical = (k - 1) * sum(ws) / (sum(ws) ** 2 - sum(w * w for w in ws))
        emit("i_squared", rows, tau2 / (tau2 + typical))
        random_weights = [1 / (x + tau2) for x in v]
        centre = mean(random_weights)
        spread = sum(w * (x - centre) ** 2 for w, x in zip(random_weights, y)) / (k - 1)
        variance = max(1.0, spread) / sum(random_weights)
        half = t_quantile(0.975, k - 1) * math.sqrt(variance)
        emit("pooled_random", rows, centre, variance, centre - half, centre + half)


def funnels(rng):
    for _ in range(5):
        theta, n = rng.uniform(0.05, 0.95), rng.randint(50, 5_000)
        z, phi, noise = rng.choice([1.96, 3.09]), rng.uniform(1, 3), rng.uniform(0, 1e-4)
        sd = math.sqrt(phi * theta * (1 - theta) / n + noise)
        emit("funnel_proportion_low", [[theta, n, z, phi, noise]], max(0.0, theta - z * sd))
        emit("funnel_proportion_high", [[theta, n, z, phi, noise]], min(1.0, theta + z * sd))
        expected = rng.uniform(2, 900)
        sd = math.sqrt(phi / expected + noise)
        emit("funnel_ratio_low", [[expected, z, phi, noise]], max(0.0, 1 - z * sd))
        emit("funnel_ratio_high", [[expected, z, phi, noise]], 1 + z * sd)
        units = [[rng.gauss(0.3, 0.1), 0.3, rng.uniform(0.001, 0.01), rng.uniform(0, 0.001)] for _ in range(9)]
        phi = sum(((y - t) ** 2 - noise) / s for y, t, s, noise in units) / len(units)
        emit("overdispersion", units, phi)


if __name__ == "__main__":
    generator = random.Random(20240501)
    for family in (rates, means, standardised, differences, pools, funnels):
        family(generator)
