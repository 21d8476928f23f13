"""The service beside itself: requests a second and latencies at several connections, each answer logged durably.

    python bench/serving.py --url http://127.0.0.1:8000 [--seconds 5]

Needs a running stack that serves `digits`. Variants (connections) take turns; ratios are to one connection.
"""

import argparse
import asyncio
import statistics
import time
import uuid

import httpx
import numpy as np


async def worker(client: httpx.AsyncClient, until: float, took: list[float]) -> None:
    generator = np.random.default_rng(0)
    while time.perf_counter() < until:
        row = {"id": uuid.uuid4().hex, "image": generator.integers(0, 17, (8, 8)).tolist()}
        started = time.perf_counter()
        answer = await client.post("/v1/digits/predict", json={"rows": [row]})
        answer.raise_for_status()
        took.append(time.perf_counter() - started)


async def measure(url: str, connections: int, seconds: float) -> tuple[float, float, float]:
    took: list[float] = []
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=30) as client:
        started = time.perf_counter()
        await asyncio.gather(*(worker(client, started + seconds, took) for _ in range(connections)))
        whole = time.perf_counter() - started
    ordered = sorted(took)
    return len(took) / whole, statistics.median(took) * 1000, ordered[int(len(ordered) * 0.99)] * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    found: dict[int, list[tuple[float, float, float]]] = {1: [], 8: [], 32: []}
    for _ in range(asked.rounds):
        for connections, results in found.items():
            results.append(asyncio.run(measure(asked.url, connections, asked.seconds)))
    base = max(rate for rate, _, _ in found[1])
    print("one 8x8 picture a request; the load generator shares the machine")
    for connections, results in found.items():
        rate, middle, slow = max(results)
        print(
            f"{connections:3} connections {rate:8.0f}/s x{rate / base:5.1f}  p50 {middle:6.1f} ms  p99 {slow:6.1f} ms"
        )


if __name__ == "__main__":
    main()
